"""The commit sensor under Dagster's real daemon code, which dies at the worst moments."""

import logging
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext

from pachyderm_dagster.integration.set_runs import sets_of
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


def runs_of(daemon: Daemon, set_id: str) -> list[str]:
    """The runs that do a commit set, as the first of theirs or along with others."""
    return [run.run_id for run in daemon.instance.get_runs() if set_id in sets_of(run.tags)]


@pytest.mark.parametrize("number", [1, 3])
def test_each_set_gets_exactly_one_run_wherever_the_daemon_dies(home: Home, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    daemon.tick()
    for place, point in enumerate(CRASHES):
        burst = [home.commit(f"input{place}@master", {f"/{name}": "1"}).id for name in range(number)]
        with killed_at(point, sensor_daemon, monkeypatch):
            daemon.tick_until_killed()
        daemon.iterate()
        daemon.tick()
        daemon.tick()
        # A burst shares it.
        runs = {tuple(runs_of(daemon, set_id)) for set_id in burst}
        assert [len(found) for found in runs] == [1], point
        told = [(event.tags or {})["dagster/data_version"] for event in home.materializations("default", f"input{place}")]
        assert told[:number] == burst[::-1] and len(told) == 1 + number, point
