"""Workflows of Argo as jobs: what the launchpad asks for, what is run, shown and kept, and what is run again."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pachyderm_dagster.argo.answering import answer
from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.run_folder import RunFolder
from pachyderm_dagster.argo.runs import Runs
from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.integration import answer_job, argo_job
from pachyderm_dagster.integration.argo_logs import PodLogs
from pachyderm_dagster.workspace import open_workspace
from tests.cli.pachctl import ROOT

HEAD = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {generateName: train-}\nspec:\n  entrypoint: main\n"
SHELL = "container: {image: busybox, command: [sh, -c], args: ['{{inputs.parameters.do}}']"
STATE = "  volumes: [{name: state, persistentVolumeClaim: {claimName: state}}]\n"
RUN = f"  - {{name: run, inputs: {{parameters: [{{name: do}}]}}, {SHELL}, volumeMounts: [{{name: state, mountPath: /state}}]}}}}\n"
BLOCK = "touch /state/begun; while ls /state/wait; do sleep 0.05; done"
"""Waits for a file to go."""
OK = "  - {name: ok, container: {image: busybox, command: ['true']}}\n"


def task(name: str, do: str, more: str = "") -> str:
    return f'{{name: {name}, template: run, arguments: {{parameters: [{{name: do, value: "{do}"}}]}}{more}}}'


def dag(*tasks: str, spec: str = "") -> str:
    return f"{STATE}{spec}  templates:\n  - {{name: main, dag: {{tasks: [{', '.join(tasks)}]}}}}\n{RUN}"


class Argo:
    """Workflows of a home, and their runs in Dagster."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.folder, self.instance, self.runs = folder, instance, Runs(folder)
        self.file = folder / "workflow.yaml"
        self.state = folder / "argo" / "claims" / "state"
        self.state.mkdir(parents=True)

    def job(self, text: str, **arguments: Any) -> dg.JobDefinition:
        self.file.write_text(HEAD + text)
        return argo_job(self.file, **arguments)

    def run(self, text: str, config: Mapping[str, Any] | None = None, **arguments: Any) -> dg.ExecuteInProcessResult:
        return self.job(text, **arguments).execute_in_process(instance=self.instance, run_config=config, raise_on_error=False)

    def folder_of(self, run_id: str) -> RunFolder:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return self.runs.get(run.tags["pachyderm/workflow"])

    def again(self, run_id: str) -> dg.JobExecutionResult:
        """Repeats a run from its failure."""
        options = dg.ReexecutionOptions.from_failure(run_id, self.instance)
        return dg.execute_job(self.elsewhere(), self.instance, raise_on_error=False, reexecution_options=options)

    def elsewhere(self) -> Any:
        """The job, for other processes."""
        return dg.build_reconstructable_job("tests.integration.argo_code", "workflow_job", (str(self.file),))

    def log(self, run_id: str) -> list[str]:
        """What the run's log says, without Dagster's own events of steps."""
        return [found.user_message or found.message for found in self.instance.all_logs(run_id)]


@pytest.fixture
def argo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Argo]:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("PACHYDERM_HOME", str(folder))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield Argo(folder, instance)


def outcomes(result: Any) -> dict[str, str]:
    """By step how it ended."""
    ends = {"STEP_SUCCESS": "success", "STEP_FAILURE": "failure"}
    return {event.step_key: ends[event.event_type_value] for event in result.all_events if event.event_type_value in ends}


def metadata_of(result: Any, step: str) -> dict[str, Any]:
    """What was told of a step with its output, or its failure."""
    for event in result.all_events:
        if event.step_key == step and event.event_type_value == "STEP_OUTPUT":
            return {key: value.value for key, value in event.step_output_data.metadata.items()}
        if event.step_key == step and event.event_type_value == "STEP_FAILURE":
            return {key: value.value for key, value in event.step_failure_data.user_failure_data.metadata.items()}
    raise AssertionError(step)


# --- what the launchpad asks for


ASKING = """  arguments:
    parameters:
    - {name: rows, value: 3, description: How many.}
    - {name: kind-of, value: fast, enum: [fast, 'very slow']}
    - {name: needed}
    - {name: held, valueFrom: {configMapKeyRef: {name: settings, key: size}}}
  templates:
  - name: main
    container: {image: busybox, command: [echo, "{{workflow.parameters.rows}} {{workflow.parameters.kind-of}} {{workflow.parameters.needed}}"]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {size: '7'}
"""


