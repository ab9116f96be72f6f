"""What reacts to commits at once: it runs or launches what has just become due, tells Dagster all of it, and leaves the rest to the sensor."""

import contextlib
import datetime as dt
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
import pytest
from dagster._core.definitions.data_version import StaleStatus

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.coordination.drivers import SENSOR_OWNER, tell_tick
from pachyderm_dagster.coordination.leases import LEASE_TIME
from pachyderm_dagster.coordination.names import asked_lease, reactor_lease, set_lease
from pachyderm_dagster.errors import ExecutionError, StorageError
from pachyderm_dagster.executors.job_datums import JobDatums
from pachyderm_dagster.integration.dev_reactor import DevCode
from pachyderm_dagster.integration.due_runs import DueSets
from pachyderm_dagster.integration.reacting import PASSED, Reactor, open_reactor
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.model import JobState
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, WorkerSetup
from pachyderm_dagster.workspace import open_workspace
from tests.integration.home import Home

NOWHERE = DevCode("http://127.0.0.1:9", "pachyderm")
EDGES = dg.AssetKey(["default", "edges"])


class Launched(DevCode):
    """Notes what is to be launched."""

    def __init__(self) -> None:
        super().__init__("", "")
        self.jobs: list[tuple[str, Sequence[dg.AssetKey]]] = []

    def launch(self, project: str, keys: Sequence[dg.AssetKey], tags: Mapping[str, str]) -> None:
        self.jobs.append((project, keys))


@dataclass
class Failing:
    """An executor of which each job gets this error."""

    error: BaseException
    tries: int = 0

    def run(self, setup: WorkerSetup, tasks: Iterable[DatumTask], parallelism: int, job: JobDatums, /) -> Generator[DatumResult]:
        self.tries += 1
        raise self.error

    def stop(self) -> None: ...

    def restart_asked(self) -> int:
        return 0


@pytest.fixture
def instant(home: Home) -> Iterator[Reactor]:
    """With a pipeline whose first job is done."""
    home.commit("images@master", {"/first": "1"})
    home.pipeline("edges", "images", code="if [ -e /pfs/images/bad ]; then exit 3; fi; cp /pfs/images/* /pfs/out/")
    home.pipeline("montage", "edges")
    run_first(home)
    with open_reactor(home.workspace, home.environ, home.instance, NOWHERE, is_instant=True) as reactor:
        yield reactor


def run_first(home: Home) -> None:
    """Runs what is due by the sensor, long ago."""
    home.run_all()
    home.workspace.leases.release(asked_lease("default"), SENSOR_OWNER)


def checks(home: Home) -> list[dg.AssetCheckEvaluation]:
    """What the check of the pipeline said, newest first."""
    found = home.instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(EDGES, "job"), limit=10)
    evaluations = [record.event.dagster_event.asset_check_evaluation_data for record in found if record.event and record.event.dagster_event]
    return list(evaluations)


def test_commit_is_followed_by_its_jobs_without_a_run(home: Home, instant: Reactor) -> None:
    runs = home.instance.get_runs_count()
    commit = home.commit("images@master", {"/a": "1"})
    assert instant.look()
    assert not instant.look()
    assert {job.state for job in (*home.jobs("edges"), *home.jobs("montage"))} == {JobState.SUCCESS}
    assert home.instance.get_runs_count() == runs
    assert (home.materializations("default", "montage")[0].tags or {})["dagster/data_version"] == commit.id
    assert [found.passed for found in checks(home)] == [True, True]
    # The sensor finds nothing that it would have to say.
    tick = home.tick()
    assert (tick.events, tick.requests) == ([], [])


def test_output_is_fresh_and_stale_as_after_a_run(home: Home, instant: Reactor) -> None:
    home.commit("images@master", {"/a": "1"})
    assert instant.look()
    assert home.status(EDGES) == (StaleStatus.FRESH, [])
    home.commit("images@master", {"/b": "1"})
    home.tick()
    assert home.status(EDGES)[0] is StaleStatus.STALE


