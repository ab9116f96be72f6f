"""What user code printed, in bounded memory: the beginning and the end, and how much was left out between them."""

HEAD_BYTES = 8 << 20
TAIL_BYTES = 8 << 20
_REASON_BYTES = 2048


class OutputLog:
    """Collects the output of one datum, over all its tries; keeps the first 8 MiB and the last 8 MiB (`HEAD_BYTES`, `TAIL_BYTES`)."""

    def __init__(self, head_bytes: int = HEAD_BYTES, tail_bytes: int = TAIL_BYTES) -> None:
        self._head_bytes = head_bytes
        self._tail_bytes = tail_bytes
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0
        self._since_note = 0

    def write(self, data: bytes) -> None:
        """Adds what was printed next."""
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

    def content(self) -> bytes:
        """All that was kept; a line between beginning and end says how many bytes are missing, if any."""
        if len(self._tail) > self._tail_bytes:
            self._cut_tail()
        if not self._left_out:
            return bytes(self._head + self._tail)
        kept = f"of a datum's output the first {self._head_bytes} and the last {self._tail_bytes} bytes are kept"
        gap = f"\n[{self._left_out} bytes left out here: {kept}]\n"
        return bytes(self._head + gap.encode() + self._tail)

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
