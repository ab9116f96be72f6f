"""What user code prints, on standard error: for somebody who watches."""

import os

_STDERR = 2


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
