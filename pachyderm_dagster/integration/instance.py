"""The Dagster instance of a home: its folder, its `dagster.yaml`, and how a process here opens it."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from pachyderm_dagster.integration.dagster_inner import make_tables, open_instance_of
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
    # Runs of one backfill come in the order of its partitions: of commit sets, the oldest first.
    tag_concurrency_limits:
      - key: dagster/backfill
        value:
          applyLimitPerUniqueValue: true
        limit: 1
# One slow sensor does not keep the others waiting.
sensors:
  use_threads: true
  num_workers: 4
"""


_LOCK = ".pachyderm-dagster.lock"
_PREPARED = ".pachyderm-dagster.prepared"


def ensure_dagster_home(settings: Settings) -> Path:
    """Makes DAGSTER_HOME with a `dagster.yaml` and the databases that it names, unless it has them, and returns it."""
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    if (home / _PREPARED).exists():
        return home
    # Dagster makes its tables when first opened, without a lock: two processes at once leave a database that neither can read.
    with open(home / _LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / _PREPARED).exists():
            # The user's `dagster.yaml`, or ours of an earlier time, stays.
            with contextlib.suppress(FileExistsError), open(home / "dagster.yaml", "x") as file:
                file.write(CONFIG)
            with open_instance_of(home) as instance:
                make_tables(instance)
            (home / _PREPARED).touch()
    return home


@contextlib.contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Opens the instance for runs in this process."""
    with open_instance_of(ensure_dagster_home(settings), runs_here=True) as instance:
        yield instance
