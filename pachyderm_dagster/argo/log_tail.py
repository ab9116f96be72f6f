"""The end of a log that grows."""

from collections.abc import Iterator
from pathlib import Path

_MOST_AT_ONCE = 1 << 20


class LogTail:
    """What is new in a file since it was asked last; the file may come later."""

    def __init__(self, path: Path) -> None:
        self._path, self._at, self._begun = path, 0, b""

    def lines(self, *, has_ended: bool = False) -> Iterator[str]:
        """The lines that are new, one by one. One without its end waits for it, unless nothing more comes; one that is very long comes in pieces."""
        for data in self._new():
            *whole, self._begun = (self._begun + data).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in whole)
            if len(self._begun) >= _MOST_AT_ONCE:
                yield self._rest()
        if has_ended and self._begun:
            yield self._rest()

    def _rest(self) -> str:
        found, self._begun = self._begun.decode("utf-8", "replace"), b""
        return found

    def _new(self) -> Iterator[bytes]:
        try:
            with open(self._path, "rb") as file:
                if self._path.stat().st_size < self._at:
                    # It began anew, as its pod did.
                    self._at, self._begun = 0, b""
                file.seek(self._at)
                while data := file.read(_MOST_AT_ONCE):
                    self._at += len(data)
                    yield data
        except FileNotFoundError:
            return
