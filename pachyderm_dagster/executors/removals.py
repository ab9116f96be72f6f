"""What removes what runs left, in a thread behind them: it may take longer than the runs, and nobody waits for it."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_log = logging.getLogger(__name__)


class Removals:
    """Calls what it is given, one after another, in a thread of its own. What one raises is logged, and keeps no other from being done."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="remove")

    def __call__(self, work: Callable[[], None]) -> None:
        """Takes one more; after `close` it is done at once."""
        try:
            self._thread.submit(_done, work)
        except RuntimeError:
            _done(work)  # a run that ends after its executor

    def close(self) -> None:
        """Waits until all is done."""
        self._thread.shutdown()


def _done(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:  # noqa: BLE001  it is logged
        _log.exception("what a run left could not be removed")