def test_launchpad_has_parameters_with_defaults_choices_and_descriptions(argo: Argo) -> None:
    schema = argo.job(ASKING).run_config_schema.config_type
    fields = schema.fields["parameters"].config_type.fields  # type: ignore[attr-defined]
    assert {name: (field.is_required, field.default_value if field.default_provided else None, field.description) for name, field in fields.items()} == {
        "rows": (False, "3", "How many."),
        "kind-of": (False, "fast", None),
        "needed": (True, None, None),
        "held": (False, "7", None),
    }
    assert [value.config_value for value in fields["kind-of"].config_type.enum_values] == ["fast", "very slow"]


@pytest.mark.parametrize("parameters", [{}, {"needed": "x", "kind-of": "slow"}, {"needed": "x", "other": "y"}])
def test_launchpad_refuses_what_the_workflow_does_not_take(argo: Argo, parameters: dict[str, str]) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError):
        argo.job(ASKING).execute_in_process(instance=argo.instance, run_config={"parameters": parameters})


def test_values_of_the_launchpad_are_the_workflows(argo: Argo) -> None:
    result = argo.run(ASKING, {"parameters": {"needed": "me", "kind-of": "very slow"}})
    assert result.success
    assert "[train-" in (log := "\n".join(argo.log(result.run_id))) and "] 3 very slow me" in log


# --- steps


def test_each_step_of_a_graph_is_a_step(argo: Argo) -> None:
    job = argo.job(dag(task("data-set", "true"), task("a", "true", ", depends: data-set"), task("b", "true", ", depends: data-set && a")))
    assert {node.name for node in job.graph.nodes} == {"data_set", "a", "b"}
    structure = job.graph.dependency_structure
    upstream = {
        node.name: {output.node_name for outputs in structure.input_to_upstream_outputs_for_node(node.name).values() for output in outputs}
        for node in job.graph.nodes
    }
    assert upstream == {"data_set": set(), "a": {"data_set"}, "b": {"data_set", "a"}}


@pytest.mark.parametrize(
    ("text", "executor"),
    [
        (dag(task("a", "true"), task("b", "true", ", depends: a")), "in_process"),
        (dag(task("a", "true"), task("b", "true", ", depends: a"), task("c", "true", ", depends: a")), "multiprocess"),
        (f"  templates:\n  - {{name: main, steps: [[{{name: a, template: ok}}], [{{name: b, template: ok}}]]}}\n{OK}", "in_process"),
    ],
)
def test_steps_that_can_run_at_once_get_processes(argo: Argo, text: str, executor: str) -> None:
    assert argo.job(text).executor_def.name == executor


def test_what_is_not_flat_is_one_step_and_says_why(argo: Argo) -> None:
    text = f"  onExit: ok\n  templates:\n  - {{name: main, steps: [[{{name: a, template: ok}}]]}}\n{OK}"
    job = argo.job(text)
    assert [node.name for node in job.graph.nodes] == ["train"]
    assert job.metadata["pachyderm/run_as_a_whole"].value == "it has an exit handler or hooks"
    with pytest.raises(InvalidError, match="cannot be run step by step: it has an exit handler"):
        argo.job(text, granularity="task")
    result = argo.run(text)
    assert result.success
    folder = argo.folder_of(result.run_id)
    assert f"{folder.name}.onExit" in folder.nodes()


