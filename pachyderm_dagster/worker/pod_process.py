"""The process of a worker's container: how it begins, what ends it, and its last words."""

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.log_lines import process_log, set_up
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.worker.area_worker import InPod
from pachyderm_dagster.worker.pod_state import PodState
from pachyderm_dagster.worker.starter import PACH
from pachyderm_dagster.worker.starter_runner import StarterRunner

_CRASHED = 70
_TERMINATION_LOG = "/dev/termination-log"


def begin_process(environ: Mapping[str, str], log_format: str) -> InPod:
    """Sets up signals and logs, and opens what the pod has; the start is counted. Only here and now an end by a signal has nothing to tell."""
    state = PodState(f"{PACH}/worker")
    heed_termination(lambda: _end_early(state))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = lambda _kind, error, _trace: _crash(error)
    threading.excepthook = lambda details: _crash(details.exc_value)
    os.umask(0o022)
    set_up(log_format)
    return InPod(StarterRunner(f"{PACH}/run"), state, state.count_start(), environ, log_format)


def begin_with_store(store_url: str, environ: Mapping[str, str], log_format: str) -> tuple[InPod, ObjectStore]:
    """As `begin_process`, with the store that the worker of a pod that stays has everything in. Without it, it says why and ends."""
    pod = begin_process(environ, log_format)
    try:
        return pod, open_store(store_url)
    except PachydermError as error:
        write_last_words(error)
        sys.exit(os.EX_UNAVAILABLE)


def _end_early(state: PodState) -> NoReturn:
    state.forget_told()
    os._exit(0)


def heed_termination(terminate: Callable[[], NoReturn]) -> None:
    """Has something called when the container is to end, also when that was said while this process began anew."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        terminate()

    signal.signal(signal.SIGTERM, handle)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def begin_anew() -> NoReturn:
    """Starts this process over in its place, with nothing of what it did left but its state in the volume. From any thread."""
    # The first process of a container has signals ignored for which it has no handler; a blocked one waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, sys.orig_argv)


def write_last_words(error: PachydermError) -> None:
    """What `kubectl describe` tells of the container when it ends."""
    process_log.error("%s", error)
    with contextlib.suppress(OSError):
        Path(_TERMINATION_LOG).write_text(f"{error}\n", encoding="utf-8")


def _crash(error: BaseException | None) -> NoReturn:
    traceback.print_exception(error)
    os._exit(_CRASHED)
