"""Changes to files on their way into a commit, as a caller of Python makes them."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias, overload

from pachyderm_dagster.codec import Buffer
from pachyderm_dagster.errors import InvalidError, StateError
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.filesets import FileSet
from pachyderm_dagster.pfs.local_sources import open_local
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.open_files import WritableContent, WritableText
from pachyderm_dagster.pfs.paths import ROOT, clean_file_path, clean_path
from pachyderm_dagster.storage.chunks import Readable
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.own_process import OwnProcess

Data: TypeAlias = Buffer | Path | Readable | BinaryIO
"""What a file can be made of: bytes, a local file, or something to read bytes from."""
WriteMode: TypeAlias = Literal["wb", "ab", "w", "a"]


class FileChanges:
    """Puts, copies and deletes that go into one commit, in their order; all of them or, when the block that made them raises, none.

    Several threads may use one. Nobody sees the files before the block has ended. All methods raise StateError `block-ended` behind the end of the block,
    and `writer-forked` in a forked child, whose leaving of the block changes nothing.

    Attributes:
        commit: where the changes go. Of `Client.modify_file` it is there when the block has ended, of a file set never.
        id: the commit's, or the file set's when the block has ended.
        open_files: the paths of files that are still written to.
    """

    commit: Commit
    id: str

    def __init__(self, pfs: Pfs, files: FileSet) -> None:
        self._pfs = pfs
        self._files = files
        self._lock = threading.RLock()
        self._process = OwnProcess()
        self._over = False
        self.open_files: set[str] = set()

    def put_file(self, path: str, data: Data, *, append: bool = False) -> None:
        """Writes a file: in place of what it held, or with `append` behind it.

        A `Path` is a local file; whatever has `read` is read to its end, in bounded memory.

        Raises:
            InvalidError: `path-invalid`, `source-unreadable`.
            NotFoundError: `source-not-found`.
            TypeError: for all else, and for a `str`, which could be a path or a text: wrap the one in `Path`, `encode` the other.
        """
        with self._changing():
            match data:
                case bytes() | bytearray() | memoryview():
                    self._files.put_bytes(path, bytes(data), append=append)
                case Path():
                    with open_local(str(data)) as stream:
                        self._files.put_stream(path, stream, append=append)
                case _ if hasattr(data, "read"):
                    self._files.put_stream(path, data, append=append)
                case _:
                    raise TypeError(
                        "a file is made of bytes, a Path or something to read from; encode() a text, wrap the path of a local file in Path; "
                        f"found {type(data).__name__}"
                    )

    def delete_file(self, path: str, *, recursive: bool = False) -> None:
        """Removes a file; with `recursive` a directory with everything below it, and `/` is everything. What does not exist is no error."""
        with self._changing():
            if not recursive or clean_path(path) != ROOT:
                self._files.delete(path)
            if recursive:
                self._files.delete_directory(path)

    def copy_file(self, source: str, path: str, *, append: bool = False) -> None:
        """Copies a file or a directory from a commit, `repo@branch:/path`, without moving its content.

        Raises:
            NotFoundError: `file-not-found`, and those of `Client.inspect_commit`.
            InvalidError: `path-missing`, when the source has no path.
        """
        at = self._pfs.parse(source)
        if at.path is None:
            raise InvalidError("path-missing", f"'{source}' has no path; write {source}:/path")
        rows = self._pfs.files(source).rows_below(at.path)
        with self._changing():
            self._files.copy_rows(rows, at.path, path, append=append)

    @overload
    def open_file(self, path: str, mode: Literal["wb", "ab"] = "wb") -> WritableContent: ...
    @overload
    def open_file(self, path: str, mode: Literal["w", "a"], *, encoding: str = "utf-8") -> WritableText: ...
    def open_file(self, path: str, mode: WriteMode = "wb", *, encoding: str = "utf-8") -> WritableContent | WritableText:
        """Opens a file to write to: `wb` and `w` replace what it held, `ab` and `a` append. It counts once it is closed, and not if its block raises.

        Several may be open at a time; each holds up to two chunks (32 MiB) of its content in memory.

        Raises:
            InvalidError: `path-invalid`; `mode-invalid`.
        """
        return open_to_write(path, mode, self._writable, encoding=encoding)

    def end(self) -> None:
        """Takes no more changes; the end of the block calls it."""
        if self._process.is_ours:
            with self._lock:
                self._over = True

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """The time of one change.

        Raises:
            StateError: `writer-forked`, `block-ended`.
        """
        self._process.check()
        with self._lock:
            check_not_over(self._over)
            yield

    def _writable(self, path: str, *, append: bool) -> WritableContent:
        cleaned = clean_file_path(path)
        with self._changing():
            self.open_files.add(cleaned)

        def keep(content: Content) -> None:
            with self._changing():
                self._files.put_content(cleaned, content, append=append)
            self.open_files.discard(cleaned)

        return WritableContent(self._files.writer, self._lock, keep, lambda: self.open_files.discard(cleaned), cleaned)


def open_to_write(path: str, mode: str, opening: Callable[..., WritableContent], *, encoding: str) -> WritableContent | WritableText:
    """What a mode asks for, over `opening(path, append=)`.

    Raises:
        InvalidError: `mode-invalid`.
    """
    if mode not in ("wb", "ab", "w", "a"):
        raise InvalidError("mode-invalid", f"a file cannot be opened with mode {mode!r}; 'rb' and 'r' read, 'wb' and 'w' replace, 'ab' and 'a' append")
    content = opening(path, append=mode.startswith("a"))
    return content if mode.endswith("b") else WritableText(content, encoding=encoding)


def tell_commit(changes: FileChanges, commit: Commit) -> None:
    """Says where changes go."""
    changes.commit, changes.id = commit, commit.id


def check_not_over(over: bool) -> None:
    """Refuses changes behind the end of their block.

    Raises:
        StateError: `block-ended`.
    """
    if over:
        raise StateError("block-ended", "the block that this change belongs to has ended, so nothing would come of it; begin another block, or move it inside")


def check_all_closed(changes: FileChanges) -> None:
    """Refuses to end while files are written to.

    Raises:
        StateError: `file-open`.
    """
    if changes.open_files:
        names = ", ".join(map(repr, sorted(changes.open_files)))
        raise StateError("file-open", f"{names} still open for writing; close each file before the commit ends, best with a block of its own")
