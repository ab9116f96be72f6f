"""Branches: heads, and the provenance between them."""

from collections.abc import Sequence

import sqlalchemy as sa

from pachyderm_dagster.errors import InvalidError, NotFoundError, StateError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import references, repos
from pachyderm_dagster.pfs.model import Branch, BranchName, Origin, RepoName, checked_branch_name

Edges = dict[int, set[int]]


def ensure_branch(txn: Transaction, name: BranchName) -> tuple[int, int | None]:
    """The branch's row and head, made without a head when it is missing.

    Raises:
        NotFoundError: `repo-not-found`.
        InvalidError: `name-invalid`.
    """
    repo_id = repos.get_repo(txn, name.repo)
    row = txn.first(sa.select(t.branch.c.id, t.branch.c.head_id).where(t.branch.c.repo_id == repo_id, t.branch.c.name == checked_branch_name(name.name)))
    if row is not None:
        return int(row.id), row.head_id
    return txn.insert(t.branch, repo_id=repo_id, name=name.name, created=txn.clock.now()), None


def create_branch(txn: Transaction, name: BranchName, *, provenance: Sequence[BranchName] = (), head: int | None = None) -> int:
    """Makes a branch, or changes one: `provenance` replaces what it had, `head` moves it. Returns its row.

    A branch with provenance gets an open commit by propagation at the end of the transaction; one without a head gets an empty finished one.

    Raises:
        NotFoundError: `repo-not-found`.
        InvalidError: `provenance-cycle`, when the branch would depend on itself or on its own repo; `head-invalid`, when the head is of another repo.
    """
    branch_id, old_head = ensure_branch(txn, name)
    sources = [_ensure_source(txn, name, source) for source in provenance]
    before = upstream_ids(txn, branch_id)
    _replace_upstream(txn, branch_id, sources)
    _check_acyclic(txn, name, branch_id)
    if head is not None:
        _move_head(txn, name, branch_id, head)
    elif not sources and old_head is None:
        add_empty_root(txn, branch_id)
    if sources and set(sources) != before:
        txn.touched_branches.add(branch_id)
    return branch_id


def set_upstream(txn: Transaction, branch_id: int, sources: Sequence[int]) -> None:
    """Replaces the direct provenance of a branch by rows; with any, it gets a new commit at the end of the transaction."""
    _replace_upstream(txn, branch_id, sources)
    if sources:
        txn.touched_branches.add(branch_id)


def upstream_ids(txn: Transaction, branch_id: int) -> set[int]:
    """The branches that this one is made from, directly."""
    return {row.upstream_id for row in txn.all(sa.select(t.branch_provenance.c.upstream_id).where(t.branch_provenance.c.branch_id == branch_id))}


def all_edges(txn: Transaction) -> Edges:
    """For every branch with provenance, the branches it is made from, directly."""
    edges: Edges = {}
    for row in txn.all(sa.select(t.branch_provenance)):
        edges.setdefault(row.branch_id, set()).add(row.upstream_id)
    return edges


def upstream_closure(edges: Edges, branch_id: int) -> set[int]:
    """Everything that a branch is made from, however far."""
    found: set[int] = set()
    frontier = [branch_id]
    while frontier:
        for source in edges.get(frontier.pop(), ()):
            if source not in found:
                found.add(source)
                frontier.append(source)
    return found


def list_branch(txn: Transaction, repo: RepoName) -> list[Branch]:
    """The branches of a repo, oldest first.

    Raises:
        NotFoundError: `repo-not-found`.
    """
    rows = txn.all(
        sa.select(t.branch.c.id, t.branch.c.name, t.branch.c.created, t.branch.c.metadata, t.commit.c.set_id)
        .join_from(t.branch, t.commit, t.branch.c.head_id == t.commit.c.id, isouter=True)
        .where(t.branch.c.repo_id == repos.get_repo(txn, repo))
        .order_by(t.branch.c.id)
    )
    return [
        Branch(
            name=BranchName(repo, row.name),
            head=row.set_id,
            direct_provenance=tuple(sorted(branch_name(txn, source) for source in upstream_ids(txn, row.id))),
            created=row.created,
            metadata=row.metadata,
        )
        for row in rows
    ]


def inspect_branch(txn: Transaction, name: BranchName) -> Branch:
    """One branch.

    Raises:
        NotFoundError: `repo-not-found`, `branch-not-found`.
    """
    references.branch_row(txn, name)
    return next(branch for branch in list_branch(txn, name.repo) if branch.name == name)


def branch_name(txn: Transaction, branch_id: int) -> BranchName:
    """The name of the branch in this row."""
    row = txn.first(sa.select(t.branch.c.repo_id, t.branch.c.name).where(t.branch.c.id == branch_id))
    if row is None:
        raise NotFoundError("branch-not-found", "the branch was deleted meanwhile")
    return BranchName(repos.repo_name(txn, row.repo_id), row.name)


