"""Commit records: what the database knows of a commit, kept beside its content, so that a lost database can be rebuilt from the store.

A record lies in the pack of the write that finished the commit. The pack's index names it by `record_blob_id`, so that a scan of indexes finds it.
It is stored before the transaction that makes it true: one of a commit that nobody was told of may be found, one of a finished commit is never missing.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from pachyderm_dagster.codec import DIGEST_BYTES, Buffer, digest
from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import RepoType, is_commit_id
from pachyderm_dagster.storage.objects import ObjectStore, Ref, corrupt_object, get_ref, object_key
from pachyderm_dagster.storage.packs import PackWriter

RECORD_VERSION = 1
_PREFIX = b"PDCOMMIT" + bytes(8)
_TAG = "commit-record"


class UpstreamCommit(msgspec.Struct, frozen=True):
    """A commit that another was made from, and the name of the branch through which it was read."""

    project: str
    repo: str
    type: str
    id: str
    branch: str


class CommitRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that the database knows of a commit, but for its row.

    Args:
        repo_id: row of the repo, which tells one repo from a later one of the same name.
        id, parent: ids of commit sets; both commits are of this repo.
        tree: encoded root of the content; None when it has none.
        job: what the layer above keeps of the job that wrote it.
        written: when the record was made. Of several of one (repo_id, id) the newest is true: the transaction of an older one did not happen.
    """

    version: int = RECORD_VERSION
    project: str
    repo: str
    repo_type: str
    repo_id: int
    branch: str | None
    id: str
    parent: str | None
    origin: str
    description: str
    started: dt.datetime
    finished: dt.datetime | None
    error: str | None
    size_bytes: int
    tree: bytes | None
    provenance: tuple[UpstreamCommit, ...] = ()
    job: dict[str, Any] | None = None
    stored_bytes: int = 0
    forgotten: bool = False
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    written: dt.datetime


class _Version(msgspec.Struct):
    version: int


def record_blob_id(commit_id: str) -> bytes:
    """What the index of a pack calls the record of a commit; 32 bytes."""
    return _PREFIX + bytes.fromhex(commit_id)


def find_recorded_id(blob_id: bytes) -> str | None:
    """The id of the commit whose record has this name in the index of a pack; None when the blob is no record."""
    return blob_id[len(_PREFIX) :].hex() if blob_id.startswith(_PREFIX) else None


def encode_record(record: CommitRecord) -> bytes:
    """The record as it is stored: a checksum of 32 bytes, then msgpack."""
    body = msgspec.msgpack.encode(record)
    return digest(_TAG, [body]) + body


def decode_record(data: Buffer, ref: Ref) -> CommitRecord:
    """The record stored in `data`, which `ref` named.

    Raises:
        StorageError: `object-corrupt`; `commit-record-format`, when a later version of this program wrote it.
    """
    body = bytes(memoryview(data)[DIGEST_BYTES:])
    if digest(_TAG, [body]) != bytes(data[:DIGEST_BYTES]):
        raise corrupt_object(object_key(ref.object), f"the {ref.length} bytes from {ref.offset} are not a commit's record")
    found = msgspec.msgpack.decode(body, type=_Version).version
    if found != RECORD_VERSION:
        raise StorageError(
            "commit-record-format", f"a commit's record of format {found} was found, this version reads {RECORD_VERSION}; use the one that wrote it"
        )
    return msgspec.msgpack.decode(body, type=CommitRecord)


def read_record(store: ObjectStore, ref: Ref) -> CommitRecord:
    """The record at `ref`, which the index of a pack gave.

    Raises:
        NotFoundError: `object-not-found`.
        StorageError: as `decode_record`.
    """
    return decode_record(get_ref(store, ref), ref)


def add_record(packs: PackWriter, record: CommitRecord) -> None:
    """Puts a record into the pack that is being filled; durable when `packs.flush` returns, which must come before the transaction."""
    assert is_commit_id(record.id)
    packs.add(encode_record(record), record_blob_id(record.id))


def load_record(txn: Transaction, commit_id: int) -> CommitRecord:
    """The record of the commit in this row, as the database knows it now, written now.

    For a commit that is about to be finished, put what it will be into it with `msgspec.structs.replace`: tree, size_bytes, finished, error, job.
    """
    return load_records(txn, [commit_id])[commit_id]


def load_records(txn: Transaction, commit_ids: Sequence[int]) -> dict[int, CommitRecord]:
    """The records of many commits, by row."""
    parent = t.commit.alias("parent")
    rows = txn.all(
        sa.select(t.commit, parent.c.set_id.label("parent_set"), t.repo.c.name, t.repo.c.type, t.project.c.name.label("project"))
        .join_from(t.commit, t.repo)
        .join(t.project)
        .outerjoin(parent, t.commit.c.parent_id == parent.c.id)
        .where(t.commit.c.id.in_(commit_ids))
        .order_by(t.commit.c.id)
    )
    provenance = _provenance(txn, commit_ids)
    return {
        row.id: CommitRecord(
            project=row.project,
            repo=row.name,
            repo_type=row.type,
            repo_id=row.repo_id,
            branch=row.branch_name,
            id=row.set_id,
            parent=row.parent_set,
            origin=row.origin,
            description=row.description,
            started=row.started,
            finished=row.finished,
            error=row.error,
            size_bytes=row.size_bytes,
            tree=bytes(row.tree) if row.tree is not None else None,
            provenance=tuple(provenance.get(row.id, ())),
            stored_bytes=row.stored_bytes,
            forgotten=row.forgotten,
            metadata=row.metadata,
            written=txn.clock.now(),
        )
        for row in rows
    }


def _provenance(txn: Transaction, commit_ids: Sequence[int]) -> dict[int, list[UpstreamCommit]]:
    rows = txn.all(
        sa.select(
            t.commit_provenance.c.commit_id,
            t.commit_provenance.c.branch_name,
            t.commit.c.set_id,
            t.repo.c.name,
            t.repo.c.type,
            t.project.c.name.label("project"),
        )
        .join_from(t.commit_provenance, t.commit, t.commit_provenance.c.upstream_id == t.commit.c.id)
        .join(t.repo, t.commit.c.repo_id == t.repo.c.id)
        .join(t.project, t.repo.c.project_id == t.project.c.id)
        .where(t.commit_provenance.c.commit_id.in_(commit_ids))
        .order_by(t.repo.c.id, t.commit_provenance.c.branch_name)
    )
    found: dict[int, list[UpstreamCommit]] = {}
    for row in rows:
        found.setdefault(row.commit_id, []).append(UpstreamCommit(row.project, row.name, RepoType(row.type), row.set_id, row.branch_name))
    return found
