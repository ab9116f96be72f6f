"""Versioned data for Python: what pachctl does with repos, branches, commits and files, by the same names."""

import contextlib
import io
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, BinaryIO, Literal, NoReturn, Self, TextIO, overload

from pachyderm_dagster.client.arguments import checked_number, checked_origin, checked_text, checked_timeout
from pachyderm_dagster.client.changes import Data, FileChanges, check_all_closed, open_to_write, tell_commit
from pachyderm_dagster.client.file_sets import FileSets
from pachyderm_dagster.client.transactions import ClientTransaction
from pachyderm_dagster.errors import InvalidError, PachydermError, StateError
from pachyderm_dagster.metadata.database import Database
from pachyderm_dagster.pfs import branches, commits, comparing, references, repos
from pachyderm_dagster.pfs.client import POLL_SECONDS, Pfs
from pachyderm_dagster.pfs.differences import FileDiff
from pachyderm_dagster.pfs.entries import FileInfo, file_infos
from pachyderm_dagster.pfs.finding import Change
from pachyderm_dagster.pfs.model import Branch, Commit, Origin, Project, Repo, RepoType, Trigger, is_commit_id
from pachyderm_dagster.pfs.open_files import ReadableContent, WritableContent
from pachyderm_dagster.pfs.paths import clean_path
from pachyderm_dagster.pfs.references import parse_repo
from pachyderm_dagster.pfs.subvenance import MOST_STEPS, walk_commits
from pachyderm_dagster.storage.own_process import OwnProcess
from pachyderm_dagster.workspace import Workspace

_ROWS_AT_ONCE = 10_000


