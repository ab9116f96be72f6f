"""Makes repos, commits and branches that came from Pachyderm, with the ids and times that they had there."""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.errors import ExistsError, InvalidError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, commits, repos
from pachyderm_dagster.pfs.filesets import FileSet, Layer
from pachyderm_dagster.pfs.horizon import check_not_collected
from pachyderm_dagster.pfs.merging import merge
from pachyderm_dagster.pfs.model import BranchName, Origin, RepoName, is_commit_id
from pachyderm_dagster.pfs.streams import Pieces
from pachyderm_dagster.storage.content import ContentWriter
from pachyderm_dagster.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ArrivingFile:
    """A file of a commit.

    Attributes:
        source: equal for equal content, so that it is stored once.
        read: its bytes, in pieces.
    """

    path: str
    source: str
    read: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class ArrivingCommit:
    """A commit as it was.

    Attributes:
        read: the commits that it was made from: repo, id, and the branch through which it was read.
    """

    repo: str
    id: str
    parent: str | None
    started: dt.datetime
    finished: dt.datetime
    error: str | None
    is_auto: bool
    read: tuple[tuple[str, str, str], ...] = ()


class Arrivals:
    """What comes into a project. What is there already of an import that was interrupted stays.

    Args:
        mark: noted on the repos that are made: where they came from.
    """

    def __init__(self, workspace: Workspace, project: str, mark: str) -> None:
        self._workspace, self._project, self._mark = workspace, project, mark
        self._database, self._pfs = workspace.database, workspace.pfs
        # Of each repo the commit that was made last: its tree, and what each of its files was made of.
        self._last: dict[str, tuple[bytes, dict[str, bytes]]] = {}

    def now(self) -> dt.datetime:
        """The time."""
        return self._database.clock.now()

    def make_repo(self, name: str, description: str) -> None:
        """Makes a repo, unless an import made it.

        Raises:
            ExistsError: `repo-exists`, when somebody else made it.
            InvalidError: `name-invalid`.
        """
        repo = RepoName(self._project, name)

        def change(txn: Transaction) -> None:
            known = next((each for each in repos.list_repo(txn, project=self._project) if each.name == repo), None)
            if known is None:
                key = repos.create_repo(txn, repo, description=description)
                txn.run(sa.update(t.repo).where(t.repo.c.id == key).values(metadata={repos.IMPORTED: self._mark}))
            elif known.metadata.get(repos.IMPORTED) != self._mark:
                raise ExistsError("repo-exists", f"repo '{repo}' exists already and did not come from there; import into a project of its own: --project NAME")

        self._database.write(change)

    def make_head(self, repo: str, branch: str, files: Iterable[ArrivingFile]) -> bool:
        """Has a branch hold these files, by a new commit; false when it does already. Errors as `make_commit`."""
        name = BranchName(RepoName(self._project, repo), branch)
        with self._database.read() as txn:
            found = next((each for each in branches.list_branch(txn, name.repo) if each.name == name), None)
        now, id = self.now(), self._database.clock.new_id()
        head = None if found is None else found.head
        if not self.make_commit(ArrivingCommit(repo, id, head, now, now, None, is_auto=False), files, only_changes=True):
            return False
        self.make_branch(repo, branch, id)
        return True

    def make_commit(self, commit: ArrivingCommit, files: Iterable[ArrivingFile], *, only_changes: bool = False) -> bool:
        """Makes a finished commit with its files; false when it is there already, or with `only_changes` when its parent has the same files.

        Raises:
            InvalidError: `import-invalid`, for an id that is none, or a parent that is not there; `path-invalid`, `path-conflict`.
        """
        if not is_commit_id(commit.id):
            raise InvalidError("import-invalid", f"commit {commit.id!r} of repo '{commit.repo}' has an id that is no UUID")
        repo = RepoName(self._project, commit.repo)
        with self._database.read() as txn:
            repo_id = repos.get_repo(txn, repo)
            if _find(txn, repo_id, commit.id) is not None:
                return False
            parent = None if commit.parent is None else _find(txn, repo_id, commit.parent)
            base = None if parent is None else commits.get_commit(txn, parent).tree
        if commit.parent is not None and parent is None:
            raise InvalidError("import-invalid", f"the parent of commit '{commit.repo}@{commit.id}', {commit.parent}, does not stand before it")
        since = self.now()
        with ContentWriter(self._workspace.store) as writer:
            layers, now = self._changes(writer, commit.repo, base, files)
            root = self._pfs.trees.decode(base)
            tree = merge(self._pfs.trees, self._pfs.reader, writer, root, layers) if layers else root
            stored = writer.stored_bytes
        if only_changes and base is not None and tree.id == root.id:
            return False

        def change(txn: Transaction) -> None:
            check_not_collected(txn, since)
            row = txn.insert(
                t.commit,
                repo_id=repo_id,
                set_id=commit.id,
                parent_id=parent,
                origin=Origin.AUTO if commit.is_auto else Origin.USER,
                started=commit.started,
                finished=commit.finished,
                error=commit.error,
                tree=tree.encode(),
                size_bytes=tree.size_bytes,
                stored_bytes=stored,
                metadata={},
            )
            self._insert_provenance(txn, row, commit)

        self._database.write(change)
        self._last[commit.repo] = tree.encode(), now
        return True

    def _insert_provenance(self, txn: Transaction, row: int, commit: ArrivingCommit) -> None:
        """What a commit was made from, as far as it came along."""
        for name, id, branch in commit.read:
            upstream = repos.find_repo(txn, RepoName(self._project, name))
            above = None if upstream is None else _find(txn, upstream, id)
            if above is not None:
                txn.run(sa.insert(t.commit_provenance).values(commit_id=row, upstream_id=above, branch_name=branch))

    def make_branch(self, repo: str, branch: str, head: str | None) -> None:
        """Makes a branch, or moves it to its head, and has the commits below that bear its name, as far as they have none."""
        name = BranchName(RepoName(self._project, repo), branch)

        def change(txn: Transaction) -> None:
            row = None if head is None else _find(txn, repos.get_repo(txn, name.repo), head)
            if head is not None and row is None:
                raise InvalidError("import-invalid", f"the head of branch '{name}', {head}, is not in the extract")
            branches.create_branch(txn, name, head=row)
            while row is not None:
                below = txn.first(sa.select(t.commit.c.branch_name, t.commit.c.parent_id).where(t.commit.c.id == row))
                if below is None or below.branch_name is not None:
                    break
                txn.run(sa.update(t.commit).where(t.commit.c.id == row).values(branch_name=name.name))
                row = below.parent_id

        self._database.write(change)

    def _changes(self, writer: ContentWriter, repo: str, base: bytes | None, files: Iterable[ArrivingFile]) -> tuple[list[Layer], dict[str, bytes]]:
        """What makes the content of a commit of the one before, and the files that it has then. Nothing is read that the commit before had."""
        before = self._last[repo][1] if repo in self._last and self._last[repo][0] == base else None
        changes, now = FileSet(writer), {}
        if before is None:
            changes.delete_directory("/")
        for file in files:
            now[file.path] = content_digest(file.source.encode())
            if before is None or before.get(file.path) != now[file.path]:
                changes.put_stream(file.path, Pieces(file.read()))
        for path in () if before is None else before.keys() - now.keys():
            changes.delete(path)
        return changes.layers(durable=False), now


def _find(txn: Transaction, repo_id: int, id: str) -> int | None:
    row = txn.first(sa.select(t.commit.c.id).where(t.commit.c.repo_id == repo_id, t.commit.c.set_id == id))
    return None if row is None else int(row.id)
