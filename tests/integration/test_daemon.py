"""The commit sensor under Dagster's real daemon code, which dies at the worst moments."""

import contextlib
import logging
from collections.abc import Iterator
from types import ModuleType

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon import sensor as sensor_daemon

from pachyderm_dagster.integration.dev_processes import CODE_MODULE, LOCATION
from pachyderm_dagster.pfs.model import Commit
from tests.integration.home import Home

# Runs are created and not started, as soon as they are asked for; a code server that is left to itself would be told of in some later test.
IDLE = {
    "run_launcher": {"module": "dagster._core.test_utils", "class": "MockedRunLauncher"},
    "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
    "code_servers": {"wait_for_local_processes_on_shutdown": True},
}
CRASHES = ("TICK_HELD", "RUN_IDS_RESERVED", "RUN_CREATED", "RUN_LAUNCHED")


class Killed(BaseException):
    """The daemon died here."""


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


@contextlib.contextmanager
def idle_instance(home: Home, module: str = CODE_MODULE, name: str = LOCATION) -> Iterator[tuple[dg.DagsterInstance, WorkspaceProcessContext]]:
    """A home's instance, `IDLE`, and a code location as its daemons load it."""
    target = ModuleTarget(module, attribute=None, working_directory=None, location_name=name)
    reference = InstanceRef.from_dir(str(home.workspace.settings.dagster_home), overrides=IDLE)
    with dg.DagsterInstance.from_ref(reference) as instance, create_test_daemon_workspace_context(target, instance) as workspace:
        yield instance, workspace


@pytest.fixture
def daemon(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    for name in range(len(CRASHES)):
        home.commit(f"input{name}@master", {"/a": "1"})
        home.pipeline(f"output{name}", f"input{name}")
    home.run_all()
    monkeypatch.setenv("PACHYDERM_HOME", str(home.workspace.settings.home))
    with idle_instance(home) as (instance, workspace):
        yield Daemon(workspace, instance)


@contextlib.contextmanager
def killed_at(point: str, daemon: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A daemon of Dagster dies within the block, where its code names this point."""

    def die(_flags: object, at: str) -> None:
        if at == point:
            raise Killed(point)

    with monkeypatch.context() as patched:
        patched.setattr(daemon, "check_for_debug_crash", die)
        with pytest.raises(Killed):
            yield


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