def test_a_run_shows_nodes_outputs_and_what_pods_print(argo: Argo) -> None:
    text = """  templates:
  - name: main
    steps:
    - - {name: list, template: list}
    - - {name: each, template: say, withParam: '{{steps.list.outputs.result}}', arguments: {parameters: [{name: t, value: '{{item}}'}]}}
  - {name: list, container: {image: busybox, command: [echo, '[1, 2]']}}
  - name: say
    inputs: {parameters: [{name: t}]}
    outputs: {parameters: [{name: p, valueFrom: {path: /p}}]}
    container: {image: busybox, command: [sh, -c], args: ['echo {{inputs.parameters.t}}0; echo {{inputs.parameters.t}} > /p']}
"""
    result = argo.run(text)
    assert result.success and outcomes(result) == {"list": "success", "each": "success"}
    folder = argo.folder_of(result.run_id)
    assert folder.name == f"train-{result.run_id[:8]}" and folder.phase() is Phase.SUCCEEDED
    first, each = metadata_of(result, "list"), metadata_of(result, "each")
    assert first["pachyderm/output.result"] == "[1, 2]"
    assert [(record.data["node"], record.data["phase"]) for record in each["pachyderm/nodes"].records] == [
        ("each(0:1)", "Succeeded"),
        ("each(1:2)", "Succeeded"),
    ]
    assert "✔ each(1:2)" in each["pachyderm/node_tree"] and 'n0["✔ each(0:1)"]:::ok' in each["pachyderm/node_graph"]
    log = argo.log(result.run_id)
    assert any("[each(0:1)] 10" in line for line in log)
    assert f"workflow {folder.name} Succeeded" in log


def test_a_step_that_fails_leaves_out_what_follows_it_only(argo: Argo) -> None:
    result = argo.run(dag(task("a", "echo no >&2; exit 3"), task("b", "true", ", depends: a"), task("c", "true")))
    assert not result.success
    assert outcomes(result) == {"a": "failure", "c": "success"}
    assert [record.data["message"] for record in metadata_of(result, "a")["pachyderm/nodes"].records] == ["Error (exit code 3)"]
    folder = argo.folder_of(result.run_id)
    assert folder.phase() is Phase.FAILED and folder.nodes()[f"{folder.name}.b"].phase is Phase.OMITTED
    assert f"workflow {folder.name} Failed: a child failed" in argo.log(result.run_id)


def test_results_that_cannot_be_put_together_fail_the_step(argo: Argo) -> None:
    text = """  templates:
  - name: main
    steps:
    - - {name: words, template: say, withItems: [a, b]}
    - - {name: all, template: ok, when: '{{steps.words.outputs.result}} != x'}
  - {name: say, container: {image: busybox, command: [echo, word]}}
"""
    result = argo.run(text + OK)
    assert outcomes(result) == {"words": "failure"}
    assert argo.folder_of(result.run_id).phase() is Phase.ERROR


def test_outputs_of_the_whole_that_are_missing_fail_the_last_step(argo: Argo) -> None:
    text = f"""  templates:
  - name: main
    outputs: {{parameters: [{{name: p, valueFrom: {{expression: "tasks.a.outputs.parameters.p"}}}}]}}
    dag: {{tasks: [{{name: a, template: ok}}]}}
{OK}"""
    result = argo.run(text)
    assert outcomes(result) == {"a": "failure"}
    assert argo.folder_of(result.run_id).phase() is Phase.ERROR


@pytest.mark.parametrize("spec", ["", "  parallelism: 5\n"], ids=["step by step", "as a whole"])
def test_a_run_repeated_from_its_failure_keeps_what_succeeded(argo: Argo, spec: str) -> None:
    text = dag(task("a", "echo >> /state/counted"), task("b", "ls /state/ready", ", depends: a"), spec=spec)
    failed = argo.run(text)
    assert not failed.success
    (argo.state / "ready").touch()
    repeated = argo.again(failed.run_id)
    assert repeated.success
    assert (argo.state / "counted").read_text() == "\n"
    folder = argo.folder_of(failed.run_id)
    assert argo.folder_of(repeated.run_id).path == folder.path and folder.phase() is Phase.SUCCEEDED


def test_steps_that_run_in_processes_of_their_own_make_one_workflow(argo: Argo) -> None:
    argo.job(
        dag(
            task("a", "true"),
            task("b", "touch /state/b; while ! ls /state/c; do sleep 0.05; done", ", depends: a"),
            task("c", "touch /state/c; while ! ls /state/b; do sleep 0.05; done", ", depends: a"),
        )
    )
    result = dg.execute_job(argo.elsewhere(), argo.instance, raise_on_error=False)
    assert result.success
    folder = argo.folder_of(result.run_id)
    assert folder.phase() is Phase.SUCCEEDED
    b, c = (folder.nodes()[f"{folder.name}.{name}"] for name in "bc")
    assert b.started < c.finished and c.started < b.finished


