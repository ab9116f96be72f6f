"""Structure objects: projects, repos, branches and what the layers above add, saved in the store whenever they change.

Together with the commits' own records (`commit_records`) they are what a lost record is rebuilt from. An object holds all of the structure as it was after
some number of changes, which begins its key: `structure/<number>-<random>`. The newest three are kept.
"""

import datetime as dt
import re
import secrets
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from pachyderm_dagster.codec import DIGEST_BYTES, digest
from pachyderm_dagster.errors import PachydermError, StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.counting import last_row
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs.commit_records import CommitRecord, add_record, load_records
from pachyderm_dagster.pfs.store_ids import StoreMark, check_mark, find_mark, own_id, put_mark
from pachyderm_dagster.storage.objects import ObjectStore, corrupt_object, is_damage
from pachyderm_dagster.storage.packs import PackWriter

STRUCTURE_VERSION = 1
PREFIX = "structure"
KEPT = 3
COMMITS_AT_ONCE = 500
NUMBERED = ("project", "repo", "branch", "commit", "pipeline", "job")
"""The tables whose row ids are in what is stored, or in Dagster: a rebuilt record goes on counting where the lost one was."""
_TAG = "structure"
_KEY = re.compile(rf"{PREFIX}/(\d{{16}})-[0-9a-f]{{16}}")

Section = Callable[[Transaction], Any]
"""What a layer above keeps in the structure: something that msgpack takes."""
JobsOf = Callable[[Transaction, Sequence[int]], Mapping[int, dict[str, Any]]]
"""What is kept of the jobs that wrote commits, by the commit's row."""


class StoredProject(msgspec.Struct, frozen=True):
    """A project; `id` is its row."""

    id: int
    name: str
    created: dt.datetime
    description: str
    metadata: dict[str, str]


class StoredRepo(msgspec.Struct, frozen=True):
    """A repo; `id` is its row, which the records of its commits name."""

    id: int
    project_id: int
    name: str
    type: str
    created: dt.datetime
    description: str
    metadata: dict[str, str]


class StoredTrigger(msgspec.Struct, frozen=True):
    """A branch's trigger; `source_id` is the row of the branch that it looks at."""

    source_id: int
    all_conditions: bool
    size: str
    commits: int
    rate_limit_spec: str
    cron_spec: str
    ticked: dt.datetime


class StoredBranch(msgspec.Struct, frozen=True, kw_only=True):
    """A branch.

    Args:
        head: id of a commit set; None for a branch without a commit.
        finished: when the head is open, its nearest ancestor that is not; otherwise the head.
        passed: commits of the branch that continue `head` or `finished` and that the head left behind when it was moved back.
        provenance: rows of branches, and of each whether it never starts a commit here.
    """

    id: int
    repo_id: int
    name: str
    head: str | None
    finished: str | None
    passed: tuple[str, ...]
    created: dt.datetime
    metadata: dict[str, str]
    provenance: tuple[tuple[int, bool], ...]
    trigger: StoredTrigger | None


class Structure(msgspec.Struct, frozen=True, kw_only=True):
    """Everything but commits and jobs.

    Args:
        number: how many changes it has seen.
        removed: (row of the repo, id) of commits that were squashed or dropped, of repos that exist.
        last_rows: the greatest row that each table ever gave.
        sections: what the layers above keep, by their names.
    """

    version: int = STRUCTURE_VERSION
    number: int
    written: dt.datetime
    projects: tuple[StoredProject, ...]
    repos: tuple[StoredRepo, ...]
    branches: tuple[StoredBranch, ...]
    removed: tuple[tuple[int, str], ...]
    cluster_metadata: dict[str, str]
    last_rows: dict[str, int]
    sections: dict[str, msgspec.Raw]


class _Version(msgspec.Struct):
    version: int


def save(database: Database, store: ObjectStore, sections: Mapping[str, Section]) -> None:
    """Stores the structure, unless the store holds it as it is.

    Two processes may do so at once: each object has the number of the state that it shows, so the later state is the newer object, whoever was faster.
    A process that dies before leaves the record with `saved` below `changed`; whoever saves next, or `pachctl fsck --fix`, makes up for it.

    Raises:
        StorageError, UnreachableError: as `ObjectStore.put_new`; the next call tries again.
        StorageError: `store-of-another`, `store-unmarked`; `record-behind`, when the store holds a later structure than the record has.
    """
    # First, so that who stored these had changed the record before it is read.
    keys = list_keys(store)
    with database.read() as txn:
        state = txn.first(sa.select(t.record_state))
        if state is None or state.saved >= state.changed:
            return
        structure = take(txn, state.changed, sections)
    check_ahead(keys, state.changed)
    own = state.store_id if state.saved else _mark_store(database, store, state.store_id)
    check_mark(find_mark(store), own, is_saved=state.saved > 0)
    key = f"{PREFIX}/{structure.number:016d}-{secrets.token_hex(8)}"
    store.put_new(key, encode(structure))
    newest = sa.update(t.record_state).where(t.record_state.c.saved < structure.number).values(saved=structure.number)
    database.write(lambda txn: txn.run(newest))
    for old in sorted([*keys, key], reverse=True)[KEPT:]:
        store.delete(old)


