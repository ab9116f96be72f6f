"""A Dagster code location over a home, as you would write your own: the workspace's branches and pipelines, and an asset in plain Python downstream of one.

export PACHYDERM_HOME="$PWD/.demo" DAGSTER_HOME="$PWD/.demo/dagster"
dagster dev -m definitions.definitions
"""

import json
import os

import dagster as dg

from pachyderm_dagster.integration import PachydermResource, build_definitions


@dg.asset(deps=[dg.AssetKey(["default", "score"])], kinds={"python"})
def accuracy(pachyderm: PachydermResource) -> dg.MaterializeResult[None]:
    """How many digits the model of `make demo` reads right, batch by batch; reads the newest version of the pipeline's output."""
    with pachyderm.open() as workspace:
        paths = workspace.pfs.glob_file("score@master", "/*.json").column("path").to_pylist()
        scores = {path: json.loads(b"".join(workspace.pfs.get_file(f"score@master:{path}"))) for path in paths}
    images, right = (sum(score[name] for score in scores.values()) for name in ("images", "right"))
    rows = [dg.TableRecord({"batch": path.strip("/").removesuffix(".json"), "accuracy": score["accuracy"]}) for path, score in scores.items()]
    columns = [dg.TableColumn("batch"), dg.TableColumn("accuracy", "float")]
    return dg.MaterializeResult(
        metadata={
            "accuracy": dg.MetadataValue.float(right / images if images else 0.0),
            "images": dg.MetadataValue.int(images),
            "batches": dg.MetadataValue.table(rows, schema=dg.TableSchema(columns)),
        }
    )


@dg.definitions
def definitions() -> dg.Definitions:
    """The workspace as it is when the code location is loaded, and the asset above."""
    return dg.Definitions.merge(build_definitions(os.environ), dg.Definitions(assets=[accuracy], resources={"pachyderm": PachydermResource()}))
