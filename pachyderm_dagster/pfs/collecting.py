"""Garbage collection: what the record refers to is marked, what nothing refers to is swept (docs/design/0007).

Writers go on meanwhile. A collection begins with a transaction that reads every root and moves the horizon; a transaction after it may only refer to what
was stored behind the horizon or hangs on a root from then, and the sweep takes neither.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import sqlalchemy as sa

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.coordination.leases import Leases, hold
from pachyderm_dagster.errors import ConflictError, PachydermError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs.commit_records import CommitRecord, add_record, find_recorded_id, read_record
from pachyderm_dagster.pfs.horizon import move_horizon
from pachyderm_dagster.pfs.marking import mark
from pachyderm_dagster.pfs.model import RepoType
from pachyderm_dagster.pfs.root_checking import find_root
from pachyderm_dagster.pfs.roots import HeldTree, PipelineTrees, list_layers, list_trees, root_of
from pachyderm_dagster.pfs.store_ids import check_own_store
from pachyderm_dagster.pfs.unknown_commits import KnownCommits, name_of, read_known
from pachyderm_dagster.storage.collection import Candidate, Inventory, Tally, sweep, sweep_leftovers, take_inventory
from pachyderm_dagster.storage.objects import ObjectStore, Ref, is_damage
from pachyderm_dagster.storage.packs import PackWriter, find_pack_index
from pachyderm_dagster.storage.reachable import Reachable

# Longer than anybody writes one file or copies one directory; jobs may take longer, they hold the horizon back themselves.
DEFAULT_GRACE = dt.timedelta(hours=24)
LEASE = "collection"
_THREADS = 8


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection found and did.

    Attributes:
        before: objects that were stored from then on were left alone.
        held_by: id of the job that holds `before` back beyond the grace.
        inventory: what was there.
        freed: what is gone; in a dry run what would be.
        head_bytes: the sum of the files' sizes in the heads of all branches.
        unknown: commits that the store tells of and the record does not, which were kept.
    """

    before: dt.datetime
    held_by: str | None
    inventory: Inventory
    freed: Tally
    head_bytes: int
    unknown: tuple[str, ...]
    dry_run: bool


