"""Versioned files for a caller: opens the transactions, stages the content, resolves the references."""

import contextlib
import datetime as dt
import itertools
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from pachyderm_dagster.coordination.changes import Changes, Polling
from pachyderm_dagster.errors import InvalidError, StateError
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs import branches, commits, file_sets, references, removal, repos
from pachyderm_dagster.pfs.attempts import attempts
from pachyderm_dagster.pfs.commit_records import add_record
from pachyderm_dagster.pfs.entries import FileInfo, file_entries, file_infos
from pachyderm_dagster.pfs.file_sets import DEFAULT_TTL, PathRange, StoredFileSet, difference_layer, layers_of_tree, shard_tree
from pachyderm_dagster.pfs.file_trees import FileTree, StoredFiles, check_keeps_files
from pachyderm_dagster.pfs.filesets import FileSet, Layer
from pachyderm_dagster.pfs.finding import Change, find_changes
from pachyderm_dagster.pfs.finishing import Prepared, Staged, Unfinished, find_staged, find_unfinished, finish
from pachyderm_dagster.pfs.group_commit import GroupCommit, Write
from pachyderm_dagster.pfs.horizon import check_not_collected
from pachyderm_dagster.pfs.merged import LastMerged, Merged
from pachyderm_dagster.pfs.merging import merge
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, FILE_SETS_REPO, Branch, Commit, Repo, RepoName, RepoType, Trigger, check_user_repo
from pachyderm_dagster.pfs.named_commits import CommitName, NamedCommits, check_id
from pachyderm_dagster.pfs.object_metadata import edit_metadata, parse_edit
from pachyderm_dagster.pfs.paths import clean_path, key_of
from pachyderm_dagster.pfs.references import Reference, parse_reference, parse_repo
from pachyderm_dagster.pfs.short_references import commit_in
from pachyderm_dagster.pfs.staging import add_layer, load_layer
from pachyderm_dagster.pfs.subscription import Position, take
from pachyderm_dagster.pfs.targets import find_target
from pachyderm_dagster.pfs.triggers import tick_now
from pachyderm_dagster.storage.content import Content, ContentReader, ContentWriter
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.rows import FILE_ROWS
from pachyderm_dagster.storage.trees import TreeRoot, Trees

POLL_SECONDS = 0.2


class Modification(FileSet):
    """A stream of changes on its way into a commit.

    Attributes:
        commit: where the changes went; there when `Pfs.modify_file`'s block has ended.
    """

    commit: Commit


class NewFileSet(FileSet):
    """A file set that is being written.

    Attributes:
        id: its name; there when `Pfs.create_file_set`'s block has ended.
    """

    id: str


ReadMeta = Callable[["Pfs", Commit], FileTree]


