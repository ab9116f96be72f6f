"""Branches: heads, and the provenance between them."""

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from pachyderm_dagster.errors import InvalidError, NotFoundError, StateError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import references, repos
from pachyderm_dagster.pfs.model import DEFAULT_BRANCH, Branch, BranchName, Origin, RepoName, RepoType, Trigger, checked_branch_name
from pachyderm_dagster.pfs.provenance import all_edges, find_siblings, find_twins, find_writer, replace_upstream, upstream_closure, upstream_ids
from pachyderm_dagster.pfs.triggers import find_triggers, remove_trigger, set_trigger


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


def create_branch(
    txn: Transaction,
    name: BranchName,
    *,
    provenance: Sequence[BranchName] = (),
    never: Collection[BranchName] = (),
    head: int | None = None,
    trigger: Trigger | None = None,
    keep_trigger: bool = True,
    force: bool = False,
    by_writer: bool = False,
) -> int:
    """Makes a branch, or changes one: `provenance` replaces what it had, `head` moves it. Returns its row.

    A branch with new provenance gets an open commit by propagation at the end of the transaction; one without a head gets an empty finished one.
    Branches that it is made from, or follows, are made when they are missing.

    Args:
        never: those of the provenance whose commits make none here.
        trigger: what moves it from now on; None keeps what it has, unless `keep_trigger` is false.
        force: even when a pipeline writes the branch and no longer could; that pipeline is stopped at the end of the transaction.
        by_writer: for the pipeline that writes the branch.

    Raises:
        NotFoundError: `repo-not-found`.
        InvalidError: `provenance-cycle`, when the branch would depend on itself or on its own repo; `head-invalid`, when the head is of another repo;
            `provenance-missing`, for one in `never` that is none; `trigger-invalid`.
        StateError: `branch-in-use`, when a pipeline would lose its branch; `commit-forgotten`, for a head without content; at the end of the transaction
            `head-provenance`, for a head that was not made from all of the provenance.
    """
    branch_id, old_head = ensure_branch(txn, name)
    stray = [source for source in never if source not in provenance]
    if stray:
        raise InvalidError("provenance-missing", f"branch '{name}' is not made from '{stray[0]}', so that cannot be left unfollowed; name it as provenance too")
    sources = {source: _ensure_source(txn, name, source) for source in provenance}
    before = upstream_ids(txn, branch_id)
    changed = set(sources.values()) != before
    writer = None if by_writer else find_writer(txn, branch_id)
    if changed and writer is not None:
        if not force:
            raise _written(txn, name, writer, before)
        txn.taken_outputs.add(repos.get_repo(txn, name.repo))
    if changed or sources:
        replace_upstream(txn, branch_id, sources.values(), never=[sources[source] for source in never])
        _check_acyclic(txn, name, branch_id)
    if not keep_trigger:
        remove_trigger(txn, branch_id)
    if trigger is not None:
        set_trigger(txn, branch_id, _ensure_followed(txn, name, trigger), trigger)
    if sources and find_triggers(txn, [branch_id]):
        raise InvalidError("trigger-invalid", f"branch '{name}' cannot have both provenance and a trigger; `--no-trigger` removes the trigger")
    if head is not None:
        _move_head(txn, name, branch_id, head)
        if writer is not None:
            _move_meta_along(txn, name.repo, head)
    elif not sources and old_head is None:
        add_empty_root(txn, branch_id)
    if sources and changed:
        txn.touched_branches.add(branch_id)
    return branch_id


def set_upstream(txn: Transaction, branch_id: int, sources: Sequence[int]) -> None:
    """Replaces the direct provenance of a branch by rows; with any, it gets a new commit at the end of the transaction."""
    replace_upstream(txn, branch_id, sources)
    if sources:
        txn.touched_branches.add(branch_id)


def list_branch(txn: Transaction, repo: RepoName) -> list[Branch]:
    """The branches of a repo, oldest first.

    Raises:
        NotFoundError: `repo-not-found`.
    """
    return _list(txn, repo, t.branch.c.repo_id == repos.get_repo(txn, repo))


