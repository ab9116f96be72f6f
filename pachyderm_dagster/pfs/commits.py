"""Commits: start, finish, look up, list. Their content is somebody else's: here a tree is an opaque root."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from pachyderm_dagster.errors import InvalidError, NotFoundError, StateError, StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, repos
from pachyderm_dagster.pfs.ancestry import find_readable
from pachyderm_dagster.pfs.commit_records import CommitRecord, load_record
from pachyderm_dagster.pfs.horizon import release_commits, release_layers
from pachyderm_dagster.pfs.model import BranchName, Commit, Origin, RepoName, RepoType
from pachyderm_dagster.pfs.provenance import upstream_ids
from pachyderm_dagster.pfs.triggers import evaluate

_CLOSED_WITH = "finished", "tree", "size_bytes", "error", "description", "stored_bytes"


def start_commit(txn: Transaction, name: BranchName, *, parent: int | None = None, description: str = "") -> int:
    """Opens a commit on a branch, which is made when missing, and moves the head to it. Returns its row.

    `parent` forks from that commit instead of continuing from the head.

    Raises:
        NotFoundError: `repo-not-found`.
        StateError: `output-branch`, when a pipeline writes the branch; `commit-open`, when its head (or `parent`) is not finished; `commit-forgotten`.
    """
    branch_id, head_id = branches.ensure_branch(txn, name)
    if upstream_ids(txn, branch_id):
        raise branches.output_branch(txn, name, branch_id)
    parent = head_id if parent is None else parent
    if parent is not None:
        above = txn.first(sa.select(t.commit.c.finished).where(t.commit.c.id == parent))
        if above is not None and above.finished is None:
            commit = get_commit(txn, parent)
            raise StateError("commit-open", f"commit '{commit}' is still open; finish it before the next one starts (`pachctl finish commit {name}`)")
        readable_tree(txn, parent)
    txn.structure_changed |= parent != head_id  # the head leaves its line
    return add_commit(txn, branch_id, parent=parent, origin=Origin.USER, description=description)


def add_commit(
    txn: Transaction,
    branch_id: int,
    *,
    parent: int | None,
    origin: Origin,
    description: str = "",
    upstream: Iterable[tuple[int, str]] = (),
) -> int:
    """Adds an open commit of this transaction's set to a branch and moves the head; the rules for users are `start_commit`'s.

    Args:
        upstream: the commits it is made from, each with the name of the branch through which it is read.

    Raises:
        InvalidError: `set-conflict`, when the repo has a commit in this set already.
    """
    branch = txn.first(sa.select(t.branch.c.repo_id, t.branch.c.name).where(t.branch.c.id == branch_id))
    assert branch is not None
    if txn.first(sa.select(t.commit.c.id).where(t.commit.c.repo_id == branch.repo_id, t.commit.c.set_id == txn.id)) is not None:
        name = repos.repo_name(txn, branch.repo_id)
        raise InvalidError("set-conflict", f"repo '{name}' would get two commits in one commit set; two of its branches cannot depend on the same change")
    commit_id = txn.insert(
        t.commit,
        repo_id=branch.repo_id,
        set_id=txn.id,
        branch_name=branch.name,
        parent_id=parent,
        origin=origin,
        description=description,
        started=txn.clock.now(),
    )
    for upstream_id, branch_name in upstream:
        txn.run(sa.insert(t.commit_provenance).values(commit_id=commit_id, upstream_id=upstream_id, branch_name=branch_name))
    _move_head(txn, branch_id, commit_id)
    txn.touched_branches.add(branch_id)
    txn.new_commits.append(commit_id)
    return commit_id


def add_recorded(txn: Transaction, branch_id: int, *, parent: int | None, record: CommitRecord, followed: bool) -> int:
    """Adds a commit of a user that is finished at once to a branch and moves the head; the store holds the record. Returns its row.

    It has to be the first of its set.

    Args:
        followed: whether a branch is made from this one or has a trigger on it: then the commit is propagated and may set off triggers.
    """
    commit_id = txn.insert(t.commit, kept=True, **row_of(record, parent=parent, recorded=True))
    _move_head(txn, branch_id, commit_id)
    if followed:
        txn.touched_branches.add(branch_id)
        evaluate(txn, commit_id)
    return commit_id


def _move_head(txn: Transaction, branch_id: int, commit_id: int) -> None:
    # A head that moves to its own child is found again without being told.
    txn.run(_moving_head(), kept=True, row=branch_id, head=commit_id)


def close_commit(
    txn: Transaction,
    commit_id: int,
    *,
    tree: bytes | None,
    size_bytes: int,
    error: str | None = None,
) -> None:
    """Marks an open commit finished, with its content; a record of it is stored after this transaction. Further as `close_recorded`."""
    _close(txn, commit_id, {"finished": txn.clock.now(), "tree": tree, "size_bytes": size_bytes, "error": error}, recorded=False)
    if error is None:
        evaluate(txn, commit_id)


def close_recorded(txn: Transaction, commit_id: int, record: CommitRecord) -> None:
    """Marks an open commit finished as its record, which the store holds, says. What is closed never changes again. Without an error it may set off triggers.

    Raises:
        StateError: `commit-finished`.
    """
    _close(txn, commit_id, {name: getattr(record, name) for name in _CLOSED_WITH}, recorded=True)
    known = load_record(txn, commit_id)
    if msgspec.structs.replace(record, written=known.written, job=known.job) != known:
        # Something else of it changed since the record was made: it needs another one.
        txn.run(sa.update(t.commit).where(t.commit.c.id == commit_id).values(recorded=False))
    if record.error is None:
        evaluate(txn, commit_id)


def replace_failed(txn: Transaction, commit_id: int, tree: bytes) -> None:
    """Gives a commit that was finished with an error another content, of a kind that counts no bytes: what came too late to be in it."""
    mine = sa.select(t.commit.c.id).where(t.commit.c.id == commit_id, t.commit.c.error.is_not(None), t.commit.c.forgotten == sa.false())
    if txn.first(mine) is not None:
        release_commits(txn, mine)
        txn.run(sa.update(t.commit).where(t.commit.c.id == commit_id).values(tree=tree, recorded=False))


def row_of(record: CommitRecord, *, parent: int | None, recorded: bool) -> dict[str, Any]:
    """The columns of a commit as its record says, but for `id`. `parent` is the row of the parent; `recorded` is whether the store's record is true."""
    return {
        "repo_id": record.repo_id,
        "set_id": record.id,
        "branch_name": record.branch,
        "parent_id": parent,
        "origin": record.origin,
        "description": record.description,
        "started": record.started,
        "finished": record.finished,
        "error": record.error,
        "tree": record.tree,
        "size_bytes": record.size_bytes,
        "stored_bytes": record.stored_bytes,
        "forgotten": record.forgotten,
        "recorded": recorded,
        "metadata": record.metadata,
    }