def save_commits(database: Database, store: ObjectStore, jobs_of: JobsOf) -> int:
    """Stores records of the finished commits that have none, or whose record is out of date; how many there were.

    Raises:
        StorageError, UnreachableError: as `ObjectStore.put_new`; the next call tries again.
    """
    saved = after = 0
    while True:
        with database.read() as txn:
            keys = [
                int(row.id)
                for row in txn.all(
                    sa.select(t.commit.c.id)
                    .where(t.commit.c.recorded == sa.false(), t.commit.c.finished.is_not(None), t.commit.c.id > after)
                    .order_by(t.commit.c.id)
                    .limit(COMMITS_AT_ONCE)
                )
            ]
            records = _records(txn, keys, jobs_of)
        if not keys:
            return saved
        packs = PackWriter(store)
        for record in records.values():
            add_record(packs, record)
        packs.flush()

        def change(txn: Transaction, records: Mapping[int, CommitRecord] = records) -> None:
            now = _records(txn, list(records), jobs_of)
            unchanged = [key for key, record in now.items() if msgspec.structs.replace(record, written=records[key].written) == records[key]]
            txn.run(sa.update(t.commit).where(t.commit.c.id.in_(unchanged)).values(recorded=True), kept=True)

        database.write(change)
        saved, after = saved + len(keys), keys[-1]


def list_keys(store: ObjectStore) -> list[str]:
    """The keys of the structure objects, the newest first."""
    return sorted((found.key for found in store.list(PREFIX) if _KEY.fullmatch(found.key)), reverse=True)


def number_of(keys: Sequence[str]) -> int:
    """The number of the newest structure among keys as `list_keys` gives them; 0 when there is none."""
    found = _KEY.fullmatch(keys[0]) if keys else None
    return 0 if found is None else int(found[1])


def check_ahead(keys: Sequence[str], changed: int) -> None:
    """Does nothing when the record has seen all changes of which the store holds structures, at `keys`.

    Raises:
        StorageError: `record-behind`.
    """
    if number_of(keys) > changed:
        raise StorageError("record-behind", behind(keys, changed))


def behind(keys: Sequence[str], changed: int) -> str:
    """What is wrong with a record that has seen `changed` changes, fewer than the store."""
    return (
        f"the store holds structure {number_of(keys)}, and the record has seen {changed} changes: it was restored from a backup, or a copy of it is in use. "
        "`pachctl fsck --rebuild --force` takes what the store holds, and keeps a copy of the record; "
        "`pachctl fsck --deep --fix --drop-unknown` goes on with the record as it is"
    )


def load(store: ObjectStore) -> Structure | None:
    """The newest structure that can be read; None when there is none. Errors as `load_newest`."""
    return load_newest(store, list_keys(store))[0]


def load_newest(store: ObjectStore, keys: Sequence[str]) -> tuple[Structure | None, list[str]]:
    """The newest structure that can be read at keys as `list_keys` gives them, and what is wrong with newer ones.

    Raises:
        StorageError: `structure-format`, when a later version of this program wrote it.
    """
    damage: list[str] = []
    for key in keys:
        try:
            return decode(store.get(key), key), damage
        except PachydermError as error:
            if not is_damage(error):
                raise
            damage.append(error.message)
    return None, damage


def encode(structure: Structure) -> bytes:
    """The structure as it is stored: a checksum of 32 bytes, then msgpack, compressed."""
    body = zlib.compress(msgspec.msgpack.encode(structure), 1)
    return digest(_TAG, [body]) + body


def decode(data: bytes, key: str) -> Structure:
    """The structure stored in `data`, the object at `key`.

    Raises:
        StorageError: `object-corrupt`, `structure-format`.
    """
    body = data[DIGEST_BYTES:]
    if digest(_TAG, [body]) != data[:DIGEST_BYTES]:
        raise corrupt_object(key, "it is not a structure as it was written")
    text = zlib.decompress(body)
    found = msgspec.msgpack.decode(text, type=_Version).version
    if found != STRUCTURE_VERSION:
        raise StorageError("structure-format", f"{key} has format {found}, this version reads {STRUCTURE_VERSION}; use the one that wrote it")
    return msgspec.msgpack.decode(text, type=Structure)


