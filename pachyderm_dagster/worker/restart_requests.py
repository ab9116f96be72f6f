"""Requests that a datum which runs in a pod be run again: objects in the work area, from whoever asks to the worker that runs it."""

import threading
from collections.abc import Callable
from typing import NoReturn

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.log_lines import process_log
from pachyderm_dagster.worker.work_area import WorkArea

LOOK_SECONDS = 2.0
"""Between looks, each of which costs a request of the store, at first: a datum that ends sooner is never looked for."""
_MOST_WAITS = 8
# Of the time for which the datum has run.
_SHARE = 8
MOST_LOOK_SECONDS = _MOST_WAITS * LOOK_SECONDS
"""Between looks for a datum that has run for minutes."""


def watch_restarts(area: WorkArea, running: Callable[[], str | None], restart: Callable[[], NoReturn], over: threading.Event | None = None) -> None:
    """Looks from now on, in a thread, whether it was asked that the datum which runs be run again, and has it run again by a start of the worker anew.

    Args:
        running: the id of the datum that runs; None when none does.
        restart: starts the worker anew, from any thread.
        over: ends the looks.
    """
    watch = _Watch(area, running, restart, over or threading.Event())
    threading.Thread(target=watch.run, name="restarts", daemon=True).start()


class _Watch:
    def __init__(self, area: WorkArea, running: Callable[[], str | None], restart: Callable[[], NoReturn], over: threading.Event) -> None:
        self._area, self._running, self._restart, self._over = area, running, restart, over

    def run(self) -> None:
        before: str | None = None
        ran = left = 0
        while not self._over.wait(LOOK_SECONDS):
            now = self._running()
            ran, left = (ran + 1, left - 1) if now is not None and now == before else (0, 0)
            before = now
            if now is None or ran == 0 or left > 0:
                continue
            if self._take(now):
                process_log.info("datum %s is run again, as it was asked for", now)
                self._restart()
            left = min(max(1, ran // _SHARE), _MOST_WAITS)

    def _take(self, datum: str) -> bool:
        try:
            return self._area.take_restart(datum)
        except PachydermError as error:
            process_log.warning("whether a restart was asked for is not known now: %s", error)
            return False