def inspect_branch(txn: Transaction, name: BranchName) -> Branch:
    """One branch.

    Raises:
        NotFoundError: `repo-not-found`, `branch-not-found`.
    """
    return _list(txn, name.repo, t.branch.c.id == references.branch_row(txn, name).id)[0]


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
        StateError: `branch-in-use`, when another branch is made from it, or one of the two follows the other by a trigger (which `force` overrides),
            or a pipeline writes it.
    """
    row = references.branch_row(txn, name)
    writer = find_writer(txn, row.id)
    if writer is not None:
        raise StateError("branch-in-use", f"branch '{name}' is written by pipeline '{writer}'; stop or delete the pipeline first")
    if not force:
        _check_unused(txn, name, row.id)
    repo_id = repos.get_repo(txn, name.repo)
    txn.run(sa.update(t.commit).where(t.commit.c.repo_id == repo_id, t.commit.c.branch_name == name.name).values(branch_name=None))
    txn.run(sa.delete(t.branch).where(t.branch.c.id == row.id))
    txn.touched_branches.discard(row.id)
    txn.moved_branches.discard(row.id)


def delete_unused_branch(txn: Transaction, name: BranchName) -> None:
    """Removes a branch, with its trigger, unless it is gone or another branch is made from it or follows it."""
    row = txn.first(sa.select(t.branch.c.id).where(t.branch.c.repo_id == repos.find_repo(txn, name.repo), t.branch.c.name == name.name))
    if row is None:
        return
    made = txn.first(sa.select(t.branch_provenance.c.branch_id).where(t.branch_provenance.c.upstream_id == row.id))
    following = txn.first(sa.select(t.branch_trigger.c.branch_id).where(t.branch_trigger.c.source_id == row.id))
    if made is None and following is None:
        delete_branch(txn, name, force=True)


def output_branch(txn: Transaction, name: BranchName, branch_id: int) -> StateError:
    """The error for a user's write to a branch that is made from others."""
    writer = find_writer(txn, branch_id)
    if writer is not None:
        return StateError("output-branch", f"branch '{name}' is written by pipeline '{writer}'; put files into the pipeline's inputs instead")
    sources = " and ".join(f"'{branch_name(txn, source)}'" for source in sorted(upstream_ids(txn, branch_id)))
    problem = f"branch '{name}' is made from {sources}, and gets its commits when they get theirs; put files there"
    return StateError("output-branch", f"{problem}, or free it with `pachctl create branch {name} --head {name}`")


def _list(txn: Transaction, repo: RepoName, chosen: sa.ColumnElement[bool]) -> list[Branch]:
    rows = txn.all(
        sa.select(t.branch.c.id, t.branch.c.name, t.branch.c.created, t.branch.c.metadata, t.commit.c.set_id)
        .join_from(t.branch, t.commit, t.branch.c.head_id == t.commit.c.id, isouter=True)
        .where(chosen)
        .order_by(t.branch.c.id)
    )
    triggers = find_triggers(txn, [row.id for row in rows])
    edges = txn.all(sa.select(t.branch_provenance).join(t.branch, t.branch_provenance.c.branch_id == t.branch.c.id).where(chosen))
    found = []
    for row in rows:
        sources = sorted((branch_name(txn, edge.upstream_id), bool(edge.never)) for edge in edges if edge.branch_id == row.id)
        found.append(
            Branch(
                name=BranchName(repo, row.name),
                head=row.set_id,
                direct_provenance=tuple(source for source, _ in sources),
                created=row.created,
                never=tuple(source for source, never in sources if never),
                trigger=triggers.get(row.id),
                metadata=row.metadata,
            )
        )
    return found


def _written(txn: Transaction, name: BranchName, writer: str, before: Collection[int]) -> StateError:
    kept = " ".join(f"-p {branch_name(txn, source)}" for source in sorted(before))
    return StateError(
        "branch-in-use",
        f"branch '{name}' is written by pipeline '{writer}', which other provenance would cut off from it; keep what it has with {kept}, "
        "or stop the pipeline with --force",
    )


def _check_unused(txn: Transaction, name: BranchName, branch_id: int) -> None:
    readers = txn.all(sa.select(t.branch_provenance.c.branch_id).where(t.branch_provenance.c.upstream_id == branch_id))
    if readers:
        names = ", ".join(sorted(f"'{branch_name(txn, reader.branch_id)}'" for reader in readers))
        raise StateError("branch-in-use", f"branch '{name}' is the input of {names}; delete what reads it first, or use --force")
    trigger = find_triggers(txn, [branch_id]).get(branch_id)
    if trigger is not None:
        raise StateError("branch-in-use", f"branch '{name}' has a trigger on '{trigger.branch}'; remove that with `create branch --no-trigger`, or use --force")
    followers = txn.all(sa.select(t.branch_trigger.c.branch_id).where(t.branch_trigger.c.source_id == branch_id))
    if followers:
        names = ", ".join(sorted(f"'{branch_name(txn, follower.branch_id)}'" for follower in followers))
        raise StateError("branch-in-use", f"branch '{name}' triggers {names}; delete what follows it first, or use --force")


def _ensure_followed(txn: Transaction, name: BranchName, trigger: Trigger) -> int:
    """The branch that a trigger watches, with a head."""
    if not trigger.branch:
        raise InvalidError("trigger-invalid", f"the trigger of branch '{name}' names no branch to follow")
    source_id, head_id = ensure_branch(txn, BranchName(name.repo, trigger.branch))
    if head_id is None and source_id != ensure_branch(txn, name)[0]:
        add_empty_root(txn, source_id)
    return source_id


