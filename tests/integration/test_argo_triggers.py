"""Sensors of Argo Events as sensors and schedules of Dagster: events that come, and the runs that they start."""

import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from pachyderm_dagster.argo.events import Origin
from pachyderm_dagster.argo.kept_requests import KeptRequests
from pachyderm_dagster.argo.runs import Runs
from pachyderm_dagster.clock import ManualClock, SystemClock
from pachyderm_dagster.integration import argo_definitions
from pachyderm_dagster.integration.argo_jobs import job_of
from pachyderm_dagster.integration.argo_loading import load_workflows
from pachyderm_dagster.integration.argo_triggers import trigger_of
from pachyderm_dagster.pfs.finished import LATE
from pachyderm_dagster.workspace import Workspace, open_workspace
from tests.argo.event_files import HOOK, sensor, source

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
COMMITS = "generic: {example: {url: 'pfs://images'}}"


class Trigger:
    """A trigger of files, its job, and the ticks of what starts it."""

    def __init__(self, folder: Path, *texts: str, at: dt.datetime = NOON) -> None:
        (folder / "events.yaml").write_text("---\n".join(texts))
        self.environ = {"PACHYDERM_HOME": str(folder)}
        self.clock = ManualClock(at)
        (loaded,) = load_workflows(folder / "events.yaml")
        assert loaded.trigger is not None
        self.job = job_of(loaded, environ=self.environ)
        self.started = trigger_of(loaded, loaded.trigger, self.job, self.environ, clock=self.clock)
        self.cursor: str | None = None
        self.said = ""

    def tick(self, instance: dg.DagsterInstance, *, is_lost: bool = False) -> Sequence[dg.RunRequest]:
        """What a tick asks for; of one that is lost nobody keeps the cursor."""
        assert isinstance(self.started, dg.SensorDefinition)
        data = self.started.evaluate_tick(dg.build_sensor_context(instance, cursor=self.cursor))
        self.said = data.skip_message or ""
        if not is_lost:
            self.cursor = data.cursor
        return data.run_requests or []

    def words(self, instance: dg.DagsterInstance) -> list[str]:
        """The first parameter of each run that a tick asks for."""
        return [str(request.run_config["parameters"]["message"]) for request in self.tick(instance)]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as found:
        yield found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Workspace]:
    with closing(open_workspace({"PACHYDERM_HOME": str(tmp_path)})) as workspace:
        yield workspace


def requests(home: Workspace, name: str = "example") -> KeptRequests:
    found = KeptRequests(home, Origin("source", name))
    found.make_repo()
    return found


def test_a_request_starts_one_run_with_its_parameters(tmp_path: Path, home: Workspace, instance: dg.DagsterInstance) -> None:
    trigger, kept = Trigger(tmp_path, source(), sensor()), requests(home)
    kept.keep({}, b'{"message": "before"}')
    assert trigger.tick(instance) == []
    kept.keep({"X-Kind": ["push"]}, b'{"message": "hello"}')
    (request,) = trigger.tick(instance)
    assert trigger.tick(instance) == []
    result = trigger.job.execute_in_process(instance=instance, tags=request.tags, run_config=request.run_config)
    assert result.success
    (run,) = Runs(tmp_path).list()
    assert run.name.startswith("say-") and run.name == request.tags["pachyderm/workflow"]
    (pod,) = run.nodes().values()
    assert (run.path / "pods" / pod.pod / "log").read_text() == "hello\n"


def test_a_request_that_is_sent_again_is_the_same_event(tmp_path: Path, home: Workspace, instance: dg.DagsterInstance) -> None:
    trigger, kept = Trigger(tmp_path, source(), sensor()), requests(home)
    trigger.tick(instance)
    for _ in range(2):
        kept.keep({"Idempotency-Key": ["1"]}, b'{"message": "once"}')
    assert trigger.words(instance) == ["once"]
    kept.keep({"Idempotency-Key": ["1"]}, b'{"message": "once"}')
    kept.keep({}, b'{"message": "twice"}')
    kept.keep({}, b'{"message": "twice"}')
    assert trigger.words(instance) == ["twice", "twice"]