def delete_branch(txn: Transaction, name: BranchName, *, force: bool = False) -> None:
    """Removes a branch; its commits stay, without a branch label.

    Raises:
        NotFoundError: `branch-not-found`.
        StateError: `branch-in-use`, when another branch is made from it (which `force` overrides) or a pipeline writes it.
    """
    row = references.branch_row(txn, name)
    users = txn.all(sa.select(t.branch_provenance.c.branch_id).where(t.branch_provenance.c.upstream_id == row.id))
    if users and not force:
        names = ", ".join(sorted(f"'{branch_name(txn, user.branch_id)}'" for user in users))
        raise StateError("branch-in-use", f"branch '{name}' is the input of {names}; delete what reads it first, or use --force")
    if upstream_ids(txn, row.id):
        raise StateError("branch-in-use", f"branch '{name}' is written by a pipeline; stop or delete the pipeline first")
    repo_id = repos.get_repo(txn, name.repo)
    txn.run(sa.update(t.commit).where(t.commit.c.repo_id == repo_id, t.commit.c.branch_name == name.name).values(branch_name=None))
    txn.run(sa.delete(t.branch).where(t.branch.c.id == row.id))
    txn.touched_branches.discard(row.id)


def output_branch(name: BranchName) -> StateError:
    """The error for a user's write to what a pipeline writes."""
    return StateError("output-branch", f"branch '{name}' is written by a pipeline; put files into the pipeline's inputs instead")


def _ensure_source(txn: Transaction, name: BranchName, source: BranchName) -> int:
    if source.repo == name.repo:
        raise InvalidError("provenance-cycle", f"branch '{name}' cannot be made from '{source}', a branch of its own repo")
    source_id, head_id = ensure_branch(txn, source)
    if head_id is None and not upstream_ids(txn, source_id):
        add_empty_root(txn, source_id)
    return source_id


def add_empty_root(txn: Transaction, branch_id: int) -> None:
    """A branch that is read must have a head: an empty, finished one. Several of one repo in one transaction share it."""
    row = txn.first(sa.select(t.branch.c.repo_id, t.branch.c.name).where(t.branch.c.id == branch_id))
    assert row is not None
    shared = txn.first(sa.select(t.commit.c.id).where(t.commit.c.repo_id == row.repo_id, t.commit.c.set_id == txn.id))
    now = txn.clock.now()
    if shared is None:
        commit_id = txn.insert(t.commit, repo_id=row.repo_id, set_id=txn.id, branch_name=row.name, origin=Origin.AUTO, started=now, finished=now, size_bytes=0)
        txn.new_commits.append(commit_id)
    else:
        commit_id = shared.id
    txn.run(sa.update(t.branch).where(t.branch.c.id == branch_id).values(head_id=commit_id))


def _move_head(txn: Transaction, name: BranchName, branch_id: int, head: int) -> None:
    row = txn.first(sa.select(t.commit.c.repo_id, t.commit.c.set_id, t.commit.c.forgotten).where(t.commit.c.id == head))
    if row is None or row.repo_id != repos.get_repo(txn, name.repo):
        raise InvalidError("head-invalid", f"the head of branch '{name}' must be a commit of repo '{name.repo}'")
    if row.forgotten:
        raise StateError("commit-forgotten", f"the content of commit '{name.repo}@{row.set_id}' was given up, so no branch can point at it")
    txn.run(sa.update(t.branch).where(t.branch.c.id == branch_id).values(head_id=head))
    txn.touched_branches.add(branch_id)


def _replace_upstream(txn: Transaction, branch_id: int, sources: Sequence[int]) -> None:
    txn.run(sa.delete(t.branch_provenance).where(t.branch_provenance.c.branch_id == branch_id))
    for source in dict.fromkeys(sources):
        txn.run(sa.insert(t.branch_provenance).values(branch_id=branch_id, upstream_id=source))


def _check_acyclic(txn: Transaction, name: BranchName, branch_id: int) -> None:
    edges = all_edges(txn)
    if branch_id in upstream_closure(edges, branch_id):
        raise InvalidError("provenance-cycle", f"branch '{name}' would depend on itself; read another branch, or write one that nothing upstream reads")
    # A repo has one commit in a commit set, so no change may reach two of its branches, one through the other.
    repo_of = {row.id: row.repo_id for row in txn.all(sa.select(t.branch.c.id, t.branch.c.repo_id))}
    for below in edges:
        above = upstream_closure(edges, below)
        twin = next((source for source in above if repo_of[source] == repo_of[below]), None)
        if twin is not None and (below == branch_id or branch_id in above):
            raise InvalidError(
                "provenance-cycle",
                f"branch '{branch_name(txn, below)}' would depend on '{branch_name(txn, twin)}', another branch of its own repo; write to another repo",
            )
