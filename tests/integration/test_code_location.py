"""A code location of one's own: workspace assets beside plain Python ones that read the same files."""

import json
import subprocess
import sys

import dagster as dg
import pytest

from definitions.definitions import definitions
from pachyderm_dagster.integration import PachydermResource
from pachyderm_dagster.integration.labels import COMMIT_SET
from tests.integration.home import QUIET, Home

SCORE = dg.AssetKey(["default", "score"])


def load(home: Home, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """The example's definitions, over a home."""
    monkeypatch.setenv("PACHYDERM_HOME", str(home.workspace.settings.home))
    return definitions()


def test_example_puts_an_asset_of_its_own_downstream_of_a_pipeline(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.commit("test@master", {"/a": "1"})
    home.pipeline("score", "test")
    graph = load(home, monkeypatch).resolve_asset_graph()
    assert graph.get(dg.AssetKey("accuracy")).parent_keys == {SCORE}
    assert graph.get(SCORE).parent_keys == {dg.AssetKey(["default", "test"])}


def test_example_reads_the_pipelines_output(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = {"/batch-1": (100, 90), "/batch-2": (100, 70)}
    home.commit("test@master", {path: json.dumps({"images": all, "right": right, "accuracy": right / all}) for path, (all, right) in batches.items()})
    home.pipeline("score", "test", code="for f in /pfs/test/*; do cp $f /pfs/out/$(basename $f).json; done")
    home.run_all()
    job = load(home, monkeypatch).resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=home.instance, asset_selection=[dg.AssetKey("accuracy")], run_config=QUIET)
    (event,) = result.asset_materializations_for_node("accuracy")
    assert event.metadata["accuracy"].value == pytest.approx(0.8)
    assert isinstance(event.metadata["batches"], dg.TableMetadataValue)
    assert [record.data["batch"] for record in event.metadata["batches"].records] == ["batch-1", "batch-2"]


def test_resource_opens_the_home_that_it_is_given(home: Home) -> None:
    commit = home.commit("images@master", {"/a": "1"})
    with PachydermResource(home=str(home.workspace.settings.home)).open() as workspace:
        assert workspace.pfs.inspect_commit("images@master").id == commit.id


def test_run_of_the_served_location_logs_json_when_asked(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    environ = {**home.environ, "DAGSTER_HOME": str(home.workspace.settings.dagster_home), "PACHYDERM_LOG_FORMAT": "json"}
    job = home.jobs("edges")[0]
    words = ["job", "execute", "-m", "pachyderm_dagster.integration.code_location", "-j", "pipelines_default", "--tags", json.dumps({COMMIT_SET: job.id})]
    done = subprocess.run([sys.executable, "-m", "dagster", *words], env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    told = {line["message"]: line for line in lines}
    about = {"project": "default", "pipeline": "edges", "job": job.id, "commit": f"edges@{job.id}"}
    assert about.items() <= told["the job begins: try 1"].items()
    assert about.items() <= told["the job ended: SUCCESS"].items()
