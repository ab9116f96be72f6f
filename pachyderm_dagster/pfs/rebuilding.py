"""Rebuilding a lost record from its store: the newest structure, and every commit's own record (docs/design/0008)."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from pachyderm_dagster.errors import StateError, StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.counting import count_on
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, commits
from pachyderm_dagster.pfs.branch_lines import BranchLines
from pachyderm_dagster.pfs.commit_records import CommitRecord
from pachyderm_dagster.pfs.holdings import Holdings, Key, Loss, Rebuilt, named
from pachyderm_dagster.pfs.provenance import find_unread
from pachyderm_dagster.pfs.store_ids import StoreMark, check_mark, find_mark, replace_mark
from pachyderm_dagster.pfs.structure import NUMBERED, StoredBranch, StoredProject, StoredRepo, Structure
from pachyderm_dagster.storage.objects import ObjectStore


def take_store(store: ObjectStore, own: str | None, new: str) -> None:
    """Makes a store that of the record `new`, which is to be rebuilt from it: to be called before it is read, so that what another one still writes is found.

    Args:
        own: the id of the record that is there now; None of one that is empty.

    Raises:
        StorageError: `store-of-another`, when the record that is there is of another store.
    """
    try:
        mark = find_mark(store)
    except StorageError as error:
        if error.code != "store-unmarked":
            raise
        mark = None
    # Where it was taken by a rebuild that was killed, or by another home, the record that it was taken from may take it back.
    if own is not None and mark is not None and mark.previous != own:
        check_mark(mark, own, is_saved=False)
    replace_mark(store, StoreMark(new, None if mark is None else own or mark.id))


def rebuild(txn: Transaction, found: Holdings, store_id: str) -> Rebuilt:
    """Fills an empty record with what a store holds of it: all but pipelines and jobs. `store_id` is the id that both have now.

    Raises:
        StateError: `record-not-empty`.
    """
    check_empty(txn)
    projects, repos = _repos(txn, found)
    rebuilt = Rebuilt(repos, projects, {}, [], {}, list(found.losses))
    _insert(txn, t.project, map(msgspec.structs.asdict, projects.values()))
    _insert(txn, t.repo, map(msgspec.structs.asdict, repos.values()))
    records = _usable(found, repos, rebuilt.losses)
    _insert_commits(txn, records, found.removed, rebuilt)
    _insert_branches(txn, found.structure, BranchLines(records, rebuilt, found.built_upon), rebuilt)
    if found.structure is not None:
        now = txn.clock.now()
        _insert(txn, t.removed_commit, ({"repo_id": repo, "set_id": id, "removed": now} for repo, id in found.structure.removed))
        _insert(txn, t.cluster_metadata, ({"key": key, "value": value} for key, value in found.structure.cluster_metadata.items()))
    txn.connection.execute(sa.insert(t.record_state).values(id=1, store_id=store_id, changed=found.number, saved=found.number))
    txn.structure_changed = txn.records_due = True
    return rebuilt


def go_on_counting(txn: Transaction, found: Holdings) -> None:
    """Lets new rows have greater ids than the lost record ever gave."""
    for name in NUMBERED:
        last = 0 if found.structure is None else found.structure.last_rows.get(name, 0)
        greatest = txn.connection.execute(sa.select(sa.func.max(t.metadata.tables[name].c.id))).scalar() or 0
        count_on(txn.connection, name, max(last, greatest))


def begin_anew(txn: Transaction, rebuilt: Rebuilt) -> None:
    """Gives the branches that must have a head, and lost it, an empty one: new rows, so `go_on_counting` comes first."""
    for branch_id in rebuilt.headless:
        branches.add_empty_root(txn, branch_id)


def touch_stale(txn: Transaction) -> None:
    """Has commits made again on the branches whose inputs went on, or are others, since their heads were made: their unfinished commits are lost."""
    txn.touched_branches.update(branch_id for branch_id, _ in find_unread(txn))
    heads = {
        row.id: row
        for row in txn.all(sa.select(t.branch.c.id, t.branch.c.head_id, t.commit.c.started).join(t.commit, t.commit.c.id == t.branch.c.head_id, isouter=True))
    }
    read: dict[int, set[int]] = {}
    for row in txn.all(sa.select(t.commit_provenance.c.commit_id, t.commit_provenance.c.upstream_id)):
        read.setdefault(row.commit_id, set()).add(row.upstream_id)
    for edge in txn.all(sa.select(t.branch_provenance).where(t.branch_provenance.c.never.is_(False))):
        own, above = heads[edge.branch_id], heads[edge.upstream_id]
        if above.head_id is not None and (own.head_id is None or (above.head_id not in read.get(own.head_id, ()) and above.started > own.started)):
            txn.touched_branches.add(edge.branch_id)


def check_empty(txn: Transaction) -> None:
    """Does nothing when the record holds nothing yet.

    Raises:
        StateError: `record-not-empty`.
    """
    if txn.first(sa.select(t.record_state.c.id)) is not None or txn.first(sa.select(t.project.c.id)) is not None:
        raise StateError("record-not-empty", "the record is not empty, so it was not lost; `--force` keeps a copy of it and rebuilds it from the store")


def _repos(txn: Transaction, found: Holdings) -> tuple[dict[int, StoredProject], dict[int, StoredRepo]]:
    """The projects and repos by row: those of the structure, and those that commits tell of which came after it."""
    structure = found.structure
    projects = {} if structure is None else {project.id: project for project in structure.projects}
    repos = {} if structure is None else {repo.id: repo for repo in structure.repos}
    rows = {project.name: project.id for project in projects.values()}
    taken = {(repo.project_id, repo.name, repo.type) for repo in repos.values()}
    # Of two repos of one name the later one replaced the other.
    for record in sorted(found.records.values(), key=lambda record: (-record.repo_id, record.started)):
        if record.project not in rows:
            rows[record.project] = max(rows.values(), default=0) + 1
            projects[rows[record.project]] = StoredProject(rows[record.project], record.project, record.started, "", {})
        name = (rows[record.project], record.repo, record.repo_type)
        if record.repo_id not in repos and name not in taken:
            taken.add(name)
            repos[record.repo_id] = StoredRepo(record.repo_id, name[0], record.repo, record.repo_type, record.started, "", {})
    return projects, dict(sorted(repos.items()))


def _usable(found: Holdings, repos: Mapping[int, StoredRepo], losses: list[Loss]) -> dict[Key, CommitRecord]:
    usable = {}
    for key, record in found.records.items():
        if key[0] not in repos:
            losses.append(Loss("repo-replaced", f"commit '{named(record)}' is of a repo that a later one of its name replaced; it is left out"))
        elif record.finished is not None:
            usable[key] = record
    return usable


def _insert_commits(txn: Transaction, records: Mapping[Key, CommitRecord], removed: Mapping[Key, CommitRecord], rebuilt: Rebuilt) -> None:
    names = {(rebuilt.projects[repo.project_id].name, repo.name, repo.type): repo.id for repo in rebuilt.repos.values()}
    parents: dict[Key, Key | None] = {}
    upstream: dict[Key, list[tuple[Key, str]]] = {}
    for key, record in records.items():
        parents[key] = _parent(key, record, records, removed, rebuilt.losses)
        upstream[key] = []
        for source in record.provenance:
            repo_id = names.get((source.project, source.repo, source.type))
            if repo_id is not None and (repo_id, source.id) in records:
                upstream[key].append(((repo_id, source.id), source.branch))
            elif repo_id is not None:
                losses = Loss("provenance-missing", f"commit '{named(record)}' was made from '{source.repo}@{source.id}', of which the store has no record")
                rebuilt.losses.append(losses)
    rebuilt.order = _ordered(records, parents, upstream)
    rebuilt.commits = {key: row for row, key in enumerate(rebuilt.order, start=1)}

    def row(key: Key) -> dict[str, Any]:
        record, parent = records[key], parents[key]
        recorded = (None if parent is None else parent[1]) == record.parent
        return {"id": rebuilt.commits[key], **commits.row_of(record, parent=None if parent is None else rebuilt.commits[parent], recorded=recorded)}

    _insert(txn, t.commit, map(row, rebuilt.order))
    edges = ((key, source, branch) for key, sources in upstream.items() for source, branch in sources)
    _insert(
        txn,
        t.commit_provenance,
        ({"commit_id": rebuilt.commits[key], "upstream_id": rebuilt.commits[source], "branch_name": branch} for key, source, branch in edges),
    )


def _parent(key: Key, record: CommitRecord, records: Mapping[Key, CommitRecord], removed: Mapping[Key, CommitRecord], losses: list[Loss]) -> Key | None:
    """The parent; past what was squashed after the child was last recorded."""
    above = record.parent
    while above is not None and (key[0], above) not in records:
        if (key[0], above) not in removed:
            losses.append(
                Loss("parent-missing", f"commit '{named(record)}' continues '{record.repo}@{above}', of which the store has no record; it has no parent now")
            )
            return None
        above = removed[key[0], above].parent
    return None if above is None else (key[0], above)


def _ordered(records: Mapping[Key, CommitRecord], parents: Mapping[Key, Key | None], upstream: Mapping[Key, Sequence[tuple[Key, str]]]) -> list[Key]:
    """The commits in the order in which rows were given: what one was made from before it, otherwise the earlier started first."""
    waits: dict[Key, int] = {}
    below: dict[Key, list[Key]] = {}
    for key in records:
        parent = parents[key]
        above = {source for source, _ in upstream[key]} | ({parent} if parent is not None else set())
        waits[key] = len(above)
        for source in above:
            below.setdefault(source, []).append(key)
    ready = [(records[key].started, key) for key, count in waits.items() if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        _, key = heapq.heappop(ready)
        order.append(key)
        for child in below.get(key, ()):
            waits[child] -= 1
            if not waits[child]:
                heapq.heappush(ready, (records[child].started, child))
    return order


def _insert_branches(txn: Transaction, structure: Structure | None, line: BranchLines, rebuilt: Rebuilt) -> None:
    stored = () if structure is None else structure.branches
    rebuilt.branches = {branch.id: branch for branch in stored}
    known = {(branch.repo_id, branch.name) for branch in stored}
    heads = {branch.id: line.tip(branch) for branch in stored}
    last = max([*heads, 0 if structure is None else structure.last_rows.get("branch", 0)])
    for row, place in enumerate(sorted(place for place in line.children if place not in known), start=last + 1):
        tip = line.tip_of_unsaved(place)
        rebuilt.branches[row] = _unsaved_branch(row, place, line.records[tip])
        heads[row] = tip
    _insert(
        txn,
        t.branch,
        (
            {
                "id": branch.id,
                "repo_id": branch.repo_id,
                "name": branch.name,
                "head_id": None if (head := heads[branch.id]) is None else rebuilt.commits[head],
                "created": branch.created,
                "metadata": branch.metadata,
            }
            for branch in rebuilt.branches.values()
        ),
    )
    edges = ((branch.id, upstream, never) for branch in stored for upstream, never in branch.provenance)
    _insert(txn, t.branch_provenance, ({"branch_id": branch, "upstream_id": upstream, "never": never} for branch, upstream, never in edges))
    triggers = ((branch.id, branch.trigger) for branch in stored if branch.trigger is not None)
    _insert(txn, t.branch_trigger, ({"branch_id": branch, **msgspec.structs.asdict(trigger)} for branch, trigger in triggers))
    read = {upstream for branch in stored for upstream, _ in branch.provenance}
    for branch in stored:
        # One that is made from others gets its head by propagation.
        must_have = branch.id in read or (branch.repo_id, branch.name) in line.children
        if heads[branch.id] is None and must_have and not branch.provenance:
            rebuilt.headless.append(branch.id)


def _unsaved_branch(row: int, place: tuple[int, str], tip: CommitRecord) -> StoredBranch:
    """A branch of which only its commits tell."""
    return StoredBranch(
        id=row,
        repo_id=place[0],
        name=place[1],
        head=tip.id,
        finished=tip.id,
        passed=(),
        created=tip.started,
        metadata={},
        provenance=(),
        trigger=None,
    )


def _insert(txn: Transaction, table: sa.Table, rows: Iterable[dict[str, Any]]) -> None:
    many = list(rows)
    if many:
        txn.connection.execute(sa.insert(table), many)
