"""Keeps something alive in a thread for as long as somebody needs it, and knows when that failed for too long."""

import contextlib
import datetime as dt
import threading
import time
from collections.abc import Callable

from pachyderm_dagster.errors import PachydermError


class Renewing:
    """Calls `renew` three times in each `ttl`, from `start` to `stop`. It was renewed when this is made.

    Args:
        renew: False when it is lost for good; what it raises is an outage, which is survived when it is shorter than `ttl`.
    """

    def __init__(self, renew: Callable[[], bool], ttl: dt.timedelta, name: str) -> None:
        self._renew, self._seconds = renew, ttl.total_seconds()
        self._renewed = time.monotonic()
        self._lost = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def is_lost(self) -> bool:
        """Whether it may have ended by now: it was lost, or could not be renewed for as long as it lives."""
        return self._lost or time.monotonic() - self._renewed > self._seconds

    def start(self) -> None:
        """Begins to renew."""
        self._thread.start()

    def stop(self) -> None:
        """Ends with the renewal that is under way."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._seconds / 3):
            # From before the request: it may have been done long before its answer came.
            asked = time.monotonic()
            with contextlib.suppress(PachydermError):
                if not self._renew():
                    self._lost = True
                    return
                self._renewed = asked
