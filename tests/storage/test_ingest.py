"""Bulk import and export."""

import os
import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.errors import InvalidError, NotFoundError, StorageError
from pachyderm_dagster.storage.chunks import MIN_CHUNK_BYTES, chunk_buffer
from pachyderm_dagster.storage.content import EMPTY_CONTENT, Content, ContentReader, ContentWriter, hash_of_chunks
from pachyderm_dagster.storage.export import export_files
from pachyderm_dagster.storage.ingest import ingest_files
from pachyderm_dagster.storage.objects import ObjectStore, object_key
from pachyderm_dagster.storage.rows import CONTENT_FIELDS, content_array, contents_of
from pachyderm_dagster.storage.small_files import read_small
from tests.storage.faulty import FullStore, flip_byte

MIB = 1024 * 1024
ENOUGH_FOR_CHILDREN = 2200


def make_files(folder: Path, bodies: Sequence[bytes]) -> list[str]:
    """A path a body; equal bodies share a file, because making thousands of files takes seconds."""
    folder.mkdir()
    paths: dict[bytes, str] = {}
    for body in bodies:
        if body not in paths:
            path = folder / f"{len(paths)}"
            path.write_bytes(body)
            paths[body] = str(path)
    return [paths[body] for body in bodies]


def many_bodies(count: int) -> list[bytes]:
    """Empty, small and large ones among each other."""
    source = random.Random(5)
    some = [source.randbytes(size) for size in (0, 1, 100, 2000, 2001, 70_000)]
    bodies = [source.choice(some) for _ in range(count)]
    bodies[0] = bodies[-1] = b""
    for position, size in ((10, MIB), (count // 2, MIB - 1), (count // 2 + 1, 7 * MIB), (count - 9, MIB + 1)):
        bodies[position] = source.randbytes(size)
    return bodies


def expected_hashes(store: ObjectStore, bodies: Sequence[bytes]) -> list[bytes]:
    with ContentWriter(store) as writer:
        return [writer.write(body).hash for body in bodies]


@pytest.mark.parametrize("count", [30, ENOUGH_FOR_CHILDREN])
def test_imported_files_equal_written_contents(store: ObjectStore, tmp_path: Path, count: int) -> None:
    bodies = many_bodies(count)
    table = ingest_files(store, make_files(tmp_path / "source", bodies))
    assert table.schema == pa.schema(CONTENT_FIELDS)
    assert table.column("size").to_pylist() == [len(body) for body in bodies]
    assert table.column("hash").to_pylist() == expected_hashes(store, bodies)
    assert list(ContentReader(store).read_many(contents_of(table))) == bodies


@pytest.mark.parametrize("bodies", [[], [b""], [b"", b"", b""], [b"one"], [b"x" * (2 * MIB)], [b"", b"x" * (2 * MIB), b"y"]])
def test_few_files_are_imported_too(store: ObjectStore, tmp_path: Path, bodies: list[bytes]) -> None:
    contents = contents_of(ingest_files(store, make_files(tmp_path / "source", bodies)))
    assert list(ContentReader(store).read_many(contents)) == bodies


def test_import_packs_small_files_into_few_objects(folder_store: ObjectStore, tmp_path: Path) -> None:
    ingest_files(folder_store, make_files(tmp_path / "source", [b"%d" % (number % 9) for number in range(ENOUGH_FOR_CHILDREN)]))
    assert len(list(folder_store.list("objects"))) <= len(os.sched_getaffinity(0))


def test_packs_that_fill_up_are_followed_by_others(folder_store: ObjectStore, tmp_path: Path) -> None:
    source = random.Random(9)
    bodies = [source.randbytes(900_000) for _ in range(60)]
    contents = contents_of(ingest_files(folder_store, make_files(tmp_path / "source", bodies)))
    assert len({content.refs[0].object for content in contents}) == 4  # 16 MiB each
    assert list(ContentReader(folder_store).read_many(contents)) == bodies


@pytest.mark.parametrize("position", [3, ENOUGH_FOR_CHILDREN - 3])
def test_file_that_cannot_be_read_is_named(folder_store: ObjectStore, tmp_path: Path, position: int) -> None:
    paths = make_files(tmp_path / "source", [b"x"] * ENOUGH_FOR_CHILDREN)
    paths[position] = str(tmp_path / "missing")
    with pytest.raises(InvalidError, match=f"{tmp_path}/missing: No such file") as caught:
        ingest_files(folder_store, paths)
    assert caught.value.code == "file-unreadable"


def test_folder_among_the_files_is_named(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="Is a directory"):
        ingest_files(store, [str(tmp_path)])


def test_import_into_a_full_store_is_reported(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        ingest_files(FullStore(store), make_files(tmp_path / "source", [b"x"]))
    assert caught.value.code == "storage-full"


def test_contents_are_exported_as_they_were(store: ObjectStore, tmp_path: Path) -> None:
    check_export(store, tmp_path, 40)


def test_contents_are_exported_by_children_as_they_were(folder_store: ObjectStore, tmp_path: Path) -> None:
    check_export(folder_store, tmp_path, ENOUGH_FOR_CHILDREN)


def check_export(store: ObjectStore, tmp_path: Path, count: int) -> None:
    bodies = many_bodies(count)
    rows = ingest_files(store, make_files(tmp_path / "source", bodies))
    paths = [str(tmp_path / "target" / f"{number % 7}" / f"{number}") for number in range(len(bodies))]
    export_files(store, rows, paths)
    assert [Path(path).read_bytes() for path in paths] == bodies


def rows_of(*contents: Content) -> pa.Table:
    return pa.Table.from_arrays(content_array(contents).flatten(), schema=pa.schema(CONTENT_FIELDS))


def test_export_replaces_what_is_there(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"something longer than the new content")
    with ContentWriter(store) as writer:
        content = writer.write(b"new")
    export_files(store, rows_of(content), [str(tmp_path / "file")])
    assert (tmp_path / "file").read_bytes() == b"new"


def test_export_of_nothing_makes_nothing(store: ObjectStore, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    export_files(store, rows_of(), [])
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("size", [100, 9 * MIB])
def test_corrupt_content_is_not_exported(store: ObjectStore, tmp_path: Path, size: int) -> None:
    with ContentWriter(store) as writer:
        content = writer.write(random.Random(1).randbytes(size))
    flip_byte(store, content.refs[-1], 0)
    with pytest.raises(StorageError) as caught:
        export_files(store, rows_of(content), [str(tmp_path / "target")])
    assert caught.value.code == "object-corrupt"
    assert not (tmp_path / "target").exists()


def test_missing_content_is_found_by_whoever_looks_for_it(folder_store: ObjectStore, tmp_path: Path) -> None:
    with ContentWriter(folder_store) as writer:
        content = writer.write(b"x")
    with ContentWriter(folder_store) as writer:
        first = writer.write(b"first")
    folder_store.delete(object_key(content.refs[0].object))
    rows = rows_of(*[first] * ENOUGH_FOR_CHILDREN, *[EMPTY_CONTENT] * ENOUGH_FOR_CHILDREN, content)
    with pytest.raises(NotFoundError) as caught:
        export_files(folder_store, rows, [str(tmp_path / "file")] * len(rows))
    assert caught.value.code == "object-not-found"


def test_export_to_a_place_that_is_no_folder_is_reported(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with ContentWriter(store) as writer:
        content = writer.write(b"new")
    with pytest.raises(StorageError, match="cannot make") as caught:
        export_files(store, rows_of(content), [str(tmp_path / "file" / "below")])
    assert caught.value.code == "storage-failed"


def test_what_an_import_adds_to_the_store_is_told(store: ObjectStore, tmp_path: Path) -> None:
    large = bytes(range(256)) * 8000
    paths = make_files(tmp_path / "source", [b"x" * 1000, b"", large])
    told: list[int] = []
    ingest_files(store, paths, told.append)
    assert sum(told) == 1000 + 40 + len(large)
    ingest_files(store, paths, told.append)
    assert sum(told) == 2 * (1000 + 40) + len(large)


def test_what_an_import_of_small_files_adds_to_the_store_is_told(folder_store: ObjectStore, tmp_path: Path) -> None:
    told: list[int] = []
    ingest_files(folder_store, make_files(tmp_path / "source", [b"x" * 10] * ENOUGH_FOR_CHILDREN), told.append)
    assert sum(told) == ENOUGH_FOR_CHILDREN * (10 + 40)


def test_small_and_large_files_are_in_the_order_of_their_paths(folder_store: ObjectStore, tmp_path: Path) -> None:
    bodies = [b"%d" % number * (MIN_CHUNK_BYTES if number % 700 == 3 else 1) for number in range(ENOUGH_FOR_CHILDREN)]
    contents = contents_of(ingest_files(folder_store, make_files(tmp_path / "source", bodies)))
    assert [content.hash for content in contents] == [hash_of_chunks([content_digest(chunk) for chunk in chunk_buffer(body)]) for body in bodies]


def test_file_that_comes_in_pieces_is_read_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 7)))
    (tmp_path / "file").write_bytes(bytes(range(200)))
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    assert read_small(descriptor) == bytes(range(200))
    os.close(descriptor)
