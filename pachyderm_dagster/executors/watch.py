"""A check that goes on beside running datums and ends them when it fails."""

import logging
import threading
from collections.abc import Callable
from types import TracebackType

_log = logging.getLogger(__name__)


def going_on(check: Callable[[], None]) -> Callable[[], None]:
    """A check that fails by itself alone: what it raises is logged, once as long as it raises the same, and it is called again when it is due."""
    said = ""

    def checked() -> None:
        nonlocal said
        try:
            check()
        except Exception as error:  # noqa: BLE001  it is logged
            if repr(error) != said:
                _log.exception("a look that is repeated failed; it is tried again")
            said = repr(error)
        else:
            said = ""

    return checked


class Watch:
    """Calls `check` every `seconds` in a thread for the length of a `with` block.

    What `check` raises is raised by the block at its end, after `stop` was called so that the block does end. `stop` is called too when the block raises.
    """

    def __init__(self, check: Callable[[], None], stop: Callable[[], None], seconds: float) -> None:
        self._check, self._stop, self._seconds = check, stop, seconds
        self._done = threading.Event()
        self._verdict: Exception | None = None
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
        if error is not None:
            self._stop()
        # An interrupt is not replaced by what the check found meanwhile.
        if self._verdict is not None and (error is None or isinstance(error, Exception)):
            raise self._verdict from error

    def _watch(self) -> None:
        while not self._done.wait(self._seconds):
            try:
                self._check()
            except Exception as verdict:  # noqa: BLE001  it is raised by the block
                self._verdict = verdict
                self._stop()
                return