def _ensure_source(txn: Transaction, name: BranchName, source: BranchName) -> int:
    if source.repo == name.repo:
        raise InvalidError("provenance-cycle", f"branch '{name}' cannot be made from '{source}', a branch of its own repo")
    source_id, head_id = ensure_branch(txn, source)
    if head_id is None and not upstream_ids(txn, source_id):
        add_empty_root(txn, source_id)
    return source_id


def add_empty_root(txn: Transaction, branch_id: int) -> None:
    """A branch that is read must have a head: an empty, finished one, made from what the branch is. Several of one repo in one transaction share it."""
    row = txn.first(sa.select(t.branch.c.repo_id, t.branch.c.name).where(t.branch.c.id == branch_id))
    assert row is not None
    shared = txn.first(sa.select(t.commit.c.id).where(t.commit.c.repo_id == row.repo_id, t.commit.c.set_id == txn.id))
    now = txn.clock.now()
    if shared is None:
        commit_id = txn.insert(t.commit, repo_id=row.repo_id, set_id=txn.id, branch_name=row.name, origin=Origin.AUTO, started=now, finished=now, size_bytes=0)
        txn.new_commits.append(commit_id)
    else:
        commit_id = shared.id
    _read_heads(txn, branch_id, commit_id)
    txn.run(sa.update(t.branch).where(t.branch.c.id == branch_id).values(head_id=commit_id))


def _read_heads(txn: Transaction, branch_id: int, commit_id: int) -> None:
    """Makes a commit one that was made from the heads of what a branch is made from."""
    source = t.branch.alias("source")
    known = sa.select(t.commit_provenance.c.branch_name).where(
        t.commit_provenance.c.commit_id == commit_id,
        t.commit_provenance.c.upstream_id == source.c.head_id,
        t.commit_provenance.c.branch_name == source.c.name,
    )
    heads = txn.all(
        sa.select(source.c.head_id, source.c.name)
        .join(t.branch_provenance, t.branch_provenance.c.upstream_id == source.c.id)
        .where(t.branch_provenance.c.branch_id == branch_id, source.c.head_id.is_not(None), ~known.exists())
    )
    for head in heads:
        txn.run(sa.insert(t.commit_provenance).values(commit_id=commit_id, upstream_id=head.head_id, branch_name=head.name))


def _move_head(txn: Transaction, name: BranchName, branch_id: int, head: int) -> None:
    row = txn.first(sa.select(t.commit.c.repo_id, t.commit.c.set_id, t.commit.c.forgotten).where(t.commit.c.id == head))
    if row is None or row.repo_id != repos.get_repo(txn, name.repo):
        raise InvalidError("head-invalid", f"the head of branch '{name}' must be a commit of repo '{name.repo}'")
    if row.forgotten:
        raise StateError("commit-forgotten", f"the content of commit '{name.repo}@{row.set_id}' was given up, so no branch can point at it")
    txn.run(sa.update(t.branch).where(t.branch.c.id == branch_id).values(head_id=head))
    txn.moved_branches.add(branch_id)


def _move_meta_along(txn: Transaction, output: RepoName, head: int) -> None:
    """With the head of an output branch goes that of the meta branch, to what the same job wrote, if one did."""
    meta_repo = repos.find_repo(txn, RepoName(output.project, output.name, RepoType.META))
    set_id = sa.select(t.commit.c.set_id).where(t.commit.c.id == head).scalar_subquery()
    partner = txn.first(sa.select(t.commit.c.id).where(t.commit.c.repo_id == meta_repo, t.commit.c.set_id == set_id))
    branch = txn.first(sa.select(t.branch.c.id).where(t.branch.c.repo_id == meta_repo, t.branch.c.name == DEFAULT_BRANCH))
    if partner is not None and branch is not None:
        txn.run(sa.update(t.branch).where(t.branch.c.id == branch.id).values(head_id=partner.id))
        txn.moved_branches.add(branch.id)


def _check_acyclic(txn: Transaction, name: BranchName, branch_id: int) -> None:
    if branch_id in upstream_closure(all_edges(txn), branch_id):
        raise InvalidError("provenance-cycle", f"branch '{name}' would depend on itself; read another branch, or write one that nothing upstream reads")
    twins = find_twins(txn, branch_id)
    if twins is not None:
        below, above = (branch_name(txn, twin) for twin in twins)
        raise InvalidError("provenance-cycle", f"branch '{below}' would depend on '{above}', another branch of its own repo; write to another repo")
    siblings = find_siblings(txn, branch_id)
    if siblings is not None:
        below, other, source = (branch_name(txn, sibling) for sibling in siblings)
        raise InvalidError(
            "set-conflict",
            f"a commit on '{source}' would make one on '{below}' and one on '{other}', but a repo has one in a commit set; write to another repo",
        )
