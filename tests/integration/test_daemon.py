"""The commit sensor under Dagster's real daemon code, which dies at the worst moments."""

import logging
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext

from pachyderm_dagster.pfs.model import Commit
from tests.integration.daemons import idle_instance, killed_at, sensor_daemon
from tests.integration.home import Home

CRASHES = ("TICK_HELD", "RUN_IDS_RESERVED", "RUN_CREATED", "RUN_LAUNCHED")


class Daemon:
    """The sensor daemon, an iteration at a time."""

    def __init__(self, workspace: WorkspaceProcessContext, instance: dg.DagsterInstance) -> None:
        self._workspace, self.instance = workspace, instance

    def iterate(self) -> None:
        list(sensor_daemon.execute_sensor_iteration(self._workspace, logging.getLogger("test"), threadpool_executor=None, submit_threadpool_executor=None))

    def tick(self) -> None:
        """Iterates until the sensor has ticked once more: its interval has to pass first."""
        before = self._ticks()
        while self._ticks() == before:
            self.iterate()

    def tick_until_killed(self) -> None:
        while True:
            self.tick()

    def _ticks(self) -> int:
        states = self.instance.all_instigator_state()
        return sum(len(self.instance.get_ticks(state.instigator_origin_id, state.selector_id)) for state in states)


@pytest.fixture
def daemon(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    for name in range(len(CRASHES)):
        home.commit(f"input{name}@master", {"/a": "1"})
        home.pipeline(f"output{name}", f"input{name}")
    home.run_all()
    monkeypatch.setenv("PACHYDERM_HOME", str(home.workspace.settings.home))
    with idle_instance(home) as (instance, workspace):
        yield Daemon(workspace, instance)


def runs_of(daemon: Daemon, commit: Commit) -> int:
    return daemon.instance.get_runs_count(dg.RunsFilter(tags={"pachyderm/commit_set": commit.id}))


def test_each_set_gets_exactly_one_run_wherever_the_daemon_dies(home: Home, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon.tick()
    for number, point in enumerate(CRASHES):
        commit = home.commit(f"input{number}@master", {"/b": "1"})
        with killed_at(point, sensor_daemon, monkeypatch):
            daemon.tick_until_killed()
        daemon.iterate()
        daemon.tick()
        daemon.tick()
        assert runs_of(daemon, commit) == 1, point
        assert len([event for event in home.materializations("default", f"input{number}") if (event.tags or {})["dagster/data_version"] == commit.id]) == 1