def _close(txn: Transaction, commit_id: int, values: dict[str, Any], *, recorded: bool) -> None:
    closing = sa.update(t.commit).where(t.commit.c.id == commit_id, t.commit.c.finished.is_(None)).values(**values, recorded=recorded)
    if txn.run(closing, kept=recorded) != 1:
        raise StateError("commit-finished", f"commit '{get_commit(txn, commit_id)}' is finished already; a finished commit never changes, start a new one")
    if commit_id not in txn.new_commits:
        _remove_layers(txn, commit_id)


def check_user_may_write(txn: Transaction, commit_id: int) -> Commit:
    """The commit, when it is open and no pipeline writes it.

    Raises:
        StateError: `commit-finished`, `output-branch`.
    """
    commit = get_commit(txn, commit_id)
    if commit.finished is not None:
        raise StateError(
            "commit-finished", f"commit '{commit}' is finished and never changes; `pachctl start commit {commit.repo}@{commit.branch}` begins the next one"
        )
    if is_written_by_job(txn, commit):
        raise StateError("output-branch", f"commit '{commit}' is written by a pipeline; put files into the pipeline's inputs instead")
    return commit


def is_written_by_job(txn: Transaction, commit: Commit) -> bool:
    """Whether an open commit is a job's to write; one that propagation opened on a branch without a pipeline is a user's."""
    written = sa.or_(t.job.c.output_commit_id == commit.key, t.job.c.meta_commit_id == commit.key)
    return commit.origin is Origin.AUTO and txn.first(sa.select(t.job.c.id).where(written)) is not None


def clear_commit(txn: Transaction, commit_id: int) -> None:
    """Takes back what was staged on an open commit.

    Raises:
        StateError: `commit-finished`, `output-branch`.
    """
    check_user_may_write(txn, commit_id)
    _remove_layers(txn, commit_id)


def _remove_layers(txn: Transaction, commit_id: int) -> None:
    release_layers(txn, sa.select(t.commit.c.id).where(t.commit.c.id == commit_id))
    txn.run(sa.delete(t.commit_layer).where(t.commit_layer.c.commit_id == commit_id))