def test_a_tick_that_is_lost_asks_for_the_same_runs_again(tmp_path: Path, home: Workspace, instance: dg.DagsterInstance) -> None:
    trigger, kept = Trigger(tmp_path, source(), sensor()), requests(home)
    trigger.tick(instance)
    for word in ("a", "b"):
        kept.keep({}, f'{{"message": "{word}"}}'.encode())
    lost = trigger.tick(instance, is_lost=True)
    again = trigger.tick(instance)
    assert [(one.run_key, one.run_config, one.tags) for one in lost] == [(one.run_key, one.run_config, one.tags) for one in again]
    assert len({one.run_key for one in again}) == 2


def test_what_cannot_start_anything_is_told_and_holds_up_nothing(tmp_path: Path, home: Workspace, instance: dg.DagsterInstance) -> None:
    trigger, kept = Trigger(tmp_path, source(), sensor()), requests(home)
    trigger.tick(instance)
    kept.keep({}, b'{"other": 1}')
    assert trigger.tick(instance) == []
    assert "there is no 'body.message' in the data" in trigger.said
    with home.pfs.modify_file(f"{kept.branch}") as files:
        files.put_bytes("/other", b"what somebody put there")
    kept.keep({}, b'{"message": "next"}')
    assert trigger.words(instance) == ["next"]


def test_a_commit_of_a_repo_starts_a_run(tmp_path: Path, home: Workspace, instance: dg.DagsterInstance) -> None:
    parameters = """- {src: {dependencyName: dep, dataKey: body.commit}, dest: spec.arguments.parameters.0.value}
- {src: {dependencyName: dep, dataTemplate: '{{ .Input.body.repo }}-'}, dest: metadata.generateName}
- {src: {dependencyName: dep, dataKey: body.branch}, dest: metadata.labels.branch}"""
    trigger = Trigger(tmp_path, source(COMMITS), sensor(parameters=parameters))
    home.pfs.create_repo("images")
    home.pfs.create_repo("others")
    trigger.tick(instance)
    commits = []
    for branch in ("others@master", "images@other", "images@master", "images@master"):
        with home.pfs.modify_file(branch) as files:
            files.put_bytes("/a", branch.encode())
        commits.append(files.commit.id)
    first, second = trigger.tick(instance)
    assert [one.run_config["parameters"]["message"] for one in (first, second)] == commits[2:]
    assert first.tags["pachyderm/workflow"].startswith("images-") and first.tags["branch"] == "master"
    assert first.tags["pachyderm/workflow"] != second.tags["pachyderm/workflow"]
    assert trigger.tick(instance) == []


@pytest.mark.parametrize("name", ["a..b", "A", "a" * 201])
def test_an_event_that_gives_no_name_of_an_object_starts_nothing(tmp_path: Path, home: Workspace, instance: dg.DagsterInstance, name: str) -> None:
    trigger = Trigger(tmp_path, source(), sensor(parameters="- {src: {dependencyName: dep, dataKey: body.name}, dest: metadata.name}"))
    kept = requests(home)
    trigger.tick(instance)
    kept.keep({}, f'{{"name": "{name}"}}'.encode())
    assert trigger.tick(instance) == [] and "begins no name of a workflow" in trigger.said


@contextlib.contextmanager
def at(folder: Path, time: dt.datetime) -> Iterator[Workspace]:
    """The home as a process sees it whose commits have this time."""
    with closing(open_workspace({"PACHYDERM_HOME": str(folder)}, clock=ManualClock(time))) as workspace:
        yield workspace


