"""The Dagster instance of a home: its folder, its `dagster.yaml`, and how a process here opens it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from pachyderm_dagster.settings import Settings

CONFIG = """\
# Written once by pachyderm-dagster and never changed by it again: change what you like.
telemetry:
  enabled: false
nux:
  enabled: false
# Runs wait here for their turn. Commit sets of one pipeline are put in order before that, by the commit sensor.
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config:
    max_concurrent_runs: 4
    dequeue_interval_seconds: 1
# One slow sensor does not keep the others waiting.
sensors:
  use_threads: true
  num_workers: 4
"""


# Capturing what a step prints starts two processes a step, and takes the terminal away from whoever shows progress on it.
_IN_PROCESS = {"compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}}


def ensure_dagster_home(settings: Settings) -> Path:
    """Makes DAGSTER_HOME with a `dagster.yaml`, unless it has one, and returns it."""
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    try:
        with open(home / "dagster.yaml", "x") as file:
            file.write(CONFIG)
    except FileExistsError:
        # The user's, or ours of an earlier time.
        pass
    return home


@contextlib.contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Opens the instance for runs in this process."""
    # Not `DagsterInstance.from_config`: only the reference takes overrides.
    reference = InstanceRef.from_dir(str(ensure_dagster_home(settings)), overrides=_IN_PROCESS)
    with dg.DagsterInstance.from_ref(reference) as instance:
        yield instance