class Pfs:
    """Repos, branches, commits and files of one workspace.

    References are texts, `[project/]repo@branch-or-id[:path]`, with `^N` and `.N` for ancestors.

    Args:
        read_meta: makes files of a meta commit, whose tree holds none; nobody can read those without it.
        changes: word of them, for whoever waits; without it the record is looked at again and again.
    """

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        *,
        project: str = DEFAULT_PROJECT,
        read_meta: ReadMeta | None = None,
        changes: Changes | None = None,
    ) -> None:
        self.database = database
        self.changes = changes or Polling()
        self.store = store
        self.trees = Trees(store, FILE_ROWS)
        self.reader = ContentReader(store)
        self._project = project
        self._writes = GroupCommit(database, self.trees, self.reader)
        self._named = NamedCommits(database, self.trees, self.reader)
        self._merged = LastMerged(database)
        self._read_meta = read_meta

    # Repos and branches

    def create_repo(self, repo: str, *, description: str = "", update: bool = False) -> Repo:
        """Makes a repo. `update` changes the description of one that exists. Errors as `repos.create_repo`."""
        name = parse_repo(repo, project=self._project)

        def change(txn: Transaction) -> Repo:
            check_user_repo(name)
            repos.create_repo(txn, name, description=description, update=update)
            return repos.inspect_repo(txn, name)

        return self.database.write(change)

    def inspect_repo(self, repo: str) -> Repo:
        """One repo. Raises NotFoundError `repo-not-found`."""
        with self.database.read() as txn:
            return repos.inspect_repo(txn, parse_repo(repo, project=self._project))

    def delete_repo(self, repo: str, *, force: bool = False) -> None:
        """Removes a repo with all its data. Errors as `repos.delete_repo`."""
        self.database.write(lambda txn: repos.delete_repo(txn, parse_repo(repo, project=self._project), force=force))

    def create_branch(
        self,
        branch: str,
        *,
        head: str | None = None,
        provenance: Sequence[str] = (),
        never: Sequence[str] = (),
        trigger: Trigger | None = None,
        keep_trigger: bool = True,
        force: bool = False,
    ) -> Branch:
        """Makes a branch, moves it to `head`, or gives it other provenance or a trigger. As `branches.create_branch`."""
        name = self.parse(branch).branch()
        sources, unfollowed = ([self.parse(source).branch() for source in given] for given in (provenance, never))

        def change(txn: Transaction) -> Branch:
            head_row = None
            if head is not None:
                head_row = references.find_commit(txn, commit_in(name.repo, head, project=self._project))
            branches.create_branch(txn, name, provenance=sources, never=unfollowed, head=head_row, trigger=trigger, keep_trigger=keep_trigger, force=force)
            return branches.inspect_branch(txn, name)

        return self.database.write(change)

    def inspect_branch(self, branch: str) -> Branch:
        """One branch. Raises NotFoundError `branch-not-found`."""
        with self.database.read() as txn:
            return branches.inspect_branch(txn, self.parse(branch).branch())

    def tick_branch(self, branch: str) -> Commit:
        """Moves a branch with a schedule (`--trigger-cron`) now, whether its time has come or not; the commit that it points at then.

        Raises:
            NotFoundError: `branch-not-found`.
            InvalidError: `no-schedule`; `nothing-to-tick`, when the branch that it follows has no readable commit.
        """
        name = self.parse(branch).branch()

        def change(txn: Transaction) -> Commit:
            found = branches.inspect_branch(txn, name)
            if found.trigger is None or not found.trigger.cron_spec:
                raise InvalidError("no-schedule", f"branch '{name}' moves by no schedule; give it one with `pachctl create branch {name} --trigger-cron`")
            if not tick_now(txn, references.branch_row(txn, name).id):
                raise InvalidError(
                    "nothing-to-tick", f"branch '{found.trigger.branch}', which '{name}' follows, has no finished commit; put files into it first"
                )
            return commits.get_commit(txn, int(references.branch_row(txn, name).head_id))

        return self.database.write(change)

    def delete_branch(self, branch: str, *, force: bool = False) -> None:
        """Removes a branch; its commits stay. Errors as `branches.delete_branch`."""
        self.database.write(lambda txn: branches.delete_branch(txn, self.parse(branch).branch(), force=force))

    def edit_metadata(self, *edits: tuple[str, str, str, str]) -> None:
        """Changes what is noted on objects, all of it or nothing: `("repo", "images", "add", "owner=ann")`. Errors as `parse_edit` and `edit_metadata`."""
        parsed = [parse_edit(*edit, project=self._project) for edit in edits]
        self.database.write(lambda txn: edit_metadata(txn, parsed))

    # Commits

    def start_commit(self, branch: str, *, parent: str | None = None, description: str = "") -> Commit:
        """Opens a commit on a branch. `parent` forks from another commit of the repo. Errors as `commits.start_commit`."""
        name = self.parse(branch).branch()

        def change(txn: Transaction) -> Commit:
            above = None
            if parent is not None:
                above = references.find_commit(txn, commit_in(name.repo, parent, project=self._project))
            return commits.get_commit(txn, commits.start_commit(txn, name, parent=above, description=description))

        return self.database.write(change)

    def finish_commit(self, reference: str, *, description: str | None = None, error: str | None = None) -> Commit:
        """Closes an open commit: its content is put together, then it never changes.

        Raises:
            StateError: `commit-finished`, `output-branch`.
            InvalidError: `path-conflict`; the commit stays open, so that the files can be put right.
        """
        with self.database.read() as txn:
            key = references.find_commit(txn, self.parse(reference))
        for _ in attempts(f"commit '{reference}'"):
            finished = self._finish(key, error, description)
            if finished is not None:
                return finished
        raise AssertionError("attempts() raises when there are no more")

    def _finish(self, key: int, error: str | None, description: str | None) -> Commit | None:
        """Finishes a commit with what is staged on it; None when that changed meanwhile."""
        with self.database.read() as txn:
            asked = find_unfinished(txn, key, error=error, description=description)
        prepared = self.prepare_finish(asked)
        return self.database.write(lambda txn: finish(txn, key, prepared))

    def prepare_finish(self, asked: Unfinished, *, trial: bool = False) -> Prepared:
        """Stores what a commit will hold, and its record, unless this is only a `trial`. Raises InvalidError `path-conflict`."""
        with ContentWriter(self.store) as writer:
            try:
                merged = self._merge_into(writer, asked.staged)
            except InvalidError as error:
                if error.code != "path-conflict":
                    raise
                at = f"{RepoName(asked.record.project, asked.record.repo, RepoType(asked.record.repo_type))}@{asked.record.id}"
                ways = f"the commit stays open: `pachctl delete file {at}:/PATH` takes one of them out, `pachctl clear commit {at}` everything"
                raise InvalidError(error.code, f"{error.message}; {ways}") from error
            record = asked.as_finished(merged.root.encode(), merged.root.size_bytes, self.database.clock.now(), stored_bytes=writer.stored_bytes)
            if not trial:
                add_record(writer.packs, record)
        return Prepared(asked.staged, record, merged.since)

    def inspect_commit(self, reference: str) -> Commit:
        """One commit. Raises NotFoundError `commit-not-found`, `branch-not-found`, `repo-not-found`."""
        with self.database.read() as txn:
            return commits.get_commit(txn, references.find_commit(txn, self.parse(reference)))

    def subscribe_commit(self, reference: str, *, stop: Callable[[], bool]) -> Iterator[Commit]:
        """Yields the commits of a repo or branch once they are finished, from the oldest on, until `stop()`. Raises NotFoundError `repo-not-found`."""
        at, position = self.parse(reference), Position()
        with self.changes.watch() as watcher:
            while not stop():
                with self.database.read() as txn:
                    finished, position = take(txn, at, position)
                yield from finished
                if not finished:
                    watcher.wait(POLL_SECONDS, POLL_SECONDS)

    def drop_commit(self, reference: str, *, recursive: bool = False) -> list[Commit]:
        """Removes a commit, open or finished, with what it wrote, and returns what was removed. `recursive` takes what was made from it too.

        Errors as `inspect_commit` and `removal.drop_commit`.
        """
        return self.database.write(lambda txn: removal.drop_commit(txn, references.find_commit(txn, self.parse(reference)), recursive=recursive))

    def abandon_commit(self, reference: str) -> None:
        """Drops a commit if it is still open, with what waits for it. Raises NotFoundError as `inspect_commit`."""
        self.database.write(lambda txn: removal.abandon_commit(txn, references.find_commit(txn, self.parse(reference))))

    def squash_commit(self, reference: str, *, recursive: bool = False) -> list[Commit]:
        """Removes a commit and leaves what it wrote to the next one. Errors as `inspect_commit` and `removal.squash_commit`."""
        return self.database.write(lambda txn: removal.squash_commit(txn, references.find_commit(txn, self.parse(reference)), recursive=recursive))

    def drop_commit_set(self, set_id: str) -> list[Commit]:
        """Removes every commit of a set with what it wrote. Errors as `removal.drop_set`."""
        return self.database.write(lambda txn: removal.drop_set(txn, set_id))

    def squash_commit_set(self, set_id: str) -> list[Commit]:
        """Removes every commit of a set and leaves what it wrote to the next ones. Errors as `removal.squash_set`."""
        return self.database.write(lambda txn: removal.squash_set(txn, set_id))

    def forget_commit(self, reference: str) -> Commit:
        """Gives up the content of an output commit. Errors as `inspect_commit` and `removal.forget_commit`."""
        return self.database.write(lambda txn: removal.forget_commit(txn, references.find_commit(txn, self.parse(reference))))

    def find_commit(self, path: str, *, limit: int | None = None) -> Iterator[Change]:
        """The commits that added, changed or deleted `repo@ref:/path`, from that commit backwards, newest first. Errors as `inspect_commit`.

        Raises:
            InvalidError: `path-missing`, when the reference has no path.
        """
        at = self.parse(path)
        if at.path is None:
            raise InvalidError("path-missing", f"'{at}' names no path; write repo@branch:/path")
        with self.database.read() as txn:
            start = references.find_commit(txn, at)
        changes = (change for change in find_changes(self.database, self.trees, start, clean_path(at.path)) if change is not None)
        return itertools.islice(changes, limit)

    def clear_commit(self, reference: str) -> Commit:
        """Takes back everything that was put into an open commit so far. Raises StateError `commit-finished`, `output-branch`."""

        def change(txn: Transaction) -> Commit:
            key = references.find_commit(txn, self.parse(reference))
            commits.clear_commit(txn, key)
            return commits.get_commit(txn, key)

        return self.database.write(change)

    # Changing files

    @contextlib.contextmanager
    def modify_file(self, reference: str, *, description: str = "", joins_open: bool = True) -> Iterator[Modification]:
        """Stages changes and applies all of them when the block ends, none when it raises.

        On a branch whose head is finished this is a commit of its own; on one whose head is open, or on an open commit, the changes join it.
        Behind the block, `commit` of what it gave is the commit that the changes went into.

        Args:
            joins_open: without it an open head is refused, so that the changes are a commit of their own.

        Raises:
            StateError: `commit-finished`, `output-branch`; `commit-open`.
            InvalidError: `path-conflict`.
            ConflictError: `branch-busy`, when other writers were always faster; `write-collected`, when it took longer than the collector's grace.
        """
        target = self.parse(reference).without_path()
        with self._merged.writing() as since, ContentWriter(self.store) as writer:
            if not self._writes.is_busy(target):
                with self.database.read() as txn:
                    find_target(txn, target)  # what cannot be written to is said before content is read
            files = Modification(writer)
            yield files
            files.commit = self._writes.write(target, Write(files.layers(durable=False), writer, description, since, joins_open=joins_open))

    @contextlib.contextmanager
    def write_once(self, branch: str, name: CommitName) -> Iterator[Modification]:
        """Changes of one block as one commit under an id that the caller chose; when a commit has it, that one, and nothing changes.

        So whoever was killed can start again. Errors as `modify_file` and `NamedCommits.write`; InvalidError `name-invalid`, for the id.
        """
        target = self.parse(branch).branch()
        check_id(name.id)
        with self._merged.writing() as since, ContentWriter(self.store) as writer:
            files = Modification(writer)
            yield files
            files.commit = self._named.write(target, name, files.layers(), writer, since)

    def copy_file(self, source: str, target: str, *, append: bool = False) -> Commit:
        """Copies a file or a directory by reference, also across repos: no content moves. Returns the commit that the copy went into.

        Raises:
            NotFoundError: `file-not-found`.
            InvalidError: `path-missing`, when a reference has no path.
        """
        at, to = self.parse(source), self.parse(target)
        if at.path is None or to.path is None:
            raise InvalidError("path-missing", "copy takes two references with a path: repo@branch:/path")
        with self.modify_file(target) as files:
            # Within the block: what is referred to must have been found after the write began.
            rows = self.files(source).rows_below(at.path)
            files.copy_rows(rows, at.path, to.path, append=append)
        return files.commit

    # File sets

    @contextlib.contextmanager
    def create_file_set(self, *, ttl: dt.timedelta = DEFAULT_TTL) -> Iterator[NewFileSet]:
        """Keeps what is written in the block, in no commit, for `ttl` (1 s to 30 min) or until it was last renewed for; nothing when the block raises.

        Behind the block, `id` of what it gave names the file set; its files are read as `__filesets__@ID:/path`.

        Raises:
            InvalidError: `ttl-invalid`, and as `FileSet`.
            ConflictError: `write-collected`.
        """
        with self._merged.writing() as since, ContentWriter(self.store) as writer:
            files = NewFileSet(writer)
            yield files
            staged = [add_layer(writer.packs, layer) for layer in files.layers(durable=False)]
        files.id = self._keep_file_set(since, None, staged, ttl)

    def get_file_set(self, reference: str, *, diff: bool = False, ttl: dt.timedelta = DEFAULT_TTL) -> str:
        """Keeps the content of a commit, or with `diff` what it changed, under the id of a new file set, whatever becomes of the commit. Errors as `root`."""
        with self._merged.writing() as since:
            new = self.root(reference)
        if not diff:
            return self._keep_file_set(since, new.encode(), (), ttl)
        with self.database.read() as txn:
            old = commits.base_tree(txn, references.find_commit(txn, self.parse(reference)))
        with ContentWriter(self.store) as writer:
            staged = [add_layer(writer.packs, difference_layer(self.trees, self.trees.decode(old), new))]
        return self._keep_file_set(since, None, staged, ttl)

    def renew_file_set(self, file_set: str, *, ttl: dt.timedelta = DEFAULT_TTL) -> None:
        """Lets a file set live for `ttl` from now. Raises NotFoundError `file-set-not-found`, InvalidError `ttl-invalid`."""
        self.database.write(lambda txn: file_sets.renew_file_set(txn, file_set, ttl))

    def add_file_set(self, reference: str, file_set: str) -> Commit:
        """Does in a commit what was done in a file set: its files replace those of the same paths. Where it goes, and errors, as `modify_file`.

        Raises:
            NotFoundError: `file-set-not-found`.
        """
        with self.modify_file(reference) as files:
            files.add_layers(self._layers_of(self._get_file_set(file_set)))
        return files.commit

    def compose_file_set(self, first: str, *others: str, ttl: dt.timedelta = DEFAULT_TTL) -> str:
        """A new file set of several, as if each had been written above the one before. Raises NotFoundError `file-set-not-found`."""
        since = self.database.clock.now()
        base = self._get_file_set(first)
        staged = list(base.layers)
        with ContentWriter(self.store) as writer:
            for found in map(self._get_file_set, others):
                below = [] if found.tree is None else layers_of_tree(self.trees, self.trees.decode(found.tree))
                staged += [*(add_layer(writer.packs, layer) for layer in below), *found.layers]
        return self._keep_file_set(since, base.tree, staged, ttl)

    def shard_file_set(self, file_set: str, *, files: int | None = None, size_bytes: int | None = None) -> list[PathRange]:
        """Ranges of paths, one for each reader: each has `files` files, or as many as bring it to `size_bytes`. Errors as `file_sets.shard_tree`."""
        return shard_tree(self.trees, self.root(f"{FILE_SETS_REPO}@{file_set}"), files=files, size_bytes=size_bytes)

    def list_range(self, reference: str, paths: PathRange) -> pa.Table:
        """The files of a commit or file set in a range, in order: columns path, type, size, hash."""
        bounds = [None if path is None else key_of(path) for path in (paths.start, paths.stop)]
        return file_entries(self.trees.table(self.root(reference), *bounds))

    def _keep_file_set(self, since: dt.datetime, tree: bytes | None, layers: Sequence[bytes], ttl: dt.timedelta) -> str:
        def change(txn: Transaction) -> str:
            check_not_collected(txn, since)
            return file_sets.create_file_set(txn, tree=tree, layers=layers, ttl=ttl)

        return self.database.write(change)

    def _get_file_set(self, file_set: str) -> StoredFileSet:
        with self.database.read() as txn:
            return file_sets.get_file_set(txn, file_set)

    def _layers_of(self, found: StoredFileSet) -> list[Layer]:
        below = [] if found.tree is None else layers_of_tree(self.trees, self.trees.decode(found.tree))
        return [*below, *(load_layer(self.store, layer) for layer in found.layers)]

    # Reading files

    def root(self, reference: str) -> TreeRoot:
        """The content of a commit; of an open one, what it would be if it were finished now.

        Raises:
            NotFoundError: as `inspect_commit`.
            NotFoundError: `file-set-not-found`, for `__filesets__@ID`.
            StateError: `commit-open`, for a commit that a pipeline is still writing; `commit-forgotten`.
            InvalidError: `meta-repo`, for one whose files are made when they are read, by `files`.
        """
        at = self.parse(reference)
        check_keeps_files(at.repo)
        if at.repo.name == FILE_SETS_REPO:
            found = self._get_file_set(at.ref or "")
            return self._look_at_staged((found.tree, tuple(found.layers)))
        with self.database.read() as txn:
            commit = commits.get_commit(txn, references.find_commit(txn, at))
            if commit.finished is not None:
                commits.check_content(commit)
                return self.trees.decode(commit.tree)
            if commits.is_written_by_job(txn, commit):
                raise StateError("commit-open", f"commit '{commit}' is still being written by its job; `pachctl wait commit {commit}` waits for it")
            staged = find_staged(txn, commit.key)
        return self._look_at_staged(staged)

    def files(self, reference: str) -> FileTree:
        """The files of a commit; of a meta commit what each datum read, wrote, took and said. Errors as `root`, without `meta-repo`."""
        at = self.parse(reference)
        if at.repo.type is not RepoType.META or self._read_meta is None:
            return StoredFiles(self.trees, self.root(reference), str(at.without_path()))
        with self.database.read() as txn:
            commit = commits.get_commit(txn, references.find_commit(txn, at))
        if commit.finished is None:
            raise StateError("commit-open", f"commit '{commit}' is still being written by its job; `pachctl wait commit {commit}` waits for it")
        commits.check_content(commit)
        return self._read_meta(self, commit)

    def inspect_file(self, reference: str) -> FileInfo:
        """One file or directory. Raises NotFoundError `file-not-found`."""
        return self.files(reference).inspect(self.parse(reference).path or "/")

    def list_file(self, reference: str) -> list[FileInfo]:
        """The children of a directory, with the sizes and hashes of directories. Raises NotFoundError `file-not-found`."""
        return [file for entries in self.list_entries(reference) for file in file_infos(entries)]

    def list_entries(self, reference: str) -> Iterator[pa.Table]:
        """As `list_file`, some at a time: columns path, type, size, hash."""
        return self.files(reference).list(self.parse(reference).path or "/")

    def glob_file(self, reference: str, pattern: str) -> pa.Table:
        """The files and directories that a pattern matches, columns path, type, size, hash. Raises InvalidError `glob-invalid`."""
        return self.files(reference).glob(pattern)

    def get_file(self, reference: str) -> Iterator[bytes]:
        """The content of one file, in pieces. Raises NotFoundError `file-not-found`, InvalidError `not-a-file`."""
        at = self.parse(reference)
        return self.reader.stream(self.find_content(reference, at.path or "/"))

    def find_content(self, reference: str, path: str) -> Content:
        """Where the content of one file lies. Errors as `get_file`."""
        return self.files(reference).find_content(path)

    def parse(self, reference: str) -> Reference:
        """Reads a reference in this workspace's default project. Raises InvalidError `reference-invalid`, `name-invalid`."""
        return parse_reference(reference, project=self._project)

    # Content

    def _look_at_staged(self, staged: Staged) -> TreeRoot:
        """The content of an open commit or a file set. The newest answer is kept."""
        found = self._merged.find_to_read(staged)
        if found is not None:
            return found
        with ContentWriter(self.store) as writer:
            merged = self._merge_anew(writer, staged)
        self._merged.keep(merged)
        return merged.root

    def _merge_into(self, writer: ContentWriter, staged: Staged) -> Merged:
        """The content of an open commit, durable when `writer` was flushed."""
        return self._merged.find(staged) or self._merge_anew(writer, staged)

    def _merge_anew(self, writer: ContentWriter, staged: Staged) -> Merged:
        base, layers = staged
        now = self.database.clock.now()
        root = self.trees.decode(base)
        if layers:
            root = merge(self.trees, self.reader, writer, root, [load_layer(self.store, layer) for layer in layers])
        return Merged(staged, root, now)
