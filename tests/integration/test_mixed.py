"""The example of a pipeline between assets in plain Python."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping

import dagster as dg
import pytest

from definitions.mixed.definitions import CUSTOMERS, definitions
from pachyderm_dagster.client.filesystem import PfsFileSystem
from tests.integration.home import QUIET, Home

# Dagster's own use of what is beta, when it evaluates conditions.
pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
SPENDING, TOTALS = dg.AssetKey(["default", "spending"]), dg.AssetKey(["default", "totals"])


class Mixed:
    """The example's code location over a home."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.repository = definitions().get_repository_def()
        self.cursor: str | None = None
        self.conditions: dg.EvaluateAutomationConditionsResult | None = None

    def order(self, day: str) -> None:
        """Materializes a day of orders, as its partition's button does."""
        self.run("__ASSET_JOB", dg.AssetKey(["default", "orders"]), partition=day)

    def tick(self) -> int:
        """A tick of the commit sensor and the runs that it asks for; how many."""
        sensor = self.repository.get_sensor_def("commits_default")
        with dg.build_sensor_context(self.home.instance, cursor=self.cursor, repository_def=self.repository) as context:
            told = sensor.evaluate_tick(context)
        self.cursor = told.cursor
        for event in told.asset_events:
            assert isinstance(event, dg.AssetMaterialization)
            self.home.instance.report_runless_asset_event(event)
        for request in told.run_requests or []:
            assert request.job_name is not None
            self.run(request.job_name, *request.asset_selection or [], tags=request.tags)
        return len(told.run_requests or [])

    def wants_spending(self) -> bool:
        """Whether the automation condition of `spending` asks for it at this tick."""
        before = None if self.conditions is None else self.conditions.cursor
        self.conditions = dg.evaluate_automation_conditions(definitions(), self.home.instance, cursor=before)
        return self.conditions.get_num_requested(SPENDING) == 1

    def run(self, job: str, *keys: dg.AssetKey, partition: str | None = None, tags: Mapping[str, str] | None = None) -> None:
        found = self.repository.get_job(job)
        done = found.execute_in_process(instance=self.home.instance, asset_selection=list(keys), partition_key=partition, tags=tags, run_config=QUIET)
        assert done.success

    def read(self, file: str) -> str:
        return b"".join(self.home.workspace.pfs.get_file(file)).decode()


@pytest.fixture
def mixed(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mixed]:
    for name, value in home.environ.items():
        if name.startswith("PACHYDERM_"):
            monkeypatch.setenv(name, value)
    # An instance of fsspec keeps the home with which it was opened.
    PfsFileSystem.clear_instance_cache()
    yield Mixed(home)
    PfsFileSystem.clear_instance_cache()


def bought(text: str) -> Counter[str]:
    """What each customer bought by a file of orders, added up in another way than the pipeline does."""
    found: Counter[str] = Counter()
    for line in text.splitlines()[1:]:
        customer, amount = line.split(",")
        found[customer] += int(amount)
    return found


def test_a_day_of_orders_starts_the_pipeline_and_duckdb_reads_what_came_of_it(mixed: Mixed) -> None:
    mixed.order("2026-11-02")
    assert mixed.tick() == 1
    orders = bought(mixed.read("orders@master:/2026-11-02/orders.csv"))
    assert set(orders) <= set(CUSTOMERS)
    assert mixed.read("totals@master:/2026-11-02.csv").splitlines() == [f"2026-11-02,{name},{orders[name]}" for name in sorted(orders)]
    mixed.run("__ASSET_JOB", SPENDING)
    assert json.loads(mixed.read("spending@master:/data.json")) == orders


def test_another_day_is_the_only_datum_that_is_run_and_asks_for_the_report(mixed: Mixed) -> None:
    mixed.order("2026-11-02")
    mixed.tick()
    mixed.run("__ASSET_JOB", SPENDING)
    mixed.wants_spending()
    assert not mixed.wants_spending()
    mixed.order("2026-11-03")
    assert mixed.tick() == 1
    newest = mixed.home.jobs("totals")[0]
    assert (newest.counters.data_processed, newest.counters.data_skipped) == (1, 1)
    assert mixed.wants_spending()
    mixed.run("__ASSET_JOB", SPENDING)
    files = [mixed.read(f"orders@master:/2026-11-0{day}/orders.csv") for day in (2, 3)]
    assert json.loads(mixed.read("spending@master:/data.json")) == bought(files[0]) + bought(files[1])
    assert not mixed.wants_spending()