class Client:
    """One home's versioned data; `pachyderm_dagster.connect` opens it, and a `with` block or `close` lets go of it.

    References are texts as in pachctl: `repo`, `repo@branch`, `repo@id`, `repo@branch^2`, `repo@branch.1`, each with `project/` before it for another
    project than the client's, and `:/path` behind it for a file. Answers are the dataclasses of `pachyderm_dagster.pfs.model` and `FileInfo`; errors are
    those of `pachyderm_dagster.errors`, with the codes that pachctl prints.

    Several threads may use one client; a forked child opens one of its own.

    It is a face over `Pfs`, which stands behind every way in and deals in rows, tables and streams: what a caller types is here in plain values, and
    nothing is decided here.

    Attributes:
        home: the folder that was opened.
        project: where repos are that are named without a project.
    """

    def __init__(self, workspace: Workspace, *, project: str) -> None:
        self.project = project
        self.home = workspace.settings.home
        self._opened = workspace
        self._closed = False

    def close(self) -> None:
        """Lets go of the record. Files that are open for reading can still be read; all else raises StateError `client-closed`."""
        self._closed = True
        self._opened.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client holds connections and cannot be pickled or copied; hand on its home and project, and `connect` there")

    @property
    def _workspace(self) -> Workspace:
        if self._closed:
            raise StateError("client-closed", f"the client of {self.home} was closed; open another with connect(), or move the call into its block")
        return self._opened

    @property
    def _pfs(self) -> Pfs:
        return self._workspace.pfs

    @property
    def _database(self) -> Database:
        return self._workspace.database

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    # Projects

    def list_project(self) -> list[Project]:
        """Every project."""
        with self._database.read() as txn:
            return repos.list_project(txn)

    def create_project(self, project: str, *, description: str = "") -> None:
        """Makes a project. Raises ExistsError `project-exists`, InvalidError `name-invalid`."""
        text = checked_text(description, "description")
        self._database.write(lambda txn: repos.create_project(txn, project, description=text))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[ClientTransaction]:
        """Changes of repos, branches and commits that are made together when the block ends, or not at all: one commit set, and one job a pipeline.

        Raises:
            PachydermError: at the end, whatever one of the changes raises, with its number; nothing was changed.
        """
        pps = self._workspace.pps
        transaction = ClientTransaction(self.project)
        try:
            yield transaction
        finally:
            transaction.end()
        transaction.apply(pps)

    # Repos

    def create_repo(self, repo: str, *, description: str = "", update: bool = False) -> Repo:
        """Makes a repo; with `update` one that exists gets the description. Raises ExistsError `repo-exists`, InvalidError `name-invalid`."""
        return self._pfs.create_repo(repo, description=checked_text(description, "description"), update=update)

    def inspect_repo(self, repo: str) -> Repo:
        """One repo. Raises NotFoundError `repo-not-found`."""
        return self._pfs.inspect_repo(repo)

    def list_repo(self, *, all_projects: bool = False) -> list[Repo]:
        """The repos of the client's project, or of all, by name; not those that belong to pipelines' inner workings."""
        with self._database.read() as txn:
            return repos.list_repo(txn, project=None if all_projects else self.project)

    def delete_repo(self, repo: str, *, force: bool = False) -> None:
        """Removes a repo with all its data. Raises NotFoundError `repo-not-found`, StateError `repo-in-use`, which `force` overrides for branches."""
        self._pfs.delete_repo(repo, force=force)

    # Branches

    def create_branch(
        self,
        branch: str,
        *,
        head: str | None = None,
        provenance: Sequence[str] = (),
        never: Sequence[str] = (),
        trigger: Trigger | None = None,
        force: bool = False,
    ) -> Branch:
        """Makes a branch, or changes one: `head` moves it to a commit, `provenance` says which branches it is made from, `trigger` when it moves by itself.

        Args:
            never: those of `provenance` whose commits start nothing here; their heads are read when something else does.
            force: also where a pipeline writes the branch, which loses its inputs unless `provenance` names them.

        Raises:
            NotFoundError: `repo-not-found`, `commit-not-found`.
            InvalidError: `head-invalid`, `provenance-cycle`, `trigger-invalid`.
            StateError: `branch-in-use`.
        """
        return self._pfs.create_branch(branch, head=head, provenance=provenance, never=never, trigger=trigger, force=force)

    def inspect_branch(self, branch: str) -> Branch:
        """One branch. Raises NotFoundError `branch-not-found`."""
        return self._pfs.inspect_branch(branch)

    def list_branch(self, repo: str) -> list[Branch]:
        """The branches of a repo, oldest first. Raises NotFoundError `repo-not-found`."""
        with self._database.read() as txn:
            return branches.list_branch(txn, parse_repo(repo, project=self.project))

    def delete_branch(self, branch: str, *, force: bool = False) -> None:
        """Removes a branch; its commits stay. Raises NotFoundError `branch-not-found`, StateError `branch-in-use`, which `force` overrides for readers."""
        self._pfs.delete_branch(branch, force=force)

    def edit_metadata(self, *edits: tuple[str, str, str, str]) -> None:
        """Changes what is noted on objects, all of it or nothing. An edit is a kind, a name, what to do, and with what, as in `pachctl edit metadata`.

        For example `("repo", "images", "add", "owner=ann")`; a kind is project, repo, branch, commit or cluster (whose name is `.`), what to do add, edit,
        delete or replace.

        Raises:
            NotFoundError: when there is no such object.
            InvalidError, ExistsError: as `pachctl edit metadata`.
        """
        for edit in edits:
            for text in edit:
                checked_text(text, "an edit of metadata")
        self._pfs.edit_metadata(*edits)

    # Commits

    @contextlib.contextmanager
    def commit(self, branch: str, *, parent: str | None = None, description: str = "") -> Iterator[FileChanges]:
        """A commit that is open for the time of the block: finished at its end, dropped when it raises, so that the branch's head is what it was.

        One that somebody else has finished meanwhile stays as that left it.

        Meanwhile `list_commit` shows it as open, and others cannot start one on the branch; its files are seen once it is finished.

        Raises:
            NotFoundError: `repo-not-found`.
            StateError: `commit-open`, when the head is not finished; `output-branch`; `file-open`.
            InvalidError: `path-conflict`, at the end.
        """
        pfs = self._pfs
        started = self.start_commit(branch, parent=parent, description=description)
        name, process = commit_reference(started), OwnProcess()
        try:
            with self.modify_file(name) as changes:
                tell_commit(changes, started)
                yield changes
            tell_commit(changes, self._pfs.finish_commit(name))
        except BaseException as error:
            if process.is_ours:  # a forked child that leaves the block leaves the commit to its parent
                try:
                    pfs.abandon_commit(name)
                except PachydermError as second:
                    # Somebody removed it, or the record does not answer: what went wrong first is what the caller must see.
                    error.add_note(f"the open commit '{started}' was not dropped: {second}")
            raise

    def start_commit(self, branch: str, *, parent: str | None = None, description: str = "") -> Commit:
        """Opens a commit that stays open until `finish_commit`; `commit` is the safer way. Errors as `commit`."""
        return self._pfs.start_commit(branch, parent=parent, description=checked_text(description, "description"))

    def finish_commit(self, commit: str, *, description: str | None = None, error: str | None = None) -> Commit:
        """Closes an open commit, which never changes again; with `error` as one that failed. Raises StateError `commit-finished`, `output-branch`."""
        for text, what in ((description, "description"), (error, "error")):
            if text is not None:
                checked_text(text, what)
        return self._pfs.finish_commit(commit, description=description, error=error)

    def inspect_commit(self, commit: str) -> Commit:
        """One commit. Raises NotFoundError `commit-not-found`, `branch-not-found`, `repo-not-found`."""
        return self._pfs.inspect_commit(commit)

    def list_commit(self, commits_of: str | None = None, *, origin: Origin | None = None, number: int | None = None) -> list[Commit]:
        """Commits, the newest first: of a repo, of the history up to a commit (`repo@ref`), of a set (its id), or all; at most `number`.

        Raises:
            NotFoundError: `repo-not-found`, `branch-not-found`, `commit-not-found`, `commit-set-not-found`.
            InvalidError: `argument-invalid`.
        """
        origin, number = checked_origin(origin), checked_number(number, "number")
        with self._database.read() as txn:
            if commits_of is None:
                return commits.list_commit(txn, origin=origin, number=number)
            if is_commit_id(commits_of):
                commits.get_set(txn, commits_of)
                return commits.list_commit(txn, set_id=commits_of, origin=origin, number=number)
            at = self._pfs.parse(commits_of)
            up_to = None if at.ref is None else references.find_commit(txn, at)
            return commits.list_commit(txn, at.repo, up_to=up_to, origin=origin, number=number)

    def wait_commit(self, commit: str, *, timeout: float | None = None) -> Commit:
        """Returns a commit once it is finished, with or without an error. A daemon or `pachctl wait commit` runs the jobs that it waits for.

        Raises:
            NotFoundError: as `inspect_commit`.
            StateError: `wait-timeout`, after `timeout` seconds.
            InvalidError: `argument-invalid`.
        """
        timeout = checked_timeout(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        name = commit_reference(self.inspect_commit(commit))
        with self._pfs.changes.watch() as watcher:
            while (found := self.inspect_commit(name)).finished is None:
                if deadline is not None and time.monotonic() >= deadline:
                    advice = "see that a daemon is up, or that its inputs are finished"
                    raise StateError("wait-timeout", f"commit '{found}' did not finish in {timeout:g} s; {advice}")
                watcher.wait(POLL_SECONDS, POLL_SECONDS)
        return found

    def subscribe_commit(self, commits_of: str, *, stop: Callable[[], bool] = lambda: False) -> Iterator[Commit]:
        """Yields the commits of a repo or a branch once each is finished, the oldest first, then waits for more; ends when `stop()` says so.

        Raises:
            NotFoundError: `repo-not-found`.
        """
        return self._pfs.subscribe_commit(commits_of, stop=stop)

    def drop_commit(self, commit: str, *, recursive: bool = False) -> list[Commit]:
        """Removes a commit, open or finished, with what it wrote; `recursive` takes what was made from it too. Returns what was removed.

        Raises:
            StateError: `commit-has-children`, `commit-in-use`.
        """
        return self._pfs.drop_commit(commit, recursive=recursive)

    def squash_commit(self, commit: str, *, recursive: bool = False) -> list[Commit]:
        """Removes a commit and leaves what it wrote to the next one. Returns what was removed.

        Raises:
            StateError: `commit-without-children`, `commit-open`, `commit-in-use`.
        """
        return self._pfs.squash_commit(commit, recursive=recursive)

    def drop_commit_set(self, set_id: str) -> list[Commit]:
        """Removes every commit of a set with what it wrote. Raises NotFoundError `commit-set-not-found` and as `drop_commit`."""
        return self._pfs.drop_commit_set(set_id)

    def squash_commit_set(self, set_id: str) -> list[Commit]:
        """Removes every commit of a set and leaves what it wrote to the next ones. Raises NotFoundError `commit-set-not-found` and as `squash_commit`."""
        return self._pfs.squash_commit_set(set_id)

    def forget_commit(self, commit: str) -> Commit:
        """Gives up the content of an output commit, which its pipeline could make again. Raises InvalidError `not-an-output`, StateError `commit-in-use`."""
        return self._pfs.forget_commit(commit)

    def walk_provenance(self, commit: str, *, depth: int | None = None) -> list[Commit]:
        """The commits that a commit was made from, directly or not, newest first; at most `depth` steps away. Errors as `inspect_commit`."""
        return self._walk(commit, depth, downwards=False)

    def walk_subvenance(self, commit: str, *, depth: int | None = None) -> list[Commit]:
        """The commits that were made from a commit, directly or not, newest first; at most `depth` steps away. Errors as `inspect_commit`."""
        return self._walk(commit, depth, downwards=True)

    def _walk(self, commit: str, depth: int | None, *, downwards: bool) -> list[Commit]:
        steps = checked_number(depth, "depth")
        with self._database.read() as txn:
            start = references.find_commit(txn, self._pfs.parse(commit))
            found = walk_commits(txn, start, downwards=downwards, depth=MOST_STEPS if steps is None else min(steps, MOST_STEPS))
        return [one for one in found if one.repo.type is RepoType.USER] if steps != 0 else []

    def clear_commit(self, commit: str) -> Commit:
        """Takes back everything that was put into an open commit so far. Raises StateError `commit-finished`, `output-branch`."""
        return self._pfs.clear_commit(commit)

    def find_commit(self, file: str, *, limit: int | None = None) -> Iterator[Change]:
        """Yields the commits that added, changed or deleted `repo@ref:/path`, each with its `op`, from that commit backwards.

        Raises:
            NotFoundError: as `inspect_commit`.
            InvalidError: `path-missing`, `argument-invalid`.
        """
        return self._pfs.find_commit(file, limit=checked_number(limit, "limit"))

    # Changing files

    @contextlib.contextmanager
    def modify_file(self, target: str, *, description: str = "") -> Iterator[FileChanges]:
        """Changes of one block as one commit on a branch, from nothing to finished when the block ends; nothing at all when it raises.

        While a commit is open on the branch, or when `target` names one that is open, the changes join that. Others may write to the branch meanwhile.

        Raises:
            NotFoundError: `repo-not-found`, `commit-not-found`.
            StateError: `commit-finished`, `output-branch`, `file-open`.
            InvalidError: `path-conflict`.
            ConflictError: `branch-busy`.
        """
        with self._pfs.modify_file(target, description=checked_text(description, "description")) as files:
            changes = FileChanges(self._pfs, files)
            try:
                yield changes
            finally:
                changes.end()
            check_all_closed(changes)
        tell_commit(changes, files.commit)

    def put_file(self, file: str, data: Data, *, append: bool = False, description: str = "") -> Commit:
        """Writes one file, `repo@branch:/path`, and returns the commit. Errors as `modify_file` and `FileChanges.put_file`."""
        with self.modify_file(file, description=description) as changes:
            changes.put_file(self._path(file), data, append=append)
        return changes.commit

    def delete_file(self, file: str, *, recursive: bool = False, description: str = "") -> Commit:
        """Removes a file, or with `recursive` a directory, and returns the commit. What does not exist is no error. Errors as `modify_file`."""
        with self.modify_file(file, description=description) as changes:
            changes.delete_file(self._path(file), recursive=recursive)
        return changes.commit

    def copy_file(self, source: str, target: str, *, append: bool = False) -> Commit:
        """Copies a file or directory, also to another repo, without moving its content. Returns the commit. Raises NotFoundError `file-not-found`."""
        return self._pfs.copy_file(source, target, append=append)

    @property
    def file_sets(self) -> FileSets:
        """Files that are in no commit: made, put together, added to commits."""
        return FileSets(lambda: self._pfs)

    # Reading files

    def inspect_file(self, file: str) -> FileInfo:
        """One file or directory. Raises NotFoundError `file-not-found`."""
        return self._pfs.inspect_file(file)

    def list_file(self, directory: str, *, number: int | None = None, after: str | None = None) -> list[FileInfo]:
        """What is directly in a directory, by name; of a file the file itself.

        Args:
            number: at most so many.
            after: a path that was listed before; only what comes behind it. Name the commit by its id, so that all parts are of one version.

        Raises:
            NotFoundError: `file-not-found`.
            InvalidError: `argument-invalid`, `path-invalid`.
        """
        most, last = checked_number(number, "number"), None if after is None else clean_path(after)
        found = (info for entries in self._pfs.list_entries(directory) for info in file_infos(entries) if last is None or info.path > last)
        return list(itertools.islice(found, most))

    def glob_file(self, pattern: str) -> list[FileInfo]:
        """The files and directories that `repo@ref:/pattern` matches. Raises InvalidError `glob-invalid`."""
        return file_infos(self._pfs.glob_file(pattern, self._path(pattern)))

    def walk_file(self, directory: str) -> Iterator[FileInfo]:
        """A directory and everything below it, each directory before what is in it. Raises NotFoundError `file-not-found`."""
        found = self._pfs.files(directory).walk(self._pfs.parse(directory).path or "/")
        return (info for start in range(0, len(found), _ROWS_AT_ONCE) for info in file_infos(found.slice(start, _ROWS_AT_ONCE)))

    def diff_file(self, new: str, old: str | None = None, *, shallow: bool = False) -> list[FileDiff]:
        """The files and directories that differ between two versions; without `old`, from what the commit was made upon. Costs what differs.

        Args:
            shallow: nothing deeper than the children of the path.

        Raises:
            NotFoundError: `file-not-found`, when neither has the path.
        """
        after = comparing.side(self._pfs, new)
        before = comparing.parent_side(self._pfs, new) if old is None else comparing.side(self._pfs, old)
        return comparing.differences(self._pfs, before, after, shallow=shallow)

    def get_file(self, file: str) -> bytes:
        """All bytes of one file, verified. Raises NotFoundError `file-not-found`, InvalidError `not-a-file`."""
        return b"".join(self._pfs.get_file(file))

    def get_files(self, commit: str, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Many files of one commit, as (path, bytes), read together where they lie together; in no particular order, each once.

        Raises:
            NotFoundError: `file-not-found`, before the first.
            InvalidError: `not-a-file`.
        """
        found = self._pfs.files(commit).find_contents(paths)
        return zip(found, self._pfs.reader.read_many(list(found.values())), strict=True)

    @overload
    def open_file(self, file: str, mode: Literal["rb", "wb", "ab"] = "rb") -> BinaryIO: ...
    @overload
    def open_file(self, file: str, mode: Literal["r", "w", "a"], *, encoding: str = "utf-8") -> TextIO: ...
    def open_file(self, file: str, mode: str = "rb", *, encoding: str = "utf-8") -> Any:
        """Opens one file of a commit, `repo@ref:/path`, as Python's `open` does.

        `rb` and `r` read, anywhere in the file and no more than what is asked for; the file stays what it was when it was opened, wherever the branch goes.
        `wb` and `w` replace the file, `ab` and `a` append to it: in a commit of its own, made when the file is closed, or not at all when its block raises.

        Raises:
            NotFoundError: `file-not-found`, and those of `inspect_commit`.
            InvalidError: `not-a-file`, `mode-invalid`, and when writing those of `modify_file`.
        """
        if mode in ("rb", "r"):
            content = ReadableContent(self._pfs.reader, self._pfs.find_content(file, self._path(file)), file)
            return content if mode == "rb" else io.TextIOWrapper(content, encoding=encoding)
        return open_to_write(file, mode, self._writable, encoding=encoding)

    def _writable(self, file: str, *, append: bool) -> WritableContent:
        """A file to write to, whose commit is made when it is closed."""
        path = self._path(file)
        with contextlib.ExitStack() as opening:
            files = opening.enter_context(self._pfs.modify_file(file))
            rest = opening.pop_all()

        def keep(content: Any) -> None:
            with rest:
                files.put_content(path, content, append=append)

        def discard() -> None:
            with contextlib.suppress(_Discarded), rest:
                raise _Discarded

        return WritableContent(files.writer, contextlib.nullcontext(), keep, discard, file)

    def _path(self, reference: str) -> str:
        path = self._pfs.parse(reference).path
        if path is None:
            raise InvalidError("path-missing", f"'{reference}' has no path; write {reference}:/path")
        return path


class _Discarded(Exception):
    """Ends the staging of a file that was given up."""


def commit_reference(commit: Commit) -> str:
    """The reference that names a commit for every client, whatever its project."""
    name = commit.repo.name if commit.repo.type == "user" else f"{commit.repo.name}.{commit.repo.type}"
    return f"{commit.repo.project}/{name}@{commit.id}"
