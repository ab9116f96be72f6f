"""Steps that have Kubeflow run a pipeline, and what Dagster is told of commits that its runs made."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pachyderm_dagster.integration import kubeflow_run
from pachyderm_dagster.kubeflow.api import KubeflowApi
from pachyderm_dagster.pfs.made_commits import MadeFrom, Making, make_commit
from pachyderm_dagster.pfs.model import BranchName, Commit, Origin, RepoName
from tests.integration.home import QUIET, Home
from tests.kubeflow.api_server import ApiServer, Document, api_server, finish
from tests.kubeflow.specs import EDGES, ID, exported

NAME = exported(EDGES).pipeline["pipelineInfo"]["name"]
STEPS = ("train", "train_2")
"""Two of one op."""


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server(ApiServer(advance=finish)) as found:
        yield found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "find-edges.yaml"
    path.write_text(exported(EDGES).to_yaml())
    return path


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachyderm_dagster.integration.kubeflow_runs._wait", lambda _seconds: None)


def run(op: dg.OpDefinition, parameters: dict[str, Any] | None = None, **more: Any) -> dg.ExecuteInProcessResult:
    config = {"ops": {op.name: {"config": {"parameters": parameters or {}}}}, **QUIET}
    return dg.GraphDefinition("in_kubeflow", node_defs=[op]).to_job().execute_in_process(run_config=config, raise_on_error=False, **more)


def test_a_step_is_a_run_in_kubeflow(server: ApiServer, file: Path) -> None:
    op = kubeflow_run(file, endpoint=server.url)
    assert op.name == "find_edges"
    result = run(op, {"images_commit": ID})
    (made,) = server.runs.values()
    assert result.success and result.output_for_node("find_edges") == made["run_id"]
    assert made["runtime_config"] == {"parameters": {"images_commit": ID}}
    assert result.run_id in made["display_name"]
    (output,) = [event for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_OUTPUT]
    metadata = output.step_output_data.metadata
    assert metadata["kubeflow/run"].value == f"{server.url}/#/runs/details/{made['run_id']}"
    assert metadata["kubeflow/state"].value == "SUCCEEDED"


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_FAILURE]
    error = event.step_failure_data.error
    assert error is not None
    return error.message + (error.cause.message if error.cause else "")


def test_a_run_that_fails_fails_the_step(server: ApiServer, file: Path) -> None:
    server.advance = lambda found: finish(found, failing="edges")
    assert "[kubeflow-run-failed]" in failure(run(kubeflow_run(file, endpoint=server.url)))


def test_a_step_that_is_tried_again_starts_another_run(server: ApiServer, file: Path) -> None:
    def advance(found: Document) -> None:
        finish(found, failing="" if len(server.runs) > 1 else "edges")

    server.advance = advance
    assert run(kubeflow_run(file, endpoint=server.url, retry_policy=dg.RetryPolicy(max_retries=1))).success
    assert [found["state"] for found in server.runs.values()] == ["FAILED", "SUCCEEDED"]


def test_wrong_parameters_start_nothing(server: ApiServer, file: Path) -> None:
    assert "[parameter-unknown]" in failure(run(kubeflow_run(file, endpoint=server.url), {"commit": ID}))
    assert server.runs == {}


def test_a_file_that_is_gone_is_told(server: ApiServer, tmp_path: Path) -> None:
    assert "export the pipeline again" in failure(run(kubeflow_run(tmp_path / "none.yaml", endpoint=server.url)))


def test_the_run_is_ended_with_dagsters(server: ApiServer, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_seconds: float) -> None:
        raise dg.DagsterExecutionInterruptedError

    server.advance = lambda _run: None
    monkeypatch.setattr("pachyderm_dagster.integration.kubeflow_runs._wait", interrupted)
    assert not run(kubeflow_run(file, endpoint=server.url)).success
    assert [found["state"] for found in server.runs.values()] == ["CANCELING"]


def test_a_step_whose_run_goes_on_is_followed_and_no_other_step_is(server: ApiServer, file: Path) -> None:
    instance, run_id = dg.DagsterInstance.ephemeral(), "0e5f3c1e-0000-4000-8000-000000000000"
    pipeline = {"pipelineInfo": {"name": "edges"}}
    own, other = (KubeflowApi(server.url).create_run({"display_name": f"{NAME}, dagster {run_id} {step}", "pipeline_spec": pipeline}) for step in STEPS)
    result = run(kubeflow_run(file, endpoint=server.url, name="train"), instance=instance, run_id=run_id)
    assert result.output_for_node("train") == own["run_id"]
    assert other["state"] == "PENDING"
    again = run(kubeflow_run(file, endpoint=server.url, name="train"), run_id=run_id)
    assert again.output_for_node("train") not in (own["run_id"], other["run_id"])


def test_steps_that_are_mapped_are_told_apart(server: ApiServer, file: Path) -> None:
    @dg.op(out=dg.DynamicOut(str))
    def sets() -> Iterator[dg.DynamicOutput[str]]:
        yield from (dg.DynamicOutput(key, mapping_key=key) for key in ("a", "a_2"))

    train = kubeflow_run(file, endpoint=server.url, name="train", ins={"after": dg.In(dg.Nothing)})

    @dg.job
    def mapped() -> None:
        sets().map(train)

    result = mapped.execute_in_process(run_config=QUIET)
    assert [found["display_name"] for found in server.runs.values()] == [f"{NAME}, dagster {result.run_id} train[{key}]" for key in ("a", "a_2")]


def test_a_step_that_is_ended_while_nobody_answers_is_interrupted_and_says_what_goes_on(server: ApiServer, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_seconds: float) -> None:
        server.down = 1000
        raise dg.DagsterExecutionInterruptedError

    monkeypatch.setattr("pachyderm_dagster.integration.kubeflow_runs._wait", interrupted)
    instance = dg.DagsterInstance.ephemeral()
    result = run(kubeflow_run(file, endpoint=server.url), instance=instance)
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert failed.step_failure_data.error_source.value == "INTERRUPT"
    (made,) = server.runs.values()
    (said,) = [entry.user_message for entry in instance.all_logs(result.run_id) if "goes on" in entry.user_message]
    assert said.startswith(f"run {made['run_id']} in Kubeflow goes on") and "upstream is not there" in said and said.endswith(made["run_id"])


def make(home: Home, branch: BranchName, source: Commit, *read: tuple[BranchName, Commit]) -> Commit:
    """What a run of Kubeflow commits."""
    making = Making(
        home.workspace.pfs.trees.decode(source.tree),
        tuple(MadeFrom(through, commit.id) for through, commit in read),
        Origin.AUTO,
        home.workspace.database.clock.now(),
    )
    return make_commit(home.workspace.database, home.workspace.store, branch, making)


def test_commits_of_a_run_are_materializations_with_provenance_and_without_a_run(home: Home) -> None:
    images = BranchName(RepoName("default", "images"), "master")
    edges, montage = (BranchName(RepoName("default", name), "kubeflow") for name in ("edges", "montage"))
    read = home.commit("images@master", {"/a": "1"})
    home.tick()
    made = make(home, edges, read, (images, read))
    home.tick()
    last = make(home, montage, read, (images, read), (BranchName(edges.repo, "master"), made))
    home.tick()
    (event,) = home.materializations("default", "kubeflow", "edges")
    tags = event.tags or {}
    assert tags["dagster/data_version"] == made.id
    assert tags["dagster/input_data_version/default/images"] == read.id
    assert "dagster/input_event_pointer/default/images" in tags
    (event,) = home.materializations("default", "kubeflow", "montage")
    tags = event.tags or {}
    assert {key: value for key, value in tags.items() if "input_data_version" in key} == {
        "dagster/input_data_version/default/images": read.id,
        "dagster/input_data_version/default/kubeflow/edges": made.id,
    }
    table = event.metadata["pachyderm/inputs"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [record.data["commit"] for record in table.records] == [made.id, read.id]
    assert tags["dagster/data_version"] == last.id
    assert home.tick().events == []