def add_layer(txn: Transaction, commit_id: int, layer: bytes) -> None:
    """Stages one more layer of changes on an open commit."""
    check_user_may_write(txn, commit_id)
    txn.insert(t.commit_layer, commit_id=commit_id, layer=layer)


def count_stored(txn: Transaction, commit_id: int, stored_bytes: int) -> None:
    """Adds what a write into an open commit added to the store."""
    txn.run(sa.update(t.commit).where(t.commit.c.id == commit_id).values(stored_bytes=t.commit.c.stored_bytes + stored_bytes), kept=True)


def list_layer(txn: Transaction, commit_id: int) -> list[bytes]:
    """The staged layers of an open commit, oldest first."""
    rows = txn.all(sa.select(t.commit_layer.c.layer).where(t.commit_layer.c.commit_id == commit_id).order_by(t.commit_layer.c.id))
    return [row.layer for row in rows]


def base_tree(txn: Transaction, commit_id: int) -> bytes | None:
    """The content under a commit's own changes: the tree of its nearest ancestor that is finished without an error; None when there is none."""
    row = txn.first(sa.select(t.commit.c.parent_id).where(t.commit.c.id == commit_id))
    return None if row is None or row.parent_id is None else readable_tree(txn, row.parent_id)


def readable_tree(txn: Transaction, commit_id: int | None) -> bytes | None:
    """The tree of the nearest commit, from this one backwards, that is finished without an error.

    Raises:
        StateError: `commit-forgotten`.
    """
    readable = find_readable(txn, commit_id)
    if readable is None or readable.tree is not None:
        return None if readable is None else bytes(readable.tree)
    check_content(get_commit(txn, readable.id))
    return None


def check_content(commit: Commit) -> None:
    """Does nothing when the commit still has its content.

    Raises:
        StateError: `commit-forgotten`.
    """
    if commit.forgotten:
        raise StateError("commit-forgotten", f"the content of commit '{commit}' was given up by `forget commit`; read another commit, or rerun what made it")


def get_commit(txn: Transaction, commit_id: int) -> Commit:
    """The commit in this row.

    Raises:
        StorageError: `record-unusable`, when something refers to a row that is gone.
    """
    found = list_rows(txn, sa.select(t.commit.c.id).where(t.commit.c.id == commit_id))
    if not found:
        raise StorageError(
            "record-unusable", f"the record refers to row {commit_id} of its commits, which is gone; `pachctl fsck` tells what is damaged, and what mends it"
        )
    return found[0]


def find_parent(txn: Transaction, commit_id: int) -> int | None:
    """The row of the commit that this one changed; None for a root."""
    row = txn.first(sa.select(t.commit.c.parent_id).where(t.commit.c.id == commit_id))
    return None if row is None else row.parent_id


def list_commit(
    txn: Transaction,
    repo: RepoName | None = None,
    *,
    up_to: int | None = None,
    set_id: str | None = None,
    origin: Origin | None = None,
    include_system: bool = False,
    number: int | None = None,
    oldest_first: bool = False,
) -> list[Commit]:
    """Commits, newest first unless told otherwise: of a repo, of the history up to a commit, or of a set.

    Args:
        repo: only this repo's; None lists every user repo's (`include_system`: all).
        up_to: the row of a commit; lists it and its ancestors.
        number: at most so many, from the newest, or from the oldest when that is first.
    """
    if up_to is not None:
        chain = sa.select(t.commit.c.id, t.commit.c.parent_id).where(t.commit.c.id == up_to).cte(recursive=True)
        chain = chain.union_all(sa.select(t.commit.c.id, t.commit.c.parent_id).where(t.commit.c.id == chain.c.parent_id))
        chosen = sa.select(chain.c.id)
    else:
        chosen = sa.select(t.commit.c.id).join(t.repo)
        if repo is not None:
            chosen = chosen.where(t.commit.c.repo_id == repos.get_repo(txn, repo))
        elif not include_system:
            chosen = chosen.where(t.repo.c.type == RepoType.USER)
    if set_id is not None:
        chosen = chosen.where(t.commit.c.set_id == set_id)
    if origin is not None:
        chosen = chosen.where(t.commit.c.origin == origin)
    return list_rows(txn, chosen, number=number, oldest_first=oldest_first)