def test_artifacts_are_a_materialization_of_the_commit_that_they_are_in(argo: Argo) -> None:
    text = """  templates:
  - name: main
    steps: [[{name: make, template: make}]]
  - name: make
    container: {image: busybox, command: [sh, -c], args: ['echo made > /made']}
    outputs: {artifacts: [{name: made, path: /made, archive: {none: {}}, s3: {key: result.txt}}]}
"""
    result = argo.run(text)
    assert result.success
    (record,) = argo.instance.fetch_materializations(dg.AssetKey(["default", "argo-train"]), limit=5).records
    assert record.asset_materialization is not None
    commit = record.asset_materialization.metadata["pachyderm/commit"].value
    assert argo.folder_of(result.run_id).commit() == f"argo-train@{commit}"
    with closing(open_workspace({**os.environ})) as workspace:
        assert b"".join(workspace.pfs.get_file(f"argo-train@{commit}:/result.txt")) == b"made\n"


def test_a_workflow_that_is_suspended_waits_for_a_resume(argo: Argo) -> None:
    job = argo.job(f"  suspend: true\n  templates:\n  - {{name: main, steps: [[{{name: a, template: ok}}]]}}\n{OK}")

    def is_told() -> bool:
        return any("is suspended" in line for run in argo.instance.get_runs() for line in argo.log(run.run_id))

    thread = when(is_told, lambda: argo.runs.list()[0].resume())
    result = job.execute_in_process(instance=argo.instance, raise_on_error=False)
    thread.join()
    assert result.success


# --- ending it


def when(condition: Callable[[], bool], act: Callable[[], object]) -> threading.Thread:
    """Does something once a condition holds."""

    def watch() -> None:
        pause = threading.Event()
        while not condition():
            pause.wait(0.02)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.mark.parametrize("spec", ["", "  parallelism: 5\n"], ids=["step by step", "as a whole"])
@pytest.mark.parametrize("is_cancelled", [True, False], ids=["cancelled", "interrupted"])
def test_a_run_that_is_ended_ends_its_pods_and_can_be_run_on(argo: Argo, spec: str, is_cancelled: bool) -> None:
    (argo.state / "wait").touch()
    job = argo.job(dag(task("a", "echo >> /state/counted"), task("b", BLOCK, ", depends: a"), spec=spec))

    def end() -> None:
        (run,) = argo.instance.get_runs()
        if is_cancelled:
            argo.instance.report_run_canceling(run)
        os.kill(os.getpid(), signal.SIGINT)

    thread = when(lambda: (argo.state / "begun").exists(), end)
    assert not job.execute_in_process(instance=argo.instance, raise_on_error=False).success
    thread.join()
    (run,) = argo.instance.get_runs()
    folder = argo.folder_of(run.run_id)
    assert not folder.is_running()
    assert folder.phase() is (Phase.FAILED if is_cancelled else Phase.RUNNING)
    (argo.state / "wait").unlink()
    repeated = argo.again(run.run_id)
    assert repeated.success and argo.folder_of(repeated.run_id).path == folder.path
    assert (argo.state / "counted").read_text() == "\n"


def test_pods_end_when_dagster_cannot_be_told_of_them(argo: Argo, monkeypatch: pytest.MonkeyPatch) -> None:
    (argo.state / "wait").touch()
    with monkeypatch.context() as patched:

        def read(_logs: PodLogs) -> str:
            if (argo.state / "begun").exists():
                raise OSError("the storage of events is away")
            return ""

        patched.setattr(PodLogs, "read", read)
        result = argo.run(dag(task("a", BLOCK)))
    assert not result.success
    assert not [thread for thread in threading.enumerate() if thread.name == "workflow"]
    assert argo.folder_of(result.run_id).phase() is Phase.RUNNING
    (argo.state / "wait").unlink()
    assert argo.again(result.run_id).success


def test_a_run_whose_process_was_killed_is_run_on(argo: Argo) -> None:
    (argo.state / "wait").touch()
    argo.job(dag(task("a", "echo >> /state/counted"), task("b", BLOCK, ", depends: a")))
    code = "import dagster as dg; from tests.integration.argo_code import workflow_job\n"
    code += f"workflow_job({str(argo.file)!r}).execute_in_process(instance=dg.DagsterInstance.get())"
    dagster_home = Path(argo.instance.root_directory)
    (dagster_home / "dagster.yaml").touch()
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "DAGSTER_HOME": str(dagster_home)}) as process:
        when((argo.state / "begun").exists, process.kill).join()
    (run,) = argo.instance.get_runs()
    argo.instance.report_run_failed(run)
    (argo.state / "wait").unlink()
    repeated = argo.again(run.run_id)
    assert repeated.success
    assert (argo.state / "counted").read_text() == "\n"
    assert argo.folder_of(repeated.run_id).path == argo.folder_of(run.run_id).path


