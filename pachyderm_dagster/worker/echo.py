"""What user code prints, on standard error: for somebody who watches."""

import logging
import os

from pachyderm_dagster.log_lines import about
from pachyderm_dagster.worker.output_log import Listener

_STDERR = 2
_LONGEST_LINE = 64 << 10
_log = logging.getLogger(f"{__name__}.user")


class Echo:
    """Prints what user code prints."""

    after_seconds = 0.0

    def open(self, so_far: bytes) -> None:
        """Everything was printed as it came."""

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(_STDERR, view) :]

    def close(self) -> None:
        """There is nothing to close."""


class LoggedEcho:
    """Logs what user code prints, a record a line; a longer one than 64 KiB is several."""

    after_seconds = 0.0

    def __init__(self, datum: str) -> None:
        self._datum = datum
        self._rest = b""

    def open(self, so_far: bytes) -> None:
        """Everything was logged as it came."""

    def write(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._tell(line)
        while len(self._rest) >= _LONGEST_LINE:
            self._tell(self._rest[:_LONGEST_LINE])
            self._rest = self._rest[_LONGEST_LINE:]

    def close(self) -> None:
        if self._rest:
            self._tell(self._rest)
            self._rest = b""

    def _tell(self, line: bytes) -> None:
        # Output is read by another thread than the one that runs the datum.
        with about(datum=self._datum):
            _log.info("%s", line.decode(errors="replace"))


class EchoedToo:
    """Has a log that wants everything at once, and prints what it gets."""

    after_seconds = 0.0

    def __init__(self, log: Listener, echo: Listener) -> None:
        self._both = (log, echo)

    def open(self, so_far: bytes) -> None:
        """Both had everything as it came."""

    def write(self, data: bytes) -> None:
        for one in self._both:
            one.write(data)

    def close(self) -> None:
        for one in self._both:
            one.close()