def list_rows(txn: Transaction, chosen: sa.Select[tuple[int]] | Sequence[int], *, number: int | None = None, oldest_first: bool = False) -> list[Commit]:
    """The commits whose row ids `chosen` selects (or is), newest first unless told otherwise."""
    statement = _rows().where(t.commit.c.id.in_(chosen)).limit(number)
    rows = txn.all(statement.order_by(None).order_by(t.commit.c.id) if oldest_first else statement)
    provenance = _provenance(txn, [row.id for row in rows])
    return [
        Commit(
            key=row.id,
            repo=RepoName(row.project, row.name, RepoType(row.type)),
            id=row.set_id,
            branch=row.branch_name,
            parent=row.parent_set,
            origin=Origin(row.origin),
            description=row.description,
            started=row.started,
            finished=row.finished,
            error=row.error,
            size_bytes=row.size_bytes,
            direct_provenance=provenance.get(row.id, ()),
            tree=bytes(row.tree) if row.tree is not None else None,
            forgotten=row.forgotten,
            stored_bytes=row.stored_bytes,
            metadata=row.metadata,
        )
        for row in rows
    ]


def upstream_commits(txn: Transaction, commit_id: int) -> list[Commit]:
    """The commits that this one was made from, directly."""
    return list_rows(txn, sa.select(t.commit_provenance.c.upstream_id).where(t.commit_provenance.c.commit_id == commit_id))


def read_through(txn: Transaction, commit_id: int) -> dict[BranchName, int]:
    """The commits that this one was made from, by the branch through which each was read."""
    rows = txn.all(
        sa.select(t.commit_provenance.c.upstream_id, t.commit_provenance.c.branch_name, t.repo.c.name, t.repo.c.type, t.project.c.name.label("project"))
        .join_from(t.commit_provenance, t.commit, t.commit_provenance.c.upstream_id == t.commit.c.id)
        .join(t.repo, t.commit.c.repo_id == t.repo.c.id)
        .join(t.project, t.repo.c.project_id == t.project.c.id)
        .where(t.commit_provenance.c.commit_id == commit_id)
    )
    return {BranchName(RepoName(row.project, row.name, RepoType(row.type)), row.branch_name): row.upstream_id for row in rows}


def get_set(txn: Transaction, set_id: str) -> list[Commit]:
    """The commits of a set, newest first, system repos included.

    Raises:
        NotFoundError: `commit-set-not-found`.
    """
    members = list_commit(txn, set_id=set_id, include_system=True)
    if not members:
        raise NotFoundError("commit-set-not-found", f"commit set '{set_id}' does not exist; `pachctl list commit` shows the sets there are")
    return members


def _provenance(txn: Transaction, commit_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    found: dict[int, list[str]] = {}
    for at in range(0, len(commit_ids), 500):
        rows = txn.all(_made_from(), commit_ids=commit_ids[at : at + 500])
        for row in rows:
            found.setdefault(row.commit_id, []).append(f"{RepoName(row.project, row.name, RepoType(row.type))}@{row.set_id}")
    return {commit_id: tuple(names) for commit_id, names in found.items()}


# Statements are made once, by whoever asks first: making one takes longer than running it.
@functools.cache
def _rows() -> sa.Select[Any]:
    parent = t.commit.alias("parent")
    return (
        sa.select(t.commit, parent.c.set_id.label("parent_set"), t.repo.c.name, t.repo.c.type, t.project.c.name.label("project"))
        .join_from(t.commit, t.repo)
        .join(t.project)
        .outerjoin(parent, t.commit.c.parent_id == parent.c.id)
        .order_by(t.commit.c.id.desc())
    )


@functools.cache
def _made_from() -> sa.Select[Any]:
    return (
        sa.select(t.commit_provenance.c.commit_id, t.commit.c.set_id, t.repo.c.name, t.repo.c.type, t.project.c.name.label("project"))
        .distinct()
        .join_from(t.commit_provenance, t.commit, t.commit_provenance.c.upstream_id == t.commit.c.id)
        .join(t.repo, t.commit.c.repo_id == t.repo.c.id)
        .join(t.project, t.repo.c.project_id == t.project.c.id)
        .where(t.commit_provenance.c.commit_id.in_(sa.bindparam("commit_ids", expanding=True)))
        .order_by(t.repo.c.type.desc(), t.repo.c.name)
    )


@functools.cache
def _moving_head() -> sa.Update:
    return sa.update(t.branch).where(t.branch.c.id == sa.bindparam("row")).values(head_id=sa.bindparam("head"))