def test_failure_is_a_failed_check_and_ends_what_is_downstream(home: Home, instant: Reactor) -> None:
    home.commit("images@master", {"/bad": "1"})
    assert instant.look()
    assert (home.jobs("edges")[0].state, home.jobs("montage")[0].state) == (JobState.FAILURE, JobState.UNRUNNABLE)
    assert [found.passed for found in checks(home)] == [False, True]
    assert len(home.materializations("default", "edges")) == 1
    assert not instant.look()


def test_set_that_somebody_else_runs_stays_with_them(home: Home, instant: Reactor) -> None:
    home.commit("images@master", {"/a": "1"})
    with home.lease(set_lease(home.jobs("edges")[0].id)):
        assert not instant.look()
    assert home.jobs("edges")[0].state is JobState.CREATED


def test_sensor_leaves_what_has_just_become_due_to_the_reactor_and_takes_it_when_that_is_gone(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    assert home.workspace.leases.acquire(reactor_lease("default"), "reactor", LEASE_TIME)
    assert home.tick().requests == []
    home.workspace.leases.release(reactor_lease("default"), "reactor")
    assert len(home.tick().requests) == 1


def test_reactor_keeps_off_while_a_daemon_is_about_to_make_runs(home: Home, instant: Reactor) -> None:
    home.commit("images@master", {"/a": "1"})
    assert len(home.tick().requests) == 1
    assert not instant.look()
    assert home.jobs("edges")[0].state is JobState.CREATED


@pytest.mark.parametrize("longest", [dt.timedelta(0), dt.timedelta(hours=1)], ids=["long jobs so far", "no job so far"])
def test_pipeline_of_which_no_short_job_is_known_gets_a_run(home: Home, longest: dt.timedelta) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    if not longest:
        run_first(home)
        home.commit("images@master", {"/b": "1"})
    launched = Launched()
    executor = Failing(AssertionError("a job is run here"))
    assert Reactor(home.workspace, home.instance, executor, launched, is_instant=True, longest=longest).look()
    assert launched.jobs == [("default", [EDGES])]


def test_short_job_that_the_daemon_runs_by_another_executor_gets_a_run(home: Home) -> None:
    home.commit("images@master", {"/first": "1"})
    home.pipeline("edges", "images")
    run_first(home)
    tell_tick(home.workspace.leases, "default", "kubernetes")
    home.commit("images@master", {"/a": "1"})
    launched = Launched()
    assert Reactor(home.workspace, home.instance, Failing(AssertionError("a job is run here")), launched, is_instant=True).look()
    assert launched.jobs == [("default", [EDGES])]


def test_empty_job_does_not_tell_that_jobs_are_short(home: Home) -> None:
    home.workspace.pfs.create_repo("images")
    home.pipeline("edges", "images")
    run_first(home)
    assert (home.jobs("edges")[0].state, home.jobs("edges")[0].counters.data_total) == (JobState.SUCCESS, 0)
    home.commit("images@master", {"/a": "1"})
    launched = Launched()
    assert Reactor(home.workspace, home.instance, Failing(AssertionError("a job is run here")), launched, is_instant=True).look()
    assert launched.jobs == [("default", [EDGES])]


def test_job_that_takes_longer_than_expected_is_left_to_a_run_and_others_go_on(home: Home) -> None:
    home.commit("images@master", {"/first": "1"})
    home.pipeline("edges", "images", code="if [ -e /pfs/images/slow ]; then exec sleep 86397; fi; cp /pfs/images/* /pfs/out/")
    home.commit("labels@master", {"/first": "1"})
    home.pipeline("words", "labels")
    run_first(home)
    launched = Launched()
    with open_reactor(home.workspace, home.environ, home.instance, launched, is_instant=True) as reactor:
        took = [job.finished - job.started for name in ("edges", "words") for job in home.jobs(name) if job.finished and job.started]
        reactor.longest = max(took) + dt.timedelta(seconds=1)
        home.commit("images@master", {"/slow": "1"})
        home.commit("labels@master", {"/b": "1"})
        assert reactor.look()
        job = home.jobs("edges")[0]
        assert "job-too-long" in job.reason and not job.state.is_terminal
        assert launched.jobs == []
        assert reactor.look()
        assert launched.jobs == [("default", [EDGES])]
        # That set has its run then, as far as the reactor is concerned, and the other pipeline has not waited for more than this.
        assert reactor.look()
        assert home.jobs("words")[0].state is JobState.SUCCESS


def test_sensor_says_that_a_set_is_done_by_what_reacts(home: Home, instant: Reactor) -> None:
    home.commit("images@master", {"/a": "1"})
    instant.hold_on()
    lease = set_lease(home.jobs("edges")[0].id)
    assert home.workspace.leases.acquire(lease, instant.owner, LEASE_TIME)
    sets = DueSets(home.workspace, home.instance, instant.executor, "default", {RepoName("default", "edges"): EDGES})
    said = f"{home.jobs('edges')[0].id} is being run by what reacts to commits (`--instant`), without a run of Dagster"
    assert said in sets.look({}, limit=1).waiting


def test_nothing_is_launched_while_another_one_reacts(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    launched, clock = Launched(), ManualClock(dt.datetime.now(dt.UTC))
    with contextlib.closing(open_workspace(home.environ, clock=clock)) as workspace:
        reactor = Reactor(workspace, home.instance, Failing(AssertionError("a job is run here")), launched)
        with home.lease(reactor_lease("default")):
            assert not reactor.look()
        clock.advance(LEASE_TIME)
        assert reactor.hold_on() == []
        clock.advance(PASSED)
        assert reactor.look()
    assert launched.jobs == [("default", [EDGES])]


def test_run_that_was_made_and_not_submitted_before_the_reactor_died_is_cancelled_and_asked_for_again(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    tags = {labels.COMMIT_SET: home.jobs("edges")[0].id, labels.STARTED_BY: labels.REACTOR}
    job = home.definitions().resolve_job_def("pipelines_default")
    made = home.instance.create_run_for_job(job, tags=tags, asset_selection=frozenset([EDGES]))
    assert made.status is dg.DagsterRunStatus.NOT_STARTED
    (request,) = home.tick().requests
    assert (home.instance.get_run_by_id(made.run_id) or made).status is dg.DagsterRunStatus.CANCELED
    home.run(request)
    assert home.jobs("edges")[0].state is JobState.SUCCESS


def test_web_server_that_does_not_answer_leaves_the_set_to_the_sensor(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    with open_reactor(home.workspace, home.environ, home.instance, NOWHERE, is_instant=False) as reactor:
        assert reactor.look()
        assert not reactor.look()
    assert "does not answer" in caplog.text
    assert len(home.tick().requests) == 1


def test_job_that_cannot_be_started_here_is_told_and_left_to_the_sensor(home: Home, instant: Reactor, caplog: pytest.LogCaptureFixture) -> None:
    home.commit("images@master", {"/a": "1"})
    instant.executor = Failing(ExecutionError("worker-not-started", "no worker starts here"))
    assert instant.look()
    assert not instant.look()
    assert "no worker starts here" in caplog.text
    instant.let_go()
    assert len(home.tick().requests) == 1


@pytest.mark.usefixtures("instant")
def test_set_that_a_full_disk_interrupted_here_is_not_tried_here_again(home: Home) -> None:
    full, clock = Failing(StorageError("storage-full", "no room")), ManualClock(dt.datetime.now(dt.UTC))
    home.commit("images@master", {"/a": "1"})
    with contextlib.closing(open_workspace(home.environ, clock=clock)) as workspace:
        reactor = Reactor(workspace, home.instance, full, NOWHERE, is_instant=True)
        assert reactor.look()
        assert full.tries == 1
        clock.advance(PASSED)
        assert not reactor.look()
        reactor.let_go()
    assert full.tries == 1
    assert len(home.tick().requests) == 1, "the sensor's runs are counted, and wait longer each time"


def test_job_of_a_reactor_that_was_interrupted_is_done_by_the_next(home: Home, instant: Reactor) -> None:
    home.commit("images@master", {"/a": "1"})
    instant.executor = Failing(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        instant.look()
    assert not home.workspace.leases.is_held(set_lease(home.jobs("edges")[0].id))
    instant.let_go()
    with open_reactor(home.workspace, home.environ, home.instance, NOWHERE, is_instant=True) as following:
        assert following.look()
    assert home.jobs("edges")[0].state is JobState.SUCCESS
