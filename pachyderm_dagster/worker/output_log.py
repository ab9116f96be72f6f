"""What user code printed, in bounded memory: the beginning and the end, how much was left out between them, and when it came."""

import time
from collections.abc import Callable
from typing import Protocol

from pachyderm_dagster.worker.output_marks import Marks

HEAD_BYTES = 8 << 20
TAIL_BYTES = 8 << 20
_REASON_BYTES = 2048


class Listener(Protocol):
    """Takes the output of a datum while it runs."""

    @property
    def after_seconds(self) -> float:
        """For how long a datum must have run before it is told of at all."""
        ...

    def open(self, so_far: bytes) -> None:
        """The datum has run that long; `so_far` is what it printed."""
        ...

    def write(self, data: bytes) -> None:
        """What it printed next; called before `open` too."""
        ...

    def close(self) -> None:
        """The datum has ended, perhaps before `open` was called."""
        ...


class OutputLog:
    """Collects the output of one datum, over all its tries; keeps the first 8 MiB and the last 8 MiB (`HEAD_BYTES`, `TAIL_BYTES`).

    Args:
        listener: gets the output too, as it comes.
        now: seconds, of a clock that is never set.
    """

    def __init__(
        self,
        head_bytes: int = HEAD_BYTES,
        tail_bytes: int = TAIL_BYTES,
        *,
        listener: Listener | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self._begin = now()
        self._listener = listener
        self._tell_at = None if listener is None else self._begin + listener.after_seconds
        self._marks = Marks()
        self._written = 0
        self._head_bytes = head_bytes
        self._tail_bytes = tail_bytes
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0
        self._since_note = 0

    def write(self, data: bytes) -> None:
        """Adds what was printed next."""
        if data:
            self._marks.add(self._written, int((self._now() - self._begin) * 1000))
        self._written += len(data)
        if self._listener is not None:
            self._listener.write(data)
        self._since_note += len(data)
        room = self._head_bytes - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        # Cut at twice the size, so that the cost of moving the rest is spread over as many bytes.
        if len(self._tail) > 2 * self._tail_bytes:
            self._cut_tail()

    def note(self, text: str) -> None:
        """Adds a line of the worker's own; `last_lines` begin anew behind it."""
        self.write(f"\n[{text}]\n".encode())
        self._since_note = 0

    @property
    def seconds_to_telling(self) -> float | None:
        """How long until the listener wants to be told that the datum still runs; None when it was, or there is none."""
        return None if self._tell_at is None else max(0.0, self._tell_at - self._now())

    def tell(self) -> None:
        """Tells the listener that the datum still runs, once, when it wants that by now."""
        if self._listener is not None and self._tell_at is not None and self._now() >= self._tell_at:
            self._tell_at = None
            self._listener.open(self.content())

    def close(self) -> None:
        """The datum has ended."""
        if self._listener is not None:
            self._listener.close()

    def content(self) -> bytes:
        """All that was kept; a line between beginning and end says how many bytes are missing, if any."""
        if len(self._tail) > self._tail_bytes:
            self._cut_tail()
        return bytes(self._head + self._gap() + self._tail)

    def times(self) -> tuple[tuple[int, int], ...]:
        """When what `content` gives was printed: places in it, and the milliseconds after the start at which what is there came."""
        gap = self._gap()
        return self._marks.kept(range(self._head_bytes, self._head_bytes + self._left_out), len(gap))

    def _gap(self) -> bytes:
        if not self._left_out:
            return b""
        kept = f"of a datum's output the first {self._head_bytes} and the last {self._tail_bytes} bytes are kept"
        return f"\n[{self._left_out} bytes left out here: {kept}]\n".encode()

    def last_lines(self, count: int = 3) -> str:
        """The last lines of user code that are not empty, in one, for the reason of a failure. A NUL, which PostgreSQL takes in no text, is U+FFFD in it."""
        end = self._head[-_REASON_BYTES:] + self._tail[-_REASON_BYTES:]
        start = len(end) - min(self._since_note, _REASON_BYTES)
        lines = [line.strip() for line in end[start:].decode(errors="replace").replace("\0", "\ufffd").splitlines() if line.strip()]
        return " | ".join(lines[-count:])

    def _cut_tail(self) -> None:
        excess = len(self._tail) - self._tail_bytes
        self._left_out += excess
        del self._tail[:excess]
