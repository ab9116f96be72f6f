"""Objects and blocks of a Pachyderm 1.x extract, kept in files without names until commits refer to them."""

import contextlib
import hashlib
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.storage.system_errors import storage_errors

_PIECE_BYTES = 4 << 20


class OldObjects:
    """Byte strings by the hash that Pachyderm gave them. A context manager; takes as much room in the folder for temporary files as the objects have."""

    def __init__(self) -> None:
        self._resources = contextlib.ExitStack()
        self._bytes = self._resources.enter_context(tempfile.TemporaryFile(prefix="pachyderm-objects-"))  # noqa: SIM115 - it is one
        folder = self._resources.enter_context(tempfile.TemporaryDirectory(prefix="pachyderm-index-"))
        self._index = self._resources.enter_context(contextlib.closing(sqlite3.connect(f"{folder}/index.db", isolation_level=None)))
        self._index.execute("PRAGMA journal_mode=OFF")
        self._index.execute("PRAGMA synchronous=OFF")
        self._index.execute("CREATE TABLE place (kind TEXT, hash TEXT, start INTEGER, length INTEGER, PRIMARY KEY (kind, hash)) WITHOUT ROWID")
        self._end = 0
        self._start = 0
        self._hash = hashlib.sha512()
        self._block: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._resources.close()

    def add_object_piece(self, value: bytes) -> None:
        """Takes the next piece of an object; an empty one ends it, and its hash is that of its bytes."""
        self._append(value)
        if not value:
            self._note("object", self._hash.hexdigest())

    def add_block_piece(self, block: str, value: bytes) -> None:
        """Takes the next piece of a block, whose name stands at its beginning at least; an empty one ends it."""
        if self._block is None:
            self._block = block
        self._append(value)
        if not value:
            self._note("block", self._block)
            self._block = None

    def add_object(self, hash: str, block: str, lower: int, upper: int) -> None:
        """Notes an object that is a range of a block.

        Raises:
            InvalidError: `import-invalid`, when the block is not there.
        """
        start, length = self._place("block", block)
        if not lower <= upper <= length:
            raise InvalidError("import-invalid", f"object {hash[:16]}… lies beyond the end of its block {block}; extract again")
        self._index.execute("INSERT OR REPLACE INTO place VALUES ('object', ?, ?, ?)", (hash, start + lower, upper - lower))

    def object_range(self, hash: str) -> tuple[int, int]:
        """Where an object lies, for `stream`. Raises InvalidError `import-invalid`, when it is not there."""
        return self._place("object", hash)

    def block_range(self, block: str, lower: int, upper: int) -> tuple[int, int]:
        """Where a range of a block lies. Raises InvalidError `import-invalid`, when the block is not there."""
        start, length = self._place("block", block)
        return start + lower, min(upper, length) - lower

    def get_object(self, hash: str) -> bytes:
        """The bytes of an object, compared with its hash.

        Raises:
            InvalidError: `import-invalid`.
        """
        data = b"".join(self.stream([self.object_range(hash)]))
        if hashlib.sha512(data).hexdigest() != hash:
            raise InvalidError("import-invalid", f"object {hash[:16]}… has other bytes than Pachyderm wrote; extract again")
        return data

    def stream(self, ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        """The bytes of ranges, one behind another, in pieces."""
        for start, length in ranges:
            for at in range(start, start + length, _PIECE_BYTES):
                self._bytes.seek(at)
                yield self._bytes.read(min(_PIECE_BYTES, start + length - at))

    def _append(self, value: bytes) -> None:
        if self._start == self._end:
            self._hash = hashlib.sha512()
        with storage_errors("write", tempfile.gettempdir()):
            self._bytes.seek(self._end)
            self._bytes.write(value)
        self._hash.update(value)
        self._end += len(value)

    def _note(self, kind: str, hash: str) -> None:
        self._index.execute("INSERT OR REPLACE INTO place VALUES (?, ?, ?, ?)", (kind, hash, self._start, self._end - self._start))
        self._start = self._end

    def _place(self, kind: str, hash: str) -> tuple[int, int]:
        found = self._index.execute("SELECT start, length FROM place WHERE kind = ? AND hash = ?", (kind, hash)).fetchone()
        if found is None:
            raise InvalidError("import-invalid", f"{kind} {hash[:16]}… is not in the extract; extract without --no-objects")
        return int(found[0]), int(found[1])