@dataclass(slots=True)
class _Roots:
    """All that one look at the record gives."""

    before: dt.datetime
    held_by: str | None
    known: KnownCommits
    # By kind and encoded root: what several hold is walked once.
    trees: dict[tuple[str, bytes], HeldTree] = field(default_factory=dict)
    layers: set[bytes] = field(default_factory=set)
    head_bytes: int = 0
    # Of each commit, by the row of its repo and its id: a digest of its tree (None for none), and whether the store's record of it is as the row is.
    commits: dict[tuple[int, str], tuple[bytes | None, bool]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Pack:
    """A candidate: how many blobs its index names, and the records of commits among them."""

    candidate: Candidate
    blobs: int
    records: tuple[CommitRecord, ...]


def collect(
    database: Database, store: ObjectStore, leases: Leases, kept: PipelineTrees, *, grace: dt.timedelta = DEFAULT_GRACE, dry_run: bool = False
) -> Collected:
    """Removes objects that nothing refers to and that were stored more than `grace` ago. `dry_run` only says what would go, and measures more.

    Raises:
        ConflictError: `collection-running`, when another one is; also when it lost its claim on the way, what is removed by then being garbage all the same.
        NotFoundError: `object-not-found`, StorageError: `object-corrupt`, when a tree cannot be read; nothing is removed then.
        StorageError, UnreachableError: when the store refuses or does not answer; `commit-record-format`, when a later version wrote the record of a commit;
            `store-of-another`.
    """
    check_own_store(database, store)
    if dry_run:
        with database.read() as txn:
            roots = _read_roots(txn, grace)
        return _collect(store, roots, kept, check=lambda: None, check_sweep=None)
    with hold(leases, LEASE, database.clock.new_id()) as held:
        if held is None:
            raise ConflictError("collection-running", "another process is collecting garbage; try again when it is done")

        def check() -> None:
            if held.is_lost():
                raise ConflictError("collection-running", "this process lost its claim on the collection and stopped; start it again")

        def check_sweep() -> None:
            check()
            check_own_store(database, store)

        store.recover()
        return _collect(store, database.write(lambda txn: _begin(txn, grace)), kept, check=check, check_sweep=check_sweep)


def _begin(txn: Transaction, grace: dt.timedelta) -> _Roots:
    """The roots. Whoever writes after this transaction finds the horizon moved."""
    roots = _read_roots(txn, grace)
    move_horizon(txn, roots.before)
    txn.run(sa.delete(t.file_set).where(t.file_set.c.expires < roots.before))
    txn.run(sa.delete(t.released_tree).where(t.released_tree.c.released < roots.before))
    return roots


def _read_roots(txn: Transaction, grace: dt.timedelta) -> _Roots:
    roots = _Roots(*_limit(txn, grace), read_known(txn))
    roots.trees = {(held.kind, held.tree): held for held in list_trees(txn, since=roots.before)}
    roots.layers = {held.layer for held in list_layers(txn, since=roots.before)}
    for row in txn.connection.execute(sa.select(t.commit.c.repo_id, t.commit.c.set_id, t.commit.c.tree, t.commit.c.recorded)):
        roots.commits[row.repo_id, row.set_id] = (None if row.tree is None else content_digest(bytes(row.tree)), row.recorded)
    heads = sa.select(t.commit.c.id, t.commit.c.size_bytes).join_from(t.branch, t.commit, t.branch.c.head_id == t.commit.c.id).join(t.repo)
    roots.head_bytes = sum(row.size_bytes for row in txn.all(heads.where(t.repo.c.type == RepoType.USER).distinct()))
    return roots


def _limit(txn: Transaction, grace: dt.timedelta) -> tuple[dt.datetime, str | None]:
    """Before when an object must have been stored to go, and the job that holds this back."""
    before, held_by = txn.clock.now() - grace, None
    oldest = txn.first(
        sa.select(t.job.c.started, t.job.c.set_id, t.pipeline.c.name)
        .join_from(t.job, t.pipeline)
        .where(t.job.c.finished.is_(None), t.job.c.started.is_not(None))
        .order_by(t.job.c.started)
        .limit(1)
    )
    if oldest is not None and oldest.started < before:
        before, held_by = oldest.started, f"{oldest.name}@{oldest.set_id}"
    return before, held_by


def _collect(store: ObjectStore, roots: _Roots, kept: PipelineTrees, *, check: Callable[[], None], check_sweep: Callable[[], None] | None) -> Collected:
    """Collects; without `check_sweep`, which is called when all is known that can go, nothing is removed."""
    dry_run = check_sweep is None
    reached = mark(store, roots.trees, roots.layers, kept, measure=dry_run, check=check)
    inventory, candidates = take_inventory(store, reached, roots.before, measure=dry_run)
    packs = _read_packs(store, candidates)
    unknown = _keep_unknown(reached, roots.known, packs, kept)
    if unknown:
        inventory, candidates = take_inventory(store, reached, roots.before, measure=dry_run)
        left = {candidate.id for candidate in candidates}
        packs = [pack for pack in packs if pack.candidate.id in left]
    doomed = _rescue_records(store, roots.commits, packs, inventory, dry_run=dry_run)
    inventory.garbage.add(len(doomed), sum(candidate.size_bytes for candidate in doomed))
    if check_sweep is None:
        freed = Tally(inventory.garbage.objects + inventory.leftovers.objects, inventory.garbage.size_bytes + inventory.leftovers.size_bytes)
    else:
        check_sweep()
        freed = sweep(store, doomed, roots.before, check)
        leftovers = sweep_leftovers(store, roots.before)
        freed.add(leftovers.objects, leftovers.size_bytes)
    return Collected(roots.before, roots.held_by, inventory, freed, roots.head_bytes, unknown, dry_run)


def _keep_unknown(reached: Reachable, known: KnownCommits, packs: Sequence[_Pack], kept: PipelineTrees) -> tuple[str, ...]:
    """Marks what commits hold that the record does not know and that nobody removed: it may be older than they are. Their names."""
    names = dict[str, None]()
    for pack in packs:
        unknown = [record for record in pack.records if not known.knows(record)]
        if unknown:
            reached.add_refs([Ref(pack.candidate.id, 0, pack.candidate.size_bytes)])
        for record in unknown:
            names[name_of(record)] = None
            if record.tree is not None and find_root(record.tree) is not None:
                _mark_what_is_left(reached, HeldTree(name_of(record), record.repo_type, record.tree), kept)
    return tuple(names)


def _mark_what_is_left(reached: Reachable, held: HeldTree, kept: PipelineTrees) -> None:
    try:
        reached.add_tree(root_of(held, kept))
    except PachydermError as error:
        # A collection of an older release may have come upon it.
        if not is_damage(error):
            raise


def _rescue_records(
    store: ObjectStore, commits: Mapping[tuple[int, str], tuple[bytes | None, bool]], packs: Sequence[_Pack], inventory: Inventory, *, dry_run: bool
) -> list[Candidate]:
    """The candidates without those that are packs of nothing but records of commits that exist. Records among other things are stored again, apart."""
    doomed: list[Candidate] = []
    rescued: dict[tuple[int, str], CommitRecord] = {}
    for pack in packs:
        live = [record for record in pack.records if _is_live(commits, record)]
        if pack.blobs and len(live) == pack.blobs:
            inventory.kept.add(1, pack.candidate.size_bytes)
            continue
        doomed.append(pack.candidate)
        for record in live:
            known = rescued.get((record.repo_id, record.id))
            if known is None or known.written < record.written:
                rescued[record.repo_id, record.id] = record
    if rescued and not dry_run:
        writer = PackWriter(store)
        for record in rescued.values():
            add_record(writer, record)
        writer.flush()
    return doomed


def _read_packs(store: ObjectStore, candidates: Sequence[Candidate]) -> list[_Pack]:
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="indexes") as pool:
        return list(pool.map(partial(_read_pack, store), candidates))


def _read_pack(store: ObjectStore, candidate: Candidate) -> _Pack:
    index = _index_of(store, candidate)
    found = (_find_record(store, ref) for blob_id, ref in index if find_recorded_id(blob_id) is not None)
    return _Pack(candidate, len(index), tuple(record for record in found if record is not None))


def _index_of(store: ObjectStore, candidate: Candidate) -> list[tuple[bytes, Ref]]:
    """What a candidate holds, when it is a pack; nothing of what is damaged is worth keeping."""
    try:
        return find_pack_index(store, candidate.id, candidate.size_bytes) or []
    except PachydermError as error:
        if not is_damage(error):
            raise
        return []


def _find_record(store: ObjectStore, ref: Ref) -> CommitRecord | None:
    try:
        return read_record(store, ref)
    except PachydermError as error:
        if not is_damage(error):
            raise
        return None


def _is_live(commits: Mapping[tuple[int, str], tuple[bytes | None, bool]], record: CommitRecord) -> bool:
    """Whether a record is one of a commit that exists and says what the commit holds, or is the only one there may be."""
    found = commits.get((record.repo_id, record.id))
    if found is None:
        return False
    tree, recorded = found
    return tree == (None if record.tree is None else content_digest(record.tree)) or not recorded