def take(txn: Transaction, number: int, sections: Mapping[str, Section]) -> Structure:
    """The structure as the record has it."""
    return Structure(
        number=number,
        written=txn.clock.now(),
        projects=tuple(StoredProject(row.id, row.name, row.created, row.description, row.metadata) for row in txn.all(sa.select(t.project))),
        repos=tuple(
            StoredRepo(row.id, row.project_id, row.name, row.type, row.created, row.description, row.metadata)
            for row in txn.all(sa.select(t.repo).order_by(t.repo.c.id))
        ),
        branches=tuple(_branches(txn)),
        removed=tuple(
            (row.repo_id, row.set_id)
            for row in txn.all(sa.select(t.removed_commit.c.repo_id, t.removed_commit.c.set_id).join(t.repo, t.repo.c.id == t.removed_commit.c.repo_id))
        ),
        cluster_metadata={row.key: row.value for row in txn.all(sa.select(t.cluster_metadata))},
        last_rows={name: last_row(txn.connection, name) for name in NUMBERED},
        sections={name: msgspec.Raw(msgspec.msgpack.encode(section(txn))) for name, section in sections.items()},
    )


def _mark_store(database: Database, store: ObjectStore, store_id: str | None) -> str:
    """Notes in a store without an owner whose it is; an older release's record gets its id now. The record's id."""
    chosen = store_id or own_id(database)
    put_mark(store, StoreMark(chosen))
    return chosen


def _records(txn: Transaction, keys: Sequence[int], jobs_of: JobsOf) -> dict[int, CommitRecord]:
    found = load_records(txn, keys)
    jobs = jobs_of(txn, keys)
    return {key: msgspec.structs.replace(record, job=jobs.get(key)) for key, record in found.items()}


def _branches(txn: Transaction) -> Iterator[StoredBranch]:
    head = t.commit.alias("head")
    rows = txn.all(
        sa.select(t.branch, head.c.set_id, head.c.finished, head.c.parent_id)
        .join_from(t.branch, head, t.branch.c.head_id == head.c.id, isouter=True)
        .order_by(t.branch.c.id)
    )
    provenance: dict[int, list[tuple[int, bool]]] = {}
    for edge in txn.all(sa.select(t.branch_provenance).order_by(t.branch_provenance.c.upstream_id)):
        provenance.setdefault(edge.branch_id, []).append((edge.upstream_id, edge.never))
    triggers = {
        row.branch_id: StoredTrigger(row.source_id, row.all_conditions, row.size, row.commits, row.rate_limit_spec, row.cron_spec, row.ticked)
        for row in txn.all(sa.select(t.branch_trigger))
    }
    passed: dict[int, list[str]] = {}
    child = t.commit.alias("child")
    # Of a branch without a head those that began anew, as what comes next will.
    behind = sa.or_(child.c.parent_id == t.branch.c.head_id, sa.and_(child.c.parent_id.is_(None), t.branch.c.head_id.is_(None)))
    continued = sa.and_(behind, child.c.repo_id == t.branch.c.repo_id, child.c.branch_name == t.branch.c.name)
    for row in txn.all(sa.select(t.branch.c.id, child.c.set_id).join_from(t.branch, child, continued).order_by(child.c.id)):
        passed.setdefault(row.id, []).append(row.set_id)
    for row in rows:
        finished, left = row.set_id, passed.get(row.id, [])
        if row.head_id is not None and row.finished is None:
            finished, others = _below_open(txn, row)
            left = left + others
        yield StoredBranch(
            id=row.id,
            repo_id=row.repo_id,
            name=row.name,
            head=row.set_id,
            finished=finished,
            passed=tuple(left),
            created=row.created,
            metadata=row.metadata,
            provenance=tuple(provenance.get(row.id, ())),
            trigger=triggers.get(row.id),
        )


def _below_open(txn: Transaction, branch: sa.Row[Any]) -> tuple[str | None, list[str]]:
    """The nearest finished ancestor of an open head, and the commits of the branch that continue that one beside the open ones."""
    open_ids, parent_id = [int(branch.head_id)], branch.parent_id
    while parent_id is not None:
        row = txn.first(sa.select(t.commit.c.set_id, t.commit.c.finished, t.commit.c.parent_id).where(t.commit.c.id == parent_id))
        assert row is not None
        if row.finished is not None:
            others = txn.all(
                sa.select(t.commit.c.set_id).where(
                    t.commit.c.parent_id == parent_id,
                    t.commit.c.repo_id == branch.repo_id,
                    t.commit.c.branch_name == branch.name,
                    t.commit.c.id.not_in(open_ids),
                )
            )
            return row.set_id, [other.set_id for other in others]
        open_ids.append(int(parent_id))
        parent_id = row.parent_id
    return None, []