# --- answers


WAITING = """  templates:
  - name: main
    steps:
    - - {name: approve, template: ask}
    - - {name: tell, template: tell, arguments: {parameters: [{name: t, value: '{{steps.approve.outputs.parameters.ok}}'}]}}
  - {name: ask, suspend: {}, outputs: {parameters: [{name: ok, valueFrom: {supplied: {}}}]}}
  - {name: tell, inputs: {parameters: [{name: t}]}, container: {image: busybox, command: [echo, 'told {{inputs.parameters.t}}']}}
"""


def test_an_answer_can_be_given_at_launch(argo: Argo) -> None:
    result = argo.run(WAITING, {"answers": {"approve": {"ok": "at once"}}})
    assert result.success and "[tell] told at once" in argo.log(result.run_id)


@pytest.mark.parametrize("by", ["command line", "job"])
def test_a_run_waits_and_says_how_to_answer(argo: Argo, by: str) -> None:
    job = argo.job(WAITING)

    def waits() -> bool:
        return any("waits for somebody" in line for run in argo.instance.get_runs() for line in argo.log(run.run_id))

    def reply() -> None:
        (folder,) = argo.runs.list()
        if by == "job":
            config = {"ops": {"answer_workflow": {"config": {"workflow": folder.name, "node": "approve", "parameters": {"ok": "go"}}}}}
            assert answer_job().execute_in_process(run_config=config).success
        else:
            answer(folder, {"ok": "go"})

    thread = when(waits, reply)
    result = job.execute_in_process(instance=argo.instance, raise_on_error=False)
    thread.join()
    assert result.success
    log = argo.log(result.run_id)
    name = argo.folder_of(result.run_id).name
    assert any(f"approve waits for somebody to answer: `pachctl argo resume {name} -p ok=VALUE`" in line for line in log)
    assert "[tell] told go" in log


def test_a_run_that_waits_can_be_cancelled(argo: Argo) -> None:
    job = argo.job(WAITING)

    def cancel() -> None:
        (run,) = argo.instance.get_runs()
        argo.instance.report_run_canceling(run)
        os.kill(os.getpid(), signal.SIGINT)

    thread = when(lambda: any("waits for somebody" in line for run in argo.instance.get_runs() for line in argo.log(run.run_id)), cancel)
    assert not job.execute_in_process(instance=argo.instance, raise_on_error=False).success
    thread.join()
    (folder,) = argo.runs.list()
    assert folder.phase() is Phase.FAILED


def test_an_answer_that_nobody_waits_for_is_refused(argo: Argo) -> None:
    config = {"ops": {"answer_workflow": {"config": {"workflow": "gone"}}}}
    result = answer_job().execute_in_process(run_config=config, raise_on_error=False)
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert "there is no workflow 'gone'" in str(failed.step_failure_data.user_failure_data.description)  # type: ignore[union-attr]


# --- mistakes


def test_mistakes_are_told_when_the_code_is_loaded(argo: Argo) -> None:
    with pytest.raises(NotFoundError, match="source-not-found"):
        argo_job(argo.folder / "gone.yaml")
    with pytest.raises(InvalidError, match="workflow.yaml:"):
        argo.job("  templates: [{name: main, steps: [[{name: a, template: gone}]]}]\n")
    two = f"  templates:\n  - {{name: main, steps: [[{{name: a, template: ok}}]]}}\n{OK}"
    argo.file.write_text(f"{HEAD}{two}---\n{HEAD.replace('generateName: train-', 'name: other')}{two}")
    with pytest.raises(InvalidError, match="the files hold 2 workflows: 'train', 'other'; name the one that is meant"):
        argo_job(argo.file)
    assert argo_job(argo.file, workflow="other").name == "other"
    with pytest.raises(NotFoundError, match="'gone'; those that they hold: 'train', 'other'"):
        argo_job(argo.file, workflow="gone")
