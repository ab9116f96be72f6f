"""Commits as an fsspec file system, `pfs://repo@branch/path`, for pandas, polars, Arrow, DuckDB, Dask and whatever else takes one."""

import contextlib
import errno
import io
import os
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fsspec.spec import AbstractFileSystem
from fsspec.transaction import Transaction
from fsspec.utils import stringify_path

from pachyderm_dagster.client.changes import FileChanges
from pachyderm_dagster.client.client import Client, commit_reference
from pachyderm_dagster.client.connecting import connect
from pachyderm_dagster.client.entries import directory_entry, file_entry, is_pattern, looking_up, read_slice, told_as_os_errors
from pachyderm_dagster.client.joined_changes import JoinedChanges
from pachyderm_dagster.client.locations import PROTOCOL, Location, parse_location
from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, Commit
from pachyderm_dagster.pfs.open_files import WritableContent, WritableText
from pachyderm_dagster.pfs.paths import clean_path


class _OneCommit(Transaction):  # type: ignore[misc]  # fsspec ships no types
    """`with fs.transaction:` all that is written in the block becomes one commit a branch, or nothing."""

    fs: Any

    def complete(self, commit: bool = True) -> None:  # noqa: FBT002 -- fsspec's signature
        self.files.clear()
        fs, self.fs = self.fs, None
        # Here and not after it, where fsspec does it: making the commit may fail.
        fs._intrans, fs._transaction = False, None  # noqa: SLF001
        fs.end_joining(keep=commit)


class PfsFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec ships no types
    """Repos as a file system: `pfs://[project/]repo@ref/path`, where ref is all that a reference takes (`master`, an id, `master^2`).

    Reading a branch reads its newest version at each call; nothing is cached, and a file that is open stays what it was. To read many files of one version,
    name the commit by its id, which `pin` finds. Writing makes a commit a file; `transaction` and `commit` make one of many files. Directories are there
    while something is in them, and for this instance from when it made them.

    An instance may be pickled, forked and used by several threads; each process opens the home once.

    Args:
        home: as for `pachyderm_dagster.connect`.
        project: where repos are that are named without a project.
    """

    protocol = PROTOCOL
    root_marker = ""
    transaction_type = _OneCommit

    def __init__(self, home: str | None = None, *, project: str = DEFAULT_PROJECT, **options: Any) -> None:
        super().__init__(**options)
        self.home = None if home is None else os.fspath(home)
        self.project = project
        self._clients: dict[int, Client] = {}
        self._joined: JoinedChanges | None = None
        self._own = threading.local()
        self._commits: dict[str, FileChanges] = {}
        # Directories without a file: writers such as DuckDB make one, and look into it before they write.
        self._made: set[str] = set()

    @property
    def client(self) -> Client:
        """This process's client."""
        client = self._clients.get(os.getpid())
        if client is None:
            # Without a lock, which a forked child could find held: of two threads that come here at once, one lets its client go.
            made = connect(self.home, project=self.project)
            client = self._clients.setdefault(os.getpid(), made)
            if client is not made:
                made.close()
        return client

    @property
    def fsid(self) -> str:
        """What tells this home's file system from others."""
        return f"{PROTOCOL}-{self.client.home}"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        text = str(stringify_path(path))
        return text.removeprefix(f"{PROTOCOL}://").removeprefix(f"{PROTOCOL}::").strip("/")

    # Versions

    def pin(self, path: str) -> str:
        """The same path in the commit that its branch has now, so that what is read through it is of one version."""
        at = self._version(path)
        with told_as_os_errors(path):
            return f"{at.prefix.partition('@')[0]}@{self._commit(at).id}{at.path}".rstrip("/")

    @contextlib.contextmanager
    def commit(self, version: str, *, description: str = "") -> Iterator[FileChanges]:
        """A commit that is open for the time of the block; what this instance writes to `repo@branch` meanwhile goes into it.

        It is finished at the end, and dropped when the block raises. Errors as `Client.commit`.
        """
        at = self._version(version)
        with self.client.commit(str(at.version), description=description) as changes:
            self._commits[str(at.version)] = changes
            try:
                yield changes
            finally:
                del self._commits[str(at.version)]

    def end_joining(self, *, keep: bool) -> None:
        """Commits what was gathered, or gives it up; `transaction` calls it."""
        joined, self._joined = self._joined, None
        if joined is not None:
            joined.end(keep=keep)

    @contextlib.contextmanager
    def _joining(self) -> Iterator[JoinedChanges]:
        """Gathers what one call changes; within a transaction, or within another such call of the thread, that gathers."""
        current = self._current()
        if current is not None:
            yield current
            return
        self._own.joined = JoinedChanges(self.client)
        try:
            with self._own.joined:
                yield self._own.joined
        finally:
            self._own.joined = None

    def _current(self) -> JoinedChanges | None:
        """What gathers changes at present, if anything does."""
        if self._intrans and self._joined is None:
            self._joined = JoinedChanges(self.client)
        return self._joined or getattr(self._own, "joined", None)

    @contextlib.contextmanager
    def _changing(self, at: Location) -> Iterator[FileChanges]:
        """What takes changes to the branch or commit of a location."""
        if at.version in self._commits:
            yield self._commits[str(at.version)]
            return
        with self._joining() as joined:
            yield joined.changes(str(at.version))

    # Looking

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """What is known of a file or directory: name, size, type, hash, and of which commit, by id and time.

        Raises:
            FileNotFoundError: when it does not exist.
        """
        with looking_up(path):
            at = self._location(path)
            if at.version is None:
                if at.project is not None and at.project not in {found.name for found in self.client.list_project()}:
                    raise FileNotFoundError(errno.ENOENT, "no project has that name", path)
                return directory_entry(at.project or "")
            try:
                commit = self._commit(at)
                return file_entry(at, self.client.inspect_file(f"{commit_reference(commit)}:{at.path}"), commit)
            except NotFoundError:
                if self._strip_protocol(path) not in self._made:
                    raise
                return directory_entry(at.name(at.path))

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:  # noqa: FBT002 -- fsspec's signature
        """What is directly in a directory. At the top and in a project: a directory for every branch, `repo@branch`; at the top for other projects too."""
        with looking_up(path):
            at = self._location(path)
            try:
                found = self._branches(at) if at.version is None else self._children(at)
            except NotFoundError:
                if self._strip_protocol(path) not in self._made:
                    raise
                found = []
        return found if detail else [entry["name"] for entry in found]

    def find(self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **kwargs: Any) -> Any:  # noqa: FBT002 -- fsspec's signature
        """Everything below a path, read in one go."""
        try:
            with looking_up(path):
                at = self._location(path)
                if maxdepth is not None or at.version is None:
                    return super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **kwargs)
                commit = self._commit(at)
                below = self.client.walk_file(f"{commit_reference(commit)}:{at.path}")
        except FileNotFoundError:
            return {} if detail else []
        found = {entry["name"]: entry for entry in (file_entry(at, file, commit) for file in below) if withdirs or entry["type"] == "file"}
        return dict(sorted(found.items())) if detail else sorted(found)

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Whether there is a file or directory; trouble with the home is not taken for absence."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def created(self, path: str) -> Any:
        """When the commit that the path names was finished, or started while it is open: trees keep no times of their own."""
        return self.info(path)["created"]

    def modified(self, path: str) -> Any:
        """As `created`."""
        return self.info(path)["created"]

    def checksum(self, path: str) -> int:
        """The content's hash, as a number: the same for the same bytes, in any commit."""
        return int(self.info(path)["hash"], 16)

    def ukey(self, path: str) -> str:
        """The content's hash."""
        return str(self.info(path)["hash"])

    def _location(self, path: str) -> Location:
        """Raises ValueError (our InvalidError) for a path that names no version."""
        return parse_location(self._strip_protocol(path), project=self.project)

    def _version(self, path: str) -> Location:
        at = self._location(path)
        if at.version is None:
            raise InvalidError("reference-invalid", f"{path!r} names no commit; write [project/]repo@branch")
        return at

    def _file(self, path: str) -> Location:
        at = self._version(path)
        if at.path == "/":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return at

    def _commit(self, at: Location) -> Commit:
        return self.client.inspect_commit(str(at.version))

    def _branches(self, at: Location) -> list[dict[str, Any]]:
        project = at.project or self.project
        known = [found.name for found in self.client.list_project()]
        if at.project is not None and project not in known:
            raise FileNotFoundError(errno.ENOENT, "no project has that name", project)
        before = "" if project == self.project else f"{project}/"
        repos = [repo for repo in self.client.list_repo(all_projects=True) if repo.name.project == project]
        found = [directory_entry(f"{before}{repo.name.name}@{branch}") for repo in repos for branch in repo.branches]
        return found + ([] if at.project is not None else [directory_entry(name) for name in known if name != project])

    def _children(self, at: Location) -> list[dict[str, Any]]:
        commit = self._commit(at)
        return [file_entry(at, file, commit) for file in self.client.list_file(f"{commit_reference(commit)}:{at.path}")]

    # Reading

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """The bytes of a file from `start` to `end`; negative ones count from its end. The whole file is verified."""
        with looking_up(path):
            if not start and end is None:
                return self.client.get_file(self._file(path).reference)
            with self.client.open_file(self._file(path).reference) as file:
                return read_slice(file, start, end)

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **kwargs: Any) -> Any:  # noqa: FBT002 -- fsspec's signature
        """The bytes of a file, or by path of several; those of one commit are read together."""
        if kwargs or on_error != "raise":
            return super().cat(path, recursive=recursive, on_error=on_error, **kwargs)
        if isinstance(path, str) and not recursive and not is_pattern(path):
            return self.cat_file(path)
        wanted: dict[str, dict[str, str]] = {}
        for name in self._files(path, recursive=recursive):
            at = self._file(name)
            wanted.setdefault(str(at.version), {})[clean_path(at.path)] = name
        found: dict[str, bytes] = {}
        for version, names in wanted.items():
            with looking_up(version):
                found |= {names[path]: data for path, data in self.client.get_files(version, names)}
        return dict(sorted(found.items()))

    def _files(self, paths: Any, *, recursive: bool) -> Iterator[str]:
        """The files that paths and patterns name."""
        for path in self._strip_protocol([paths] if isinstance(paths, str) else list(paths)):
            entries = self.glob(path, detail=True) if is_pattern(path) else {path: {"type": "directory" if recursive else "file"}}
            for name, entry in entries.items():
                if entry["type"] == "file":
                    yield name
                elif recursive:
                    yield from self.find(name)

    def cat_ranges(
        self, paths: Sequence[str], starts: Any, ends: Any, max_gap: int | None = None, on_error: str = "return", **kwargs: Any
    ) -> list[bytes | Exception]:
        """The bytes of many ranges, `paths[n]` from `starts[n]` to `ends[n]`; each file is looked up once."""
        count = len(paths)
        bounds = zip(paths, starts if isinstance(starts, Iterable) else [starts] * count, ends if isinstance(ends, Iterable) else [ends] * count, strict=True)
        found: list[bytes | Exception] = []
        with contextlib.ExitStack() as opened:
            files: dict[str, io.BufferedIOBase] = {}
            for path, start, end in bounds:
                try:
                    if path not in files:
                        files[path] = opened.enter_context(self._open(path))
                    found.append(read_slice(files[path], start, end))
                except Exception as error:
                    if on_error == "raise":
                        raise
                    found.append(error)
        return found

    def open(self, path: str, mode: str = "rb", block_size: int | None = None, cache_options: Any = None, compression: str | None = None, **kwargs: Any) -> Any:
        """Opens a file as `Client.open_file` does. Within a transaction or a `commit` what is written joins that."""
        if "b" in mode or compression is not None or mode.rstrip("t") not in ("w", "a", "x"):
            return super().open(path, mode, block_size=block_size, cache_options=cache_options, compression=compression, **kwargs)
        text = {name: kwargs.pop(name) for name in ("encoding", "newline", "errors") if kwargs.get(name) is not None}
        return WritableText(super().open(path, mode.rstrip("t") + "b", **kwargs), **({"newline": None} | text))

    def _open(self, path: str, mode: str = "rb", *args: Any, **kwargs: Any) -> Any:
        if mode not in ("wb", "ab", "xb"):
            return self._open_to_read(path, mode)
        at = self._file(path)
        with told_as_os_errors(path):
            if mode == "xb" and self.exists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            return self._open_to_write(at, "wb" if mode == "xb" else mode)

    def _open_to_read(self, path: str, mode: str) -> Any:
        with looking_up(path):
            at = self._file(path)
            return self.client.open_file(at.reference, mode)  # type: ignore[call-overload]  # refuses what it does not know

    def _open_to_write(self, at: Location, mode: str) -> WritableContent:
        if at.version in self._commits or self._current() is not None:
            with self._changing(at) as changes:
                return changes.open_file(at.path, mode)  # type: ignore[call-overload, no-any-return]  # wb or ab
        return self.client.open_file(at.reference, mode)  # type: ignore[call-overload, no-any-return]  # wb or ab

    # Changing

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        """Writes a file from its bytes; with `mode` `create` only if there is none."""
        at = self._file(path)
        if mode == "create" and self.exists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        with told_as_os_errors(path), self._changing(at) as changes:
            changes.put_file(at.path, value)

    def pipe(self, path: Any, value: bytes | None = None, **kwargs: Any) -> None:
        """Writes files from their bytes, all in one commit."""
        with self._joining():
            super().pipe(path, value, **kwargs)

    def put(self, lpath: Any, rpath: Any, *args: Any, **kwargs: Any) -> None:
        """Uploads local files, all in one commit. Arguments as fsspec's."""
        with self._joining():
            super().put(lpath, rpath, *args, **kwargs)

    def put_file(self, lpath: Any, rpath: str, *args: Any, **kwargs: Any) -> None:
        """Uploads one local file; a folder is nothing of its own."""
        if stat.S_ISDIR(os.stat(lpath).st_mode):
            return
        at = self._file(rpath)
        with told_as_os_errors(rpath), self._changing(at) as changes, open(lpath, "rb") as file:
            changes.put_file(at.path, file)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Copies a file, also between repos, without moving its content."""
        source, target = self._version(path1), self._version(path2)
        if self.isdir(path1):
            return
        with told_as_os_errors(path1), self._changing(target) as changes:
            changes.copy_file(source.reference, target.path)

    def copy(self, path1: Any, path2: Any, *args: Any, **kwargs: Any) -> None:
        """Copies files, all in one commit, without moving their content. Arguments as fsspec's."""
        with self._joining():
            super().copy(path1, path2, *args, **kwargs)

    def mv(self, path1: Any, path2: Any, *args: Any, **kwargs: Any) -> None:
        """Moves files, in one commit a branch, without moving their content. Arguments as fsspec's."""
        with self._joining():
            super().mv(path1, path2, *args, **kwargs)

    def rm_file(self, path: str) -> None:
        """Removes one file.

        Raises:
            FileNotFoundError: when it does not exist.
        """
        self.rm(path)

    def _rm(self, path: str) -> None:
        self.rm(path)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:  # noqa: FBT002 -- fsspec's signature
        """Removes files, patterns taken, and with `recursive` directories with all below them; all in one commit a branch.

        Raises:
            FileNotFoundError: when one does not exist.
            IsADirectoryError: for a directory without `recursive`.
        """
        if maxdepth is not None:
            names = self.expand_path(path, recursive=recursive, maxdepth=maxdepth)
            doomed = [(name, False) for name in names if self.isfile(name)]
        else:
            doomed = [(name, self.info(name)["type"] == "directory") for name in self.expand_path(path)]
        with self._joining():
            for name, is_directory in doomed:
                if is_directory and not recursive:
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
                self._made = {made for made in self._made if not f"{made}/".startswith(f"{name}/")}
                at = self._version(name)
                with self._changing(at) as changes:
                    changes.delete_file(at.path, recursive=is_directory)

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:  # noqa: FBT002 -- fsspec's signature
        """Makes a directory that only this instance sees until something is in it: a commit holds none that are empty."""
        with told_as_os_errors(path):
            self._version(path)
        self._made.add(self._strip_protocol(path))

    def makedirs(self, path: str, exist_ok: bool = False) -> None:  # noqa: FBT002 -- fsspec's signature
        """As `mkdir`."""
        if not exist_ok and self.exists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        self.mkdir(path)

    def rmdir(self, path: str) -> None:
        """Takes back `mkdir`. A directory of a commit has something in it; `rm` with `recursive` removes both.

        Raises:
            OSError: `ENOTEMPTY`, `FileNotFoundError`.
        """
        name = self._strip_protocol(path)
        if name in self._made and not self.ls(path):
            self._made.discard(name)
            return
        self.info(path)
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)

    def touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:  # noqa: FBT002 -- fsspec's signature
        """Makes a file empty; without `truncate` only if there is none."""
        if truncate or not self.exists(path):
            self.pipe_file(path, b"")
