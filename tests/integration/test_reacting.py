"""What reacts to commits at once: it runs or launches what has just become due, tells Dagster all of it, and leaves the rest to the sensor."""

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.definitions.data_version import StaleStatus

from pachyderm_dagster.coordination.leases import LEASE_TIME
from pachyderm_dagster.coordination.names import reactor_lease, set_lease
from pachyderm_dagster.errors import UnreachableError
from pachyderm_dagster.integration.reacting import Launcher, Reactor, open_reactor
from pachyderm_dagster.pps.model import JobState
from tests.integration.home import Home

NOWHERE = Launcher("http://127.0.0.1:9", "pachyderm")
EDGES = dg.AssetKey(["default", "edges"])


@pytest.fixture
def instant(home: Home) -> Iterator[Reactor]:
    with open_reactor(home.environ, NOWHERE, is_instant=True) as reactor:
        yield reactor


def checks(home: Home) -> list[dg.AssetCheckEvaluation]:
    """What the check of the pipeline said, newest first."""
    found = home.instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(EDGES, "job"), limit=10)
    evaluations = [record.event.dagster_event.asset_check_evaluation_data for record in found if record.event and record.event.dagster_event]
    return list(evaluations)


def test_commit_is_followed_by_its_jobs_without_a_run(home: Home, instant: Reactor) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    home.pipeline("montage", "edges")
    while instant.look():
        pass
    assert {job.state for job in (*home.jobs("edges"), *home.jobs("montage"))} == {JobState.SUCCESS}
    assert home.instance.get_run_records() == []
    assert len(home.materializations("default", "montage")) == len(home.jobs("montage"))
    assert [found.passed for found in checks(home)] == [True]
    # The sensor finds nothing that it would have to say.
    tick = home.tick()
    assert (tick.events, tick.requests) == ([], [])


def test_output_is_fresh_and_stale_as_after_a_run(home: Home, instant: Reactor) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    while instant.look():
        pass
    assert home.status(EDGES) == (StaleStatus.FRESH, [])
    home.commit("images@master", {"/b": "1"})
    home.tick()
    assert home.status(EDGES)[0] is StaleStatus.STALE


def test_failure_is_a_failed_check_and_ends_what_is_downstream(home: Home, instant: Reactor) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images", code="exit 3")
    home.pipeline("montage", "edges")
    while instant.look():
        pass
    assert (home.jobs("edges")[0].state, home.jobs("montage")[0].state) == (JobState.FAILURE, JobState.UNRUNNABLE)
    assert [found.passed for found in checks(home)] == [False]
    assert home.materializations("default", "edges") == []
    assert not instant.look()


def test_set_that_a_sensor_is_after_stays_with_it(home: Home, instant: Reactor) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    with home.lease(set_lease(home.jobs("edges")[0].id)):
        assert not instant.look()
    assert home.jobs("edges")[0].state is JobState.CREATED


def test_sensor_leaves_what_has_just_become_due_to_the_reactor_and_takes_it_when_that_is_gone(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    assert home.workspace.leases.acquire(reactor_lease("default"), "reactor", LEASE_TIME)
    tick = home.tick()
    assert tick.requests == []
    home.workspace.leases.release(reactor_lease("default"), "reactor")
    assert len(home.tick().requests) == 1


def test_pipeline_that_takes_long_gets_a_run(home: Home, instant: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    while instant.look():
        pass
    monkeypatch.setattr("pachyderm_dagster.integration.reacting.LONGEST", home.jobs("edges")[0].created - home.jobs("edges")[0].created)
    home.commit("images@master", {"/b": "1"})
    with pytest.raises(UnreachableError, match="does not answer"):
        instant.look()
    assert home.jobs("edges")[0].state is JobState.CREATED


def test_job_of_a_reactor_that_was_interrupted_is_done_by_the_next(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with open_reactor(home.environ, NOWHERE, is_instant=True) as reactor, monkeypatch.context() as patched:
        patched.setattr("pachyderm_dagster.integration.reacting.run_job", interrupted)
        with pytest.raises(KeyboardInterrupt):
            reactor.look()
    assert not home.workspace.leases.is_held(set_lease(home.jobs("edges")[0].id))
    with open_reactor(home.environ, NOWHERE, is_instant=True) as reactor:
        assert reactor.look()
    assert home.jobs("edges")[0].state is JobState.SUCCESS