def test_a_request_that_others_overtake_while_it_is_kept_starts_a_run(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    # The time of a commit is taken before its files are stored: commits of other branches, and machines, may be there first with a later one.
    trigger = Trigger(tmp_path, source(), sensor())
    now = SystemClock().now()
    with at(tmp_path, now) as early, at(tmp_path, now + dt.timedelta(seconds=5)) as late:
        trigger.tick(instance)
        requests(late, "other").keep({}, b'{"message": "of another"}')
        assert trigger.words(instance) == []
        requests(early).keep({"Webhook-Id": ["first"]}, b'{"message": "first"}')
        requests(late).keep({"Webhook-Id": ["second"]}, b'{"message": "second"}')
        assert trigger.words(instance) == ["first", "second"]
        requests(early).keep({"Webhook-Id": ["third"]}, b'{"message": "third"}')
        assert trigger.words(instance) == ["third"]
        assert trigger.words(instance) == []


def test_commits_of_other_repos_hold_no_event_up(tmp_path: Path, home: Workspace, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachyderm_dagster.integration.argo_event_ticks.MOST_EVENTS", 2)
    trigger, kept, other = Trigger(tmp_path, source(), sensor()), requests(home), requests(home, "other")
    trigger.tick(instance)
    for _ in range(3):
        other.keep({}, b"{}")
    for number in range(3):
        kept.keep({}, f'{{"message": "{number}"}}'.encode())
    assert [trigger.words(instance) for _ in range(3)] == [["0", "1"], ["2"], []]


def test_what_is_remembered_of_commits_is_of_the_last_minutes(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    trigger = Trigger(tmp_path, source(), sensor())
    with at(tmp_path, SystemClock().now()) as home:
        clock = home.database.clock
        assert isinstance(clock, ManualClock)
        trigger.tick(instance)
        lengths = []
        for number in range(8):
            requests(home).keep({"Webhook-Id": [str(number)]}, f'{{"message": "{number}"}}'.encode())
            assert trigger.words(instance) == [str(number)]
            lengths.append(len(trigger.cursor or ""))
            clock.advance(LATE / 3)
        assert max(lengths) == lengths[-1] == lengths[-2] > lengths[0]


TWO = """- {name: dep, eventSourceName: source, eventName: example}
- {name: other, eventSourceName: source, eventName: other}"""
TWO_HOOKS = "webhook:\n  example: {endpoint: /e, method: POST}\n  other: {endpoint: /o, method: POST}"


def test_several_events_wait_for_one_another(tmp_path: Path, home: Workspace, instance: dg.DagsterInstance) -> None:
    trigger, kept, other = Trigger(tmp_path, source(TWO_HOOKS), sensor(TWO)), requests(home), requests(home, "other")
    trigger.tick(instance)
    kept.keep({}, b'{"message": "old"}')
    kept.keep({}, b'{"message": "new"}')
    assert trigger.tick(instance) == [] and trigger.said == "Waits for other events than of dep."
    other.keep({}, b"{}")
    assert trigger.words(instance) == ["new"]
    other.keep({}, b"{}")
    assert trigger.tick(instance) == []


def test_an_event_that_is_removed_while_it_waits_starts_nothing(tmp_path: Path, home: Workspace, instance: dg.DagsterInstance) -> None:
    trigger, kept, other = Trigger(tmp_path, source(TWO_HOOKS), sensor(TWO)), requests(home), requests(home, "other")
    trigger.tick(instance)
    id = kept.keep({}, b'{"message": "gone"}')
    trigger.tick(instance)
    home.pfs.drop_commit(f"{kept.branch.repo}@{id}")
    other.keep({}, b"{}")
    assert trigger.tick(instance) == [] and "what dep waited with has been removed" in trigger.said
    kept.keep({}, b'{"message": "later"}')
    assert trigger.words(instance) == ["later"]


def test_one_of_several_events_is_enough_where_the_condition_says_so(tmp_path: Path, home: Workspace, instance: dg.DagsterInstance) -> None:
    trigger, other = Trigger(tmp_path, source(TWO_HOOKS), sensor(TWO, conditions="dep || other")), requests(home, "other")
    requests(home)
    trigger.tick(instance)
    other.keep({}, b"{}")
    # Of an event that did not come nothing is set.
    assert [one.run_config for one in trigger.tick(instance)] == [{}]


def test_a_source_that_becomes_another_begins_anew(tmp_path: Path, home: Workspace, instance: dg.DagsterInstance) -> None:
    before, kept = Trigger(tmp_path, source(TWO_HOOKS), sensor(TWO)), requests(home)
    before.tick(instance)
    kept.keep({}, b'{"message": "old"}')
    before.tick(instance)
    trigger = Trigger(tmp_path, source(f"{COMMITS}\nwebhook: {{other: {{endpoint: /o, method: POST}}}}"), sensor(TWO, conditions="dep"))
    trigger.cursor = before.cursor
    assert trigger.tick(instance) == []
    home.pfs.create_repo("images")
    with home.pfs.modify_file("images@master") as files:
        files.put_bytes("/a", b"1")
    assert trigger.tick(instance) == [] and "no 'body.message'" in trigger.said


CALENDAR = "calendar: {example: {schedule: '0 13 * * *', timezone: Europe/Berlin, exclusionDates: ['EXDATE:20260102T000000Z'], metadata: {why: daily}}}"
OF_CALENDAR = "- {src: {dependencyName: dep, dataTemplate: '{{ .Input.metadata.why }} {{ .Input.eventTime }}'}, dest: spec.arguments.parameters.0.value}"


def test_a_calendar_is_a_schedule(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    found = Trigger(tmp_path, source(CALENDAR), sensor(parameters=OF_CALENDAR)).started
    assert isinstance(found, dg.ScheduleDefinition)
    assert (found.name, found.cron_schedule, found.execution_timezone) == ("sensor_go_schedule", "0 13 * * *", "Europe/Berlin")
    data = found.evaluate_tick(dg.build_schedule_context(instance, scheduled_execution_time=NOON))
    (request,) = data.run_requests or ()
    assert request.run_config == {"parameters": {"message": "daily 2026-01-01 13:00:00 +0100 CET"}}
    skipped = found.evaluate_tick(dg.build_schedule_context(instance, scheduled_execution_time=NOON + dt.timedelta(days=1)))
    assert skipped.skip_message == "There are no events on this day."


def test_an_interval_is_a_sensor(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    parameters = OF_CALENDAR.replace("{{ .Input.metadata.why }} ", "")
    trigger = Trigger(tmp_path, source("calendar: {example: {interval: 10m}}"), sensor(parameters=parameters))
    assert trigger.tick(instance) == []
    trigger.clock.advance(dt.timedelta(minutes=9))
    assert trigger.tick(instance) == []
    trigger.clock.advance(dt.timedelta(minutes=1))
    assert trigger.words(instance) == ["2026-01-01 12:10:00 +0000 UTC"]
    assert trigger.tick(instance) == []


def test_values_that_the_workflow_does_not_take_start_nothing(tmp_path: Path, home: Workspace, instance: dg.DagsterInstance) -> None:
    text = sensor().replace("{name: message, value: nothing}", "{name: message, value: nothing, enum: [nothing, hello]}")
    trigger, kept = Trigger(tmp_path, source(), text), requests(home)
    trigger.tick(instance)
    kept.keep({}, b'{"message": "other"}')
    assert trigger.tick(instance) == [] and "'other'" in trigger.said
    kept.keep({}, b'{"message": "hello"}')
    assert trigger.words(instance) == ["hello"]


def test_files_of_events_and_workflows_are_one_set_of_definitions(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(source(HOOK))
    (tmp_path / "b.yaml").write_text(sensor())
    found = argo_definitions(tmp_path).resolve_all_job_defs()
    assert [job.name for job in found] == ["sensor_go"]
    (started,) = argo_definitions(tmp_path).sensors or ()
    assert started.name == "sensor_go_sensor"
