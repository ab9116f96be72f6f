"""The end of a log that grows."""

from pathlib import Path

_MOST_AT_ONCE = 1 << 20


class LogTail:
    """What is new in a file since it was asked last; the file may come later."""

    def __init__(self, path: Path) -> None:
        self._path, self._at, self._begun = path, 0, b""

    def lines(self, *, has_ended: bool = False) -> list[str]:
        """The lines that are new. One without its end waits for it, unless nothing more comes."""
        data = self._begun + self._new()
        whole = len(data) if has_ended else data.rfind(b"\n") + 1
        self._begun = data[whole:]
        return data[:whole].decode("utf-8", "replace").removesuffix("\n").split("\n") if whole else []

    def _new(self) -> bytes:
        found = bytearray()
        try:
            with open(self._path, "rb") as file:
                if self._path.stat().st_size < self._at:
                    # It began anew, as its pod did.
                    self._at, self._begun = 0, b""
                file.seek(self._at)
                while data := file.read(_MOST_AT_ONCE):
                    found += data
        except FileNotFoundError:
            return b""
        self._at += len(found)
        return bytes(found)
