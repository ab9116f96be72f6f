"""Dagster's daemons as tests run them: an iteration at a time, on an instance that starts no run, until they are killed."""

import contextlib
from collections.abc import Iterator
from types import ModuleType

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget

# The second cannot be the first module of Dagster's daemons that is imported: it and `dagster._daemon` import each other.
from dagster._daemon import sensor as sensor_daemon
from dagster._scheduler import scheduler as schedule_daemon

from pachyderm_dagster.integration.dev_processes import CODE_MODULE, LOCATION
from tests.integration.home import Home

__all__ = ["idle_instance", "instance_of", "killed_at", "schedule_daemon", "sensor_daemon"]

# Runs are created and not started, as soon as they are asked for; a code server that is left to itself would be told of in some later test.
IDLE = {
    "run_launcher": {"module": "dagster._core.test_utils", "class": "MockedRunLauncher"},
    "run_coordinator": {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"},
    "code_servers": {"wait_for_local_processes_on_shutdown": True},
}


class Killed(BaseException):
    """The daemon died here."""


@contextlib.contextmanager
def instance_of(home: Home) -> Iterator[dg.DagsterInstance]:
    """A home's instance, `IDLE`."""
    reference = InstanceRef.from_dir(str(home.workspace.settings.dagster_home), overrides=IDLE)
    with dg.DagsterInstance.from_ref(reference) as instance:
        yield instance


@contextlib.contextmanager
def idle_instance(home: Home, module: str = CODE_MODULE, name: str = LOCATION) -> Iterator[tuple[dg.DagsterInstance, WorkspaceProcessContext]]:
    """A home's instance, `IDLE`, and a code location as its daemons load it."""
    target = ModuleTarget(module, attribute=None, working_directory=None, location_name=name)
    with instance_of(home) as instance, create_test_daemon_workspace_context(target, instance) as workspace:
        yield instance, workspace


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
