"""Squash, drop and forget: what takes commits, or their content, away again (docs/design/0005).

Every tree is whole, so nothing is merged: a squashed commit's children get its parent for their own, and keep what they hold.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import sqlalchemy as sa

from pachyderm_dagster.errors import InvalidError, StateError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, commits
from pachyderm_dagster.pfs.horizon import release_commits
from pachyderm_dagster.pfs.model import Commit, Origin, RepoType
from pachyderm_dagster.pfs.provenance import all_edges, find_unread, upstream_closure, upstream_ids
from pachyderm_dagster.pfs.subvenance import list_subvenance

MOST_NAMED = 10


def squash_set(txn: Transaction, set_id: str) -> list[Commit]:
    """Removes every commit of a set and keeps what it wrote: that is part of each one's children. Returns the commits as they were.

    Raises:
        NotFoundError: `commit-set-not-found`.
        StateError: `commit-without-children`; `commit-open`, when a child is; `commit-in-use`, when commits of other sets were made from it.
    """
    return _remove_set(txn, set_id, squash=True)


def drop_set(txn: Transaction, set_id: str) -> list[Commit]:
    """Removes every commit of a set with what it wrote. Returns the commits as they were.

    Raises:
        NotFoundError: `commit-set-not-found`.
        StateError: `commit-has-children`; `commit-in-use`, when commits of other sets were made from it.
    """
    return _remove_set(txn, set_id, squash=False)


def squash_commit(txn: Transaction, commit_id: int, *, recursive: bool = False) -> list[Commit]:
    """Removes one commit as `squash_set` does; `recursive` takes what was made from it too."""
    return _remove_one(txn, commit_id, squash=True, recursive=recursive)


def drop_commit(txn: Transaction, commit_id: int, *, recursive: bool = False) -> list[Commit]:
    """Removes one commit, open or finished, as `drop_set` does; `recursive` takes what was made from it too."""
    return _remove_one(txn, commit_id, squash=False, recursive=recursive)


def abandon_commit(txn: Transaction, commit_id: int) -> None:
    """Drops a commit that is still open, with what waits for it; one that somebody else has finished stays."""
    if commits.get_commit(txn, commit_id).finished is None:
        drop_commit(txn, commit_id, recursive=True)


def forget_commit(txn: Transaction, commit_id: int) -> Commit:
    """Gives up the content of an output commit; the record of it stays. Returns the commit.

    Raises:
        InvalidError: `not-an-output`, for what no pipeline wrote.
        StateError: `commit-open`, when it or a child is; `commit-forgotten`; `commit-in-use`, when a branch, a job or a later commit still needs it.
    """
    commit = commits.get_commit(txn, commit_id)
    if commit.origin is not Origin.AUTO or not commit.direct_provenance:
        raise InvalidError("not-an-output", f"commit '{commit}' was not written by a pipeline, so nothing could make its content again")
    if commit.finished is None:
        raise StateError("commit-open", f"commit '{commit}' is still open; `pachctl stop job` ends what writes it")
    commits.check_content(commit)
    heads = txn.all(sa.select(t.branch.c.name).where(t.branch.c.head_id == commit_id).order_by(t.branch.c.name))
    if heads:
        raise StateError("commit-in-use", f"commit '{commit}' is the head of branch '{commit.repo}@{heads[0].name}'; only what a later commit replaced can go")
    _check_children_finished(txn, [commit])
    _check_content_kept(txn, [commit])
    readers = [found for found in list_subvenance(txn, commit_id) if found.finished is None]
    if readers:
        raise StateError("commit-in-use", f"commit '{commit}' is still to be read for {_named(readers)}; wait for that, or stop it")
    release_commits(txn, sa.select(t.commit.c.id).where(t.commit.c.id == commit_id))
    txn.run(sa.update(t.commit).where(t.commit.c.id == commit_id).values(tree=None, forgotten=True))
    return commits.get_commit(txn, commit_id)


def _remove_set(txn: Transaction, set_id: str, *, squash: bool) -> list[Commit]:
    members = commits.get_set(txn, set_id)
    _check_unused(txn, members, "squash or delete those commit sets first")
    return _remove(txn, members, named={commit.key for commit in members}, squash=squash)


def _remove_one(txn: Transaction, commit_id: int, *, squash: bool, recursive: bool) -> list[Commit]:
    named = _with_partners(txn, {commit_id})
    doomed = _with_subvenance(txn, named) if recursive else named
    found = commits.list_rows(txn, sa.select(t.commit.c.id).where(t.commit.c.id.in_(doomed)))
    _check_unused(txn, found, "-r takes them too")
    return _remove(txn, found, named=named, squash=squash)


def _with_partners(txn: Transaction, keys: set[int]) -> set[int]:
    """With an output commit goes the meta commit of the same job, and the other way round: one without the other is of no use."""
    repo, other_repo, other = t.repo, t.repo.alias("other_repo"), t.commit.alias("other")
    rows = txn.all(
        sa.select(other.c.id)
        .join_from(t.commit, repo, t.commit.c.repo_id == repo.c.id)
        .join(other_repo, sa.and_(other_repo.c.project_id == repo.c.project_id, other_repo.c.name == repo.c.name))
        .join(other, sa.and_(other.c.repo_id == other_repo.c.id, other.c.set_id == t.commit.c.set_id))
        .where(t.commit.c.id.in_(keys), repo.c.type != RepoType.SPEC, other_repo.c.type != RepoType.SPEC)
    )
    return keys | {int(row.id) for row in rows}


def _with_subvenance(txn: Transaction, keys: set[int]) -> set[int]:
    found = set(keys)
    while True:
        below = txn.all(sa.select(t.commit_provenance.c.commit_id).where(t.commit_provenance.c.upstream_id.in_(found)))
        larger = _with_partners(txn, found | {int(row.commit_id) for row in below})
        if larger == found:
            return found
        found = larger


def _remove(txn: Transaction, doomed: Sequence[Commit], *, named: Collection[int], squash: bool) -> list[Commit]:
    """Takes commits out of the record, heads and parents going past them.

    Args:
        named: those that the caller asked for; what else is doomed was made from them, and is made again where it also read something that stays.
    """
    specs = [commit for commit in doomed if commit.repo.type is RepoType.SPEC]
    if specs:
        raise StateError("commit-in-use", f"commit '{specs[0]}' is a version of pipeline '{specs[0].repo.name}', which is deleted only with all of them")
    if squash:
        _check_children_exist(txn, doomed)
        _check_children_finished(txn, doomed)
        _check_content_kept(txn, doomed)
    else:
        # Nothing builds on an open commit, so what came after one that goes along with its source need not go.
        _check_no_children(txn, [commit for commit in doomed if commit.finished is not None or commit.key in named], doomed)
    keys = {commit.key for commit in doomed}
    above = _surviving_parents(txn, keys)
    headless = _headless(txn, keys, above)
    read_before = {branch_id: _read(txn, head_id) for branch_id, head_id, _ in headless}
    if squash:
        _leave_stored(txn, doomed)
    for key, parent in above.items():
        txn.run(sa.update(t.commit).where(t.commit.c.parent_id == key, t.commit.c.id.not_in(keys)).values(parent_id=parent))
    for commit in doomed:
        repo_id = txn.all(sa.select(t.commit.c.repo_id).where(t.commit.c.id == commit.key))[0].repo_id
        txn.insert(t.removed_commit, repo_id=repo_id, set_id=commit.id, removed=txn.clock.now())
    release_commits(txn, sa.select(t.commit.c.id).where(t.commit.c.id.in_(keys)))
    txn.run(sa.update(t.commit).where(t.commit.c.id.in_(keys)).values(parent_id=None))
    txn.run(sa.delete(t.commit).where(t.commit.c.id.in_(keys)))
    txn.new_commits[:] = [key for key in txn.new_commits if key not in keys]
    for branch_id, _, new_head in headless:
        txn.run(sa.update(t.branch).where(t.branch.c.id == branch_id).values(head_id=new_head))
    _give_heads(txn, [(branch_id, head_id in named, read_before[branch_id]) for branch_id, head_id, _ in headless])
    return list(doomed)


def _leave_stored(txn: Transaction, doomed: Sequence[Commit]) -> None:
    """What a squashed commit stored counts for its oldest child, which holds the content now."""
    stored = {commit.key: commit.stored_bytes for commit in doomed}
    for key in sorted(stored):  # parents before children
        child = txn.first(sa.select(t.commit.c.id).where(t.commit.c.parent_id == key).order_by(t.commit.c.id).limit(1))
        if child is None:
            continue
        if child.id in stored:
            stored[child.id] += stored[key]
        else:
            commits.count_stored(txn, child.id, stored[key])


def _headless(txn: Transaction, keys: Collection[int], above: Mapping[int, int | None]) -> list[tuple[int, int, int | None]]:
    """The branches whose head goes: row, old head, new head.

    Raises:
        StateError: `commit-forgotten`, when the new head would have no content.
    """
    found = []
    for row in txn.all(sa.select(t.branch.c.id, t.branch.c.head_id).where(t.branch.c.head_id.in_(keys)).order_by(t.branch.c.id)):
        new_head = above[row.head_id]
        if new_head is not None and commits.get_commit(txn, new_head).forgotten:
            name = branches.branch_name(txn, row.id)
            raise StateError(
                "commit-forgotten", f"the head of branch '{name}' would be '{commits.get_commit(txn, new_head)}', whose content was forgotten; move it first"
            )
        found.append((int(row.id), int(row.head_id), new_head))
    return found


def _give_heads(txn: Transaction, moved: Sequence[tuple[int, bool, set[int]]]) -> None:
    """An empty head where none is left.

    A branch is made again when its new head was not made from all that it is made from by now, or when the old one went along with another commit's
    and had read what the new one has not.

    Args:
        moved: branches, whether each one's old head was asked for, and what that had read.
    """
    stale = []
    edges = all_edges(txn)
    # What is read gets its empty head before what reads it.
    for branch_id, was_named, read_before in sorted(moved, key=lambda branch: len(upstream_closure(edges, branch[0]))):
        (row,) = txn.all(sa.select(t.branch.c.head_id).where(t.branch.c.id == branch_id))
        upstream = upstream_ids(txn, branch_id)
        if was_named or not upstream:
            if row.head_id is None:
                branches.add_empty_root(txn, branch_id)
        else:
            stale.append((branch_id, row.head_id, upstream, read_before))
    for branch_id, head_id, upstream, read_before in stale:
        heads = {found.head_id for found in txn.all(sa.select(t.branch.c.head_id).where(t.branch.c.id.in_(upstream)))}
        if head_id is None or (heads & read_before) - _read(txn, head_id):
            txn.touched_branches.add(branch_id)
    # Last: what a branch is made from may only now have a head again.
    txn.touched_branches.update(branch_id for branch_id, _ in find_unread(txn, [branch_id for branch_id, _, _ in moved]))


def _read(txn: Transaction, commit_id: int) -> set[int]:
    return {int(row.upstream_id) for row in txn.all(sa.select(t.commit_provenance.c.upstream_id).where(t.commit_provenance.c.commit_id == commit_id))}


def _surviving_parents(txn: Transaction, keys: Collection[int]) -> dict[int, int | None]:
    """For each doomed commit its nearest ancestor that stays."""
    parents = {int(row.id): row.parent_id for row in txn.all(sa.select(t.commit.c.id, t.commit.c.parent_id).where(t.commit.c.id.in_(keys)))}
    found: dict[int, int | None] = {}
    # A parent is older than its children, so its own answer is there already.
    for key in sorted(parents):
        above = parents[key]
        found[key] = found.get(above, above) if above is not None else None
    return found


def _check_unused(txn: Transaction, doomed: Sequence[Commit], hint: str) -> None:
    keys = {commit.key for commit in doomed}
    users = [found for found in commits.list_rows(txn, _made_from(keys)) if found.key not in keys]
    if users:
        raise StateError("commit-in-use", f"{_named(users)} {_was(users)} made from {_named(doomed)}; {hint}")


def _made_from(keys: Collection[int]) -> sa.Select[tuple[int]]:
    return sa.select(t.commit_provenance.c.commit_id).where(t.commit_provenance.c.upstream_id.in_(keys))


def _children(txn: Transaction, doomed: Iterable[Commit]) -> dict[int, list[Commit]]:
    """The children of each commit that has any."""
    keys = {commit.key for commit in doomed}
    parents = {row.id: row.parent_id for row in txn.all(sa.select(t.commit.c.id, t.commit.c.parent_id).where(t.commit.c.parent_id.in_(keys)))}
    found: dict[int, list[Commit]] = {}
    for child in commits.list_rows(txn, sa.select(t.commit.c.id).where(t.commit.c.parent_id.in_(keys))):
        found.setdefault(parents[child.key], []).append(child)
    return found


def _check_no_children(txn: Transaction, last: Sequence[Commit], doomed: Sequence[Commit]) -> None:
    keys = {commit.key for commit in doomed}
    children = [child for found in _children(txn, last).values() for child in found if child.key not in keys]
    if children:
        raise StateError("commit-has-children", f"{_named(children)} continued {_named(last)}; `pachctl squash commit` keeps what they built on")


def _check_children_exist(txn: Transaction, doomed: Sequence[Commit]) -> None:
    children = _children(txn, doomed)
    last = [commit for commit in doomed if commit.key not in children]
    if last:
        raise StateError("commit-without-children", f"nothing came after {_named(last)}, so its content would be lost; `pachctl delete commit` gives it up")


def _check_children_finished(txn: Transaction, doomed: Sequence[Commit]) -> None:
    unfinished = [child for found in _children(txn, doomed).values() for child in found if child.finished is None]
    if unfinished:
        raise StateError("commit-open", f"{_named(unfinished)} is not finished and builds on {_named(doomed)}; finish it, or wait for it")


def _check_content_kept(txn: Transaction, doomed: Sequence[Commit]) -> None:
    """What comes after an error builds on the last commit without one, so that one must not go.

    Raises:
        StateError: `commit-in-use`.
    """
    frontier = [commit for commit in doomed if commit.error is None]
    while frontier:
        failed = [child for found in _children(txn, frontier).values() for child in found if child.error is not None or child.finished is None]
        keys = {child.key for child in failed}
        heads = {row.head_id for row in txn.all(sa.select(t.branch.c.head_id).where(t.branch.c.head_id.in_(keys)))}
        needed = [child for child in failed if child.key in heads or child.finished is None]
        if needed:
            raise StateError("commit-in-use", f"what comes after {_named(needed)}, which nothing builds on, would start from {_named(doomed)}")
        frontier = failed


def _named(found: Sequence[Commit]) -> str:
    """Names commits, the user's before those of system repos."""
    names = [f"'{commit}'" for commit in sorted(found, key=lambda commit: (commit.repo.type is not RepoType.USER, commit.key))]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _was(found: Sequence[Commit]) -> str:
    return "was" if len(found) == 1 else "were"
