"""CronWorkflows as schedules, and workflow files as a component."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster.components.testing import create_defs_folder_sandbox

from pachyderm_dagster.argo.runs import Runs
from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration import ArgoWorkflows, argo_definitions
from pachyderm_dagster.integration.argo_jobs import job_of
from pachyderm_dagster.integration.argo_loading import find_workflow, load_workflows
from pachyderm_dagster.integration.argo_schedules import ask, schedules_of

CRON = """apiVersion: argoproj.io/v1alpha1
kind: CronWorkflow
metadata: {{name: nightly}}
spec:
  {schedules}
  timezone: Europe/Berlin
  {spec}
  workflowSpec:
    entrypoint: main
    arguments: {{parameters: [{{name: word, value: hello}}]}}
    templates: [{{name: main, container: {{image: busybox, command: [echo, "{{{{workflow.parameters.word}}}} at {{{{workflow.scheduledTime}}}}"]}}}}]
"""
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
DAILY = "schedules: ['0 13 * * *', '@hourly']"


class Cron:
    """A CronWorkflow of a file, its job and what starts it."""

    def __init__(self, folder: Path, spec: str = "", schedules: str = DAILY) -> None:
        (folder / "cron.yaml").write_text(CRON.format(schedules=schedules, spec=spec))
        self.clock = ManualClock(NOON)
        self.loaded = find_workflow(load_workflows(folder / "cron.yaml"), None)
        self.job = job_of(self.loaded, environ={"PACHYDERM_HOME": str(folder)})
        self.started = list(schedules_of(self.loaded, self.job, clock=self.clock))

    def ask(self, instance: dg.DagsterInstance, scheduled: dt.datetime) -> dg.RunRequest | dg.SkipReason:
        assert self.loaded.cron is not None
        return ask(self.loaded.cron, instance, scheduled, self.clock)

    def begin(self, instance: dg.DagsterInstance, scheduled: dt.datetime, status: dg.DagsterRunStatus) -> dg.DagsterRun:
        """A run that was asked for, and is so far."""
        request = self.ask(instance, scheduled)
        assert isinstance(request, dg.RunRequest), request
        origin = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("code"), "__repository__"), self.job.name)
        return instance.create_run_for_job(self.job, tags=request.tags, status=status, remote_job_origin=origin)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as found:
        yield found


def test_a_schedule_has_all_times_and_the_timezone(tmp_path: Path) -> None:
    (schedule,) = Cron(tmp_path).started
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert (schedule.cron_schedule, schedule.execution_timezone) == (["0 13 * * *", "0 * * * *"], "Europe/Berlin")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    (suspended,) = Cron(tmp_path, "suspend: true").started
    assert isinstance(suspended, dg.ScheduleDefinition) and suspended.default_status is dg.DefaultScheduleStatus.STOPPED


def test_a_tick_asks_for_a_run_whose_workflow_knows_its_time(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    cron = Cron(tmp_path)
    (schedule,) = cron.started
    assert isinstance(schedule, dg.ScheduleDefinition)
    context = dg.build_schedule_context(instance, scheduled_execution_time=NOON)
    (request,) = schedule.evaluate_tick(context).run_requests or ()
    assert request.run_key == "1767268800"
    result = cron.job.execute_in_process(instance=instance, tags=request.tags)
    assert result.success
    run = Runs(tmp_path).get("nightly-1767268800")
    (pod,) = run.nodes().values()
    assert (run.path / "pods" / pod.pod / "log").read_text() == "hello at 2026-01-01T12:00:00Z\n"


@pytest.mark.parametrize(("policy", "starts"), [("Allow", True), ("Forbid", False), ("Replace", True)])
def test_what_happens_while_one_is_not_done_is_the_policys(tmp_path: Path, instance: dg.DagsterInstance, policy: str, *, starts: bool) -> None:
    cron = Cron(tmp_path, f"concurrencyPolicy: {policy}")
    run = cron.begin(instance, NOON, dg.DagsterRunStatus.QUEUED)
    # Evaluated again for the same time, as after a daemon that died, it asks for the same.
    again = cron.ask(instance, NOON)
    assert isinstance(again, dg.RunRequest) and again.run_key == "1767268800"
    found = cron.ask(instance, NOON + dt.timedelta(hours=1))
    assert isinstance(found, dg.RunRequest) is starts
    if not starts:
        assert isinstance(found, dg.SkipReason) and "nightly-1767268800 is not done" in (found.skip_message or "")
    known = instance.get_run_by_id(run.run_id)
    assert known is not None
    assert known.status is (dg.DagsterRunStatus.CANCELED if policy == "Replace" else dg.DagsterRunStatus.QUEUED)


def test_one_that_is_done_forbids_nothing(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    cron = Cron(tmp_path, "concurrencyPolicy: Forbid")
    cron.begin(instance, NOON, dg.DagsterRunStatus.SUCCESS)
    assert isinstance(cron.ask(instance, NOON + dt.timedelta(hours=1)), dg.RunRequest)


def test_runs_are_counted_for_the_stop_strategy(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    cron = Cron(tmp_path, "stopStrategy: {expression: 'cronworkflow.failed >= 2'}")
    for hour in range(2):
        cron.begin(instance, NOON + dt.timedelta(hours=hour), dg.DagsterRunStatus.FAILURE)
    found = cron.ask(instance, NOON + dt.timedelta(hours=2))
    assert isinstance(found, dg.SkipReason) and "it has stopped for good" in (found.skip_message or "")


def test_the_last_time_is_that_of_the_run_before(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    often = "when: '{{= cronworkflow.lastScheduledTime == nil || (now() - cronworkflow.lastScheduledTime).Minutes() > 90 }}'"
    cron = Cron(tmp_path, often)
    cron.begin(instance, NOON, dg.DagsterRunStatus.SUCCESS)
    cron.clock.advance(dt.timedelta(hours=1))
    assert isinstance(cron.ask(instance, NOON + dt.timedelta(hours=1)), dg.SkipReason)
    cron.clock.advance(dt.timedelta(hours=1))
    assert isinstance(cron.ask(instance, NOON + dt.timedelta(hours=2)), dg.RunRequest)


def test_every_counts_from_the_last_start(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    cron = Cron(tmp_path, schedules="schedules: ['@every 10m']")
    (sensor,) = cron.started
    assert isinstance(sensor, dg.SensorDefinition) and sensor.default_status is dg.DefaultSensorStatus.RUNNING

    def tick(cursor: str | None) -> tuple[list[str | None], str | None]:
        data = sensor.evaluate_tick(dg.build_sensor_context(instance, cursor=cursor))
        return [request.run_key for request in data.run_requests or ()], data.cursor

    first, cursor = tick(None)
    cron.clock.advance(dt.timedelta(minutes=9))
    early, cursor = tick(cursor)
    cron.clock.advance(dt.timedelta(minutes=16))
    late, cursor = tick(cursor)
    # Of two times that were missed, the newer one.
    assert (first, early, late) == ([], [], [str(1767268800 + 20 * 60)])
    assert tick(cursor)[0] == []


def test_a_parameter_that_nobody_gives_is_told_when_the_code_is_loaded(tmp_path: Path) -> None:
    text = CRON.format(schedules=DAILY, spec="").replace("{name: word, value: hello}", "{name: word}")
    (tmp_path / "cron.yaml").write_text(text)
    with pytest.raises(InvalidError, match="parameter-missing"):
        argo_definitions(tmp_path)


# --- the component


# Dagster's own uses of what is deprecated or beta.
@pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated", "ignore::dagster.BetaWarning")
def test_the_component_loads_what_it_scaffolds_and_runs_it(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = Path(sandbox.scaffold_component(component_cls=ArgoWorkflows))
        attributes = {"files": ["workflow.yaml", "more"], "home": str(tmp_path)}
        (path / "more").mkdir()
        (path / "more" / "cron.yml").write_text(CRON.format(schedules=DAILY, spec=""))
        (path / "more" / "wait.yaml").write_text(
            "apiVersion: argoproj.io/v1alpha1\nkind: WorkflowTemplate\nmetadata: {name: ask-first}\n"
            "spec:\n  entrypoint: ask\n  templates: [{name: ask, suspend: {}}]\n"
        )
        (path / "defs.yaml").write_text(json.dumps({"type": "pachyderm_dagster.integration.ArgoWorkflows", "attributes": attributes}))
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, definitions):
            assert {job.name for job in definitions.jobs or ()} == {"squares", "nightly", "ask_first", "answer_ask_first"}
            assert [schedule.name for schedule in definitions.schedules or ()] == ["nightly_schedule"]
            result = definitions.resolve_job_def("squares").execute_in_process(instance=instance, run_config={"parameters": {"upto": "4"}})
    assert result.success
    (total,) = [event for event in result.all_events if event.step_key == "total" and event.event_type_value == "STEP_OUTPUT"]
    (run,) = Runs(tmp_path).list()
    log = run.path / "pods" / run.nodes()[f"{run.name}[2].total"].pod / "log"
    assert log.read_text() == "30\n"
    assert total.step_output_data.metadata["pachyderm/workflow"].value == run.name


def test_workflows_whose_steps_have_the_same_names_are_loaded_together(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    """Each step has a name of its own in a code location, and is shown by the one in its file."""
    template = "templates: [{name: main, dag: {tasks: [{name: load, template: say}]}}, {name: say, container: {image: busybox, command: [echo]}}]"
    (tmp_path / "workflows").mkdir()
    for name in ("train", "load"):
        head = f"apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {{name: {name}}}\n"
        (tmp_path / "workflows" / f"{name}.yaml").write_text(f"{head}spec:\n  entrypoint: main\n  {template}\n")
    defs = argo_definitions(tmp_path / "workflows", environ={"PACHYDERM_HOME": str(tmp_path / "home")})
    dg.Definitions.validate_loadable(defs)
    for name in ("train", "load"):
        result = defs.get_job_def(name).execute_in_process(instance=instance)
        assert [event.step_key for event in result.filter_events(lambda event: event.event_type is dg.DagsterEventType.STEP_SUCCESS)] == ["load"]
