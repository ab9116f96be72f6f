"""File sets: files that are in no commit, for a while."""

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator

from pachyderm_dagster.client.changes import FileChanges, check_all_closed
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.entries import FileInfo, file_infos
from pachyderm_dagster.pfs.file_sets import DEFAULT_TTL, PathRange
from pachyderm_dagster.pfs.model import FILE_SETS_REPO, Commit


class FileSets:
    """What `Client.file_sets` gives. A file set is named by an id and read as a commit is, as `__filesets__@ID:/path`, until it expires.

    It lives for `ttl`, between 1 second and 30 minutes, from when it was made or last renewed. Methods that take one raise NotFoundError
    `file-set-not-found`, those that take a `ttl` InvalidError `ttl-invalid`.
    """

    def __init__(self, pfs: Callable[[], Pfs]) -> None:
        self._pfs = pfs

    @contextlib.contextmanager
    def create(self, *, ttl: dt.timedelta = DEFAULT_TTL) -> Iterator[FileChanges]:
        """A new file set of what is put in the block; behind it, `id` names it. Nothing when the block raises. Errors as `Client.modify_file`."""
        pfs = self._pfs()
        with pfs.create_file_set(ttl=ttl) as files:
            changes = FileChanges(pfs, files)
            try:
                yield changes
            finally:
                changes.end()
            check_all_closed(changes)
        changes.id = files.id

    def keep(self, commit: str, *, changes_only: bool = False, ttl: dt.timedelta = DEFAULT_TTL) -> str:
        """The id of a new file set of what a commit holds, or of what it changed, whatever becomes of the commit. Errors as `Client.inspect_commit`."""
        return self._pfs().get_file_set(commit, diff=changes_only, ttl=ttl)

    def renew(self, file_set: str, *, ttl: dt.timedelta = DEFAULT_TTL) -> None:
        """Lets a file set live for `ttl` from now."""
        self._pfs().renew_file_set(file_set, ttl=ttl)

    def add(self, target: str, file_set: str) -> Commit:
        """Puts a file set's files into a commit, as `Client.modify_file` would; no content moves. Returns the commit."""
        return self._pfs().add_file_set(target, file_set)

    def compose(self, first: str, *others: str, ttl: dt.timedelta = DEFAULT_TTL) -> str:
        """The id of a new file set of several, as if each had been written above the one before."""
        return self._pfs().compose_file_set(first, *others, ttl=ttl)

    def shard(self, file_set: str, *, files: int | None = None, size_bytes: int | None = None) -> list[PathRange]:
        """Ranges of paths, one for each of many readers: each has `files` files, or as many as bring it to `size_bytes`.

        Raises:
            InvalidError: `shard-invalid`.
        """
        return self._pfs().shard_file_set(file_set, files=files, size_bytes=size_bytes)

    def list_range(self, file_set: str, paths: PathRange) -> list[FileInfo]:
        """The files of one range, in order."""
        return file_infos(self._pfs().list_range(f"{FILE_SETS_REPO}@{file_set}", paths))
