"""Finding the commits that references name, `[project/]repo@ref:/path`."""

import sqlalchemy as sa

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pfs.ancestry import list_ancestor
from pachyderm_dagster.pfs.model import BranchName, is_commit_id

# Who finds a commit has read a reference first; only code that must not import the record reads them from there.
from pachyderm_dagster.pfs.reference_texts import Reference as Reference
from pachyderm_dagster.pfs.reference_texts import parse_reference as parse_reference
from pachyderm_dagster.pfs.reference_texts import parse_repo as parse_repo


def find_commit(txn: Transaction, reference: Reference) -> int:
    """The row of the commit that a reference names.

    An id for which the repo has no commit is looked up in the provenance of the commit set: what the set used of this repo.

    Raises:
        NotFoundError: `repo-not-found`, `branch-not-found`, `commit-not-found`.
        InvalidError: `reference-invalid`, when it names no commit at all.
    """
    repo_id = repos.get_repo(txn, reference.repo)
    if reference.ref is None:
        raise InvalidError("reference-invalid", f"'{reference}' names no commit; write {reference.repo}@branch or {reference.repo}@id")
    start = _commit_with_id(txn, repo_id, reference) if is_commit_id(reference.ref) else _head(txn, repo_id, reference)
    if reference.from_root is None and not reference.back:
        return start
    chain = list_ancestor(txn, start)
    steps = reference.back if reference.from_root is None else len(chain) - reference.from_root + reference.back
    if not 0 <= steps < len(chain) or reference.from_root == 0:
        known = f"'{reference.repo}@{reference.ref}' has {len(chain)} commit{'s' if len(chain) > 1 else ''} up to its root"
        raise NotFoundError("commit-not-found", f"commit '{reference.without_path()}' does not exist; {known}")
    return chain[steps]


def branch_row(txn: Transaction, name: BranchName) -> sa.Row[tuple[int, int | None]]:
    """The row (`id`, `head_id`) of a branch.

    Raises:
        NotFoundError: `repo-not-found`, `branch-not-found` with the branches there are.
    """
    repo_id = repos.get_repo(txn, name.repo)
    row = txn.first(sa.select(t.branch.c.id, t.branch.c.head_id).where(t.branch.c.repo_id == repo_id, t.branch.c.name == name.name))
    if row is None:
        others = [repr(found.name) for found in txn.all(sa.select(t.branch.c.name).where(t.branch.c.repo_id == repo_id).order_by(t.branch.c.name))]
        hint = f"branches of '{name.repo}': {', '.join(others)}" if others else f"'{name.repo}' has no branch yet; the first commit makes one"
        raise NotFoundError("branch-not-found", f"branch '{name}' does not exist; {hint}")
    return row


def _head(txn: Transaction, repo_id: int, reference: Reference) -> int:
    assert reference.ref is not None
    head = branch_row(txn, BranchName(reference.repo, reference.ref)).head_id
    if head is None:
        raise NotFoundError("commit-not-found", f"branch '{reference.repo}@{reference.ref}' has no commit yet; put a file there first")
    return int(head)


def _commit_with_id(txn: Transaction, repo_id: int, reference: Reference) -> int:
    row = txn.first(sa.select(t.commit.c.id).where(t.commit.c.repo_id == repo_id, t.commit.c.set_id == reference.ref))
    if row is not None:
        return int(row.id)
    frontier = [found.id for found in txn.all(sa.select(t.commit.c.id).where(t.commit.c.set_id == reference.ref))]
    seen: set[int] = set()
    while frontier:
        used = txn.all(
            sa.select(t.commit.c.id, t.commit.c.repo_id)
            .join_from(t.commit_provenance, t.commit, t.commit_provenance.c.upstream_id == t.commit.c.id)
            .where(t.commit_provenance.c.commit_id.in_(frontier))
            .order_by(t.commit.c.id.desc())
        )
        for found in used:
            if found.repo_id == repo_id:
                return int(found.id)
        seen.update(frontier)
        frontier = [found.id for found in used if found.id not in seen]
    raise NotFoundError(
        "commit-not-found", f"commit '{reference.without_path()}' does not exist; `pachctl list commit {reference.repo}` shows the commits there are"
    )
