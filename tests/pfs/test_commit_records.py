"""Commit records: stored, found in the index of a pack, checked when they are read."""

import datetime as dt

import msgspec
import pytest

from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.pfs.commit_records import (
    CommitRecord,
    UpstreamCommit,
    add_record,
    decode_record,
    encode_record,
    find_recorded_id,
    read_record,
    record_blob_id,
)
from pachyderm_dagster.storage.objects import Ref
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.packs import PackWriter, find_pack_index

ID = "0123456789ab4def8123456789abcdef"
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=dt.UTC)
RECORD = CommitRecord(
    project="default",
    repo="edges",
    repo_type="user",
    repo_id=7,
    branch="master",
    id=ID,
    parent=None,
    origin="AUTO",
    description="",
    started=NOW,
    finished=NOW + dt.timedelta(seconds=1),
    error=None,
    size_bytes=12,
    tree=b"root",
    provenance=(UpstreamCommit("default", "images", "user", ID, "master"),),
    job={"state": "success", "data_total": 3},
    written=NOW,
)
SOMEWHERE = Ref(bytes(32), 0, 0)


def test_record_is_read_back_as_it_was_written() -> None:
    assert decode_record(encode_record(RECORD), SOMEWHERE) == RECORD


def test_record_is_found_by_its_name_in_the_index_of_a_pack() -> None:
    store = open_store("memory://")
    packs = PackWriter(store)
    ref = packs.add(b"a content", b"\1" * 32)
    add_record(packs, RECORD)
    packs.flush()
    found = {find_recorded_id(blob_id): where for blob_id, where in find_pack_index(store, ref.object) or []}
    assert list(found) == [None, ID]
    assert read_record(store, found[ID]) == RECORD


def test_name_of_a_record_holds_the_id_of_the_commit() -> None:
    assert record_blob_id(ID) == b"PDCOMMIT\0\0\0\0\0\0\0\0" + bytes.fromhex(ID)


@pytest.mark.parametrize("damage", [b"", b"short", encode_record(RECORD)[:-1], encode_record(RECORD) + b"\0", bytes(32) + encode_record(RECORD)[32:]])
def test_damaged_record_is_a_corrupt_object(damage: bytes) -> None:
    with pytest.raises(StorageError) as caught:
        decode_record(damage, SOMEWHERE)
    assert caught.value.code == "object-corrupt"


def test_record_of_a_later_version_is_refused() -> None:
    later = msgspec.structs.replace(RECORD, version=2)
    with pytest.raises(StorageError, match="format 2") as caught:
        decode_record(encode_record(later), SOMEWHERE)
    assert caught.value.code == "commit-record-format"
