"""A pipeline between assets in plain Python: orders of a day, their totals by a pipeline, and a report by DuckDB over `pfs://`.

export PACHYDERM_HOME="$HOME/pachyderm-mixed" DAGSTER_HOME="$HOME/pachyderm-mixed/dagster"
dagster dev -m definitions.mixed.definitions
"""

import random
from pathlib import Path

import dagster as dg
import duckdb
import fsspec

from pachyderm_dagster.integration import PachydermIOManager, pachyderm_assets

DAYS = dg.DailyPartitionsDefinition(start_date="2026-11-01")
ORDERS, TOTALS = dg.AssetKey(["default", "orders"]), dg.AssetKey(["default", "totals"])
CUSTOMERS = ("ada", "blaise", "grace")
# Not `eager()`, which loses an update that lands between its request and the next tick. This one may take several commits together.
WHEN_TOTALS_CHANGE = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed()) & ~dg.AutomationCondition.in_progress()


@dg.asset(key=ORDERS, partitions_def=DAYS, kinds={"csv"})
def orders(context: dg.AssetExecutionContext) -> dict[str, bytes]:
    """The orders of a day, as a shop might give them. The IO manager makes a commit of them, which starts the pipeline."""
    numbers = random.Random(context.partition_key)
    lines = [f"{numbers.choice(CUSTOMERS)},{numbers.randint(1, 100)}" for _ in range(20)]
    return {"orders.csv": "\n".join(["customer,amount", *lines, ""]).encode()}


@dg.asset(key=["default", "spending"], deps=[TOTALS], automation_condition=WHEN_TOTALS_CHANGE, kinds={"duckdb"})
def spending(context: dg.AssetExecutionContext) -> dict[str, int]:
    """What each customer bought in all, from one version of the pipeline's output, whose files DuckDB reads where they are."""
    files = fsspec.filesystem("pfs")
    version = files.pin("totals@master")
    context.add_output_metadata({"pachyderm/read": version})
    with duckdb.connect() as database:
        database.register_filesystem(files)
        query = f"SELECT customer, sum(amount) FROM read_csv('pfs://{version}/*.csv', names = ['day', 'customer', 'amount']) GROUP BY 1 ORDER BY 2 DESC"
        return {str(customer): int(amount) for customer, amount in database.sql(query).fetchall()}


@dg.definitions
def definitions() -> dg.Definitions:
    """The assets above, and the pipeline with its job and sensor. The branch `orders@master` is the asset `orders`, not one of its own."""
    pipelines = pachyderm_assets(Path(__file__).parent / "pipelines.yaml", own_assets=[ORDERS.to_user_string()])
    return dg.Definitions.merge(pipelines, dg.Definitions(assets=[orders, spending], resources={"io_manager": PachydermIOManager()}))
