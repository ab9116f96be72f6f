"""Contents of files: written, appended to, read back verified."""

import io
import os
import random
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.codec import content_digest, digest
from pachyderm_dagster.errors import NotFoundError, StorageError
from pachyderm_dagster.storage.chunks import chunk_buffer
from pachyderm_dagster.storage.content import EMPTY_CONTENT, Content, ContentReader, ContentWriter
from pachyderm_dagster.storage.file_filling import fill_files
from pachyderm_dagster.storage.objects import ObjectStore, Ref, object_key
from pachyderm_dagster.storage.open_store import open_store
from tests.forking import in_child
from tests.storage.faulty import CountingStore, FillingStore, FullStore, flip_byte, replace_object

MIB = 1024 * 1024
RANDOM = random.Random(7).randbytes(40 * MIB)
LARGE = RANDOM[: 24 * MIB]  # several chunks


def write(store: ObjectStore, data: bytes) -> Content:
    with ContentWriter(store) as writer:
        return writer.write(data)


@pytest.mark.parametrize("size", [0, 1, 1000, MIB - 1, MIB, MIB + 1, 17 * MIB, 40 * MIB])
def test_content_is_read_back_as_it_was_written(store: ObjectStore, size: int) -> None:
    data = RANDOM[:size]
    content = write(store, data)
    assert content.size == size
    assert ContentReader(store).read(content) == data


def test_hash_of_one_chunk_is_the_blake3_of_its_bytes(store: ObjectStore) -> None:
    assert write(store, b"abc").hash.hex() == "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
    assert write(store, b"") == EMPTY_CONTENT
    assert EMPTY_CONTENT.hash.hex() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


def test_hash_of_several_chunks_is_a_digest_of_their_ids(store: ObjectStore) -> None:
    chunk_ids = [content_digest(chunk) for chunk in chunk_buffer(LARGE)]
    assert len(chunk_ids) > 2
    assert write(store, LARGE).hash == digest("file", chunk_ids)


def filled(store: ObjectStore, path: Path, *contents: Content) -> list[bytes]:
    """What is in the files, named after `path`, that the contents were written into."""
    paths = [path.with_name(f"{path.name}{number}") for number in range(len(contents))]
    given = fill_files(ContentReader(store), ((content, os.open(one, os.O_WRONLY | os.O_CREAT)) for content, one in zip(contents, paths, strict=True)))
    for descriptor, one in zip(given, paths, strict=True):
        assert os.path.samestat(os.fstat(descriptor), one.stat())
        os.close(descriptor)
    return [one.read_bytes() for one in paths]


def test_files_are_filled_with_their_contents_in_turn(store: ObjectStore, tmp_path: Path) -> None:
    parts = [LARGE, b"", b"small", RANDOM[5 * MIB :], LARGE[:MIB], RANDOM[: 3 * MIB + 7]]
    contents = [write(store, part) for part in parts]
    assert filled(store, tmp_path / "file", *contents) == parts
    assert filled(store, tmp_path / "none") == []


def test_no_file_stays_open_when_one_cannot_be_filled_or_nobody_wants_more(store: ObjectStore, tmp_path: Path) -> None:
    contents = [write(store, part) for part in (RANDOM[:MIB], LARGE, RANDOM[MIB : 30 * MIB])]
    files = fill_files(ContentReader(store), ((content, os.open(tmp_path / f"{content.size}", os.O_WRONLY | os.O_CREAT)) for content in contents))
    os.close(next(files))
    files.close()  # type: ignore[attr-defined]  # it is a generator
    store.delete(object_key(contents[1].refs[1].object))
    with pytest.raises(NotFoundError, match="object-not-found"):
        filled(store, tmp_path / "file", *contents)
    assert not [number for number in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{number}").startswith(f"{tmp_path}/")]


def test_contents_on_their_way_at_once_equal_one_write_of_each(store: ObjectStore) -> None:
    parts = [LARGE, RANDOM[MIB : 30 * MIB], b"small", b"", RANDOM[: 2 * MIB], LARGE]
    with ContentWriter(store) as writer:
        begun = [writer.begin_stream(io.BytesIO(part)) for part in parts]
        contents = [one.result() for one in begun]
        assert [content.hash for content in contents] == [writer.write(part).hash for part in parts]
    assert [ContentReader(store).read(content) for content in contents] == parts


def test_content_on_its_way_tells_that_the_store_is_full(store: ObjectStore) -> None:
    writer = ContentWriter(FullStore(store))
    pending = writer.begin_stream(io.BytesIO(RANDOM[: 2 * MIB]))
    with pytest.raises(StorageError, match="no room"):
        pending.result()


def test_stream_equals_one_write(store: ObjectStore) -> None:
    with ContentWriter(store) as writer:
        assert writer.write_stream(io.BytesIO(LARGE)).hash == writer.write(LARGE).hash
        assert writer.write_stream(io.BytesIO(b"small")).hash == writer.write(b"small").hash
        assert writer.write_stream(io.BytesIO(b"")) == EMPTY_CONTENT


def test_large_chunks_are_objects_named_by_their_content(store: ObjectStore) -> None:
    content = write(store, LARGE)
    for ref in content.refs[:-1]:
        assert content_digest(store.get(object_key(ref.object))) == ref.object
        assert (ref.offset, ref.length) == (0, len(store.get(object_key(ref.object))))


def test_small_contents_share_an_object(store: ObjectStore) -> None:
    with ContentWriter(store) as writer:
        contents = [writer.write(b"%d" % number) for number in range(1000)]
    assert len({content.refs[0].object for content in contents}) == 1
    assert len(list(store.list("objects"))) == 1
    assert list(ContentReader(store).read_many(contents)) == [b"%d" % number for number in range(1000)]


@given(st.lists(st.integers(0, 3_000_000), min_size=1, max_size=4), st.booleans())
def test_appends_equal_one_write(sizes: list[int], durable_between: bool) -> None:
    store = open_store("memory://")
    data = RANDOM[: sum(sizes)]
    with ContentWriter(store) as writer:
        content, done = EMPTY_CONTENT, 0
        for size in sizes:
            content = writer.append(content, data[done : done + size])
            done += size
            if durable_between:
                writer.flush()
    assert content.hash == write(store, data).hash
    assert ContentReader(store).read(content) == data


def test_append_stores_the_last_chunk_anew_and_no_other(store: ObjectStore) -> None:
    old = write(store, LARGE)
    counted = CountingStore(store)
    with ContentWriter(counted) as writer:
        new = writer.append(old, io.BytesIO(b"one line more\n"))
    assert new.refs[:-1] == old.refs[:-1]
    assert counted.bytes_read == old.refs[-1].length
    assert ContentReader(store).read(new) == LARGE + b"one line more\n"


def test_equal_large_content_stores_nothing_but_the_tail(store: ObjectStore) -> None:
    first = write(store, LARGE)
    counted = CountingStore(store)
    second = write(counted, LARGE)
    assert second.hash == first.hash
    assert counted.bytes_written < MIB + 1000


def test_insert_in_the_middle_stores_few_bytes(store: ObjectStore) -> None:
    write(store, RANDOM)
    counted = CountingStore(store)
    middle = len(RANDOM) // 2
    content = write(counted, RANDOM[:middle] + b"!" + RANDOM[middle:])
    assert counted.bytes_written < len(RANDOM) // 2  # a chunk or two
    assert ContentReader(store).read(content) == RANDOM[:middle] + b"!" + RANDOM[middle:]


def test_contents_are_durable_after_flush_and_the_writer_goes_on(folder_store: ObjectStore, tmp_path: Path) -> None:
    writer = ContentWriter(folder_store)
    first = writer.write(b"first")
    writer.flush()
    second = writer.write(LARGE)
    writer.flush()
    reader = ContentReader(open_store((tmp_path / "store").as_uri()))
    assert (reader.read(first), reader.read(second)) == (b"first", LARGE)
    writer.close()


def test_writer_drops_what_is_pending_when_its_block_fails(store: ObjectStore) -> None:
    def fail() -> None:
        with ContentWriter(store) as writer:
            writer.write(b"small")
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        fail()
    assert list(store.list("objects")) == []


@pytest.mark.parametrize("data", [b"small", LARGE])
def test_full_store_is_reported(store: ObjectStore, data: bytes) -> None:
    with pytest.raises(StorageError) as caught:
        write(FullStore(store), data)
    assert caught.value.code == "storage-full"


@given(st.integers(0, 26 * MIB), st.none() | st.integers(0, 26 * MIB))
def test_any_part_can_be_streamed(offset: int, length: int | None) -> None:
    expected = LARGE[offset:] if length is None else LARGE[offset : offset + length]
    assert b"".join(ContentReader(MEMORY).stream(LARGE_IN_MEMORY, offset, length)) == expected


def test_part_reads_only_what_it_needs(store: ObjectStore) -> None:
    content = write(store, LARGE)
    counted = CountingStore(store)
    assert b"".join(ContentReader(counted).stream(content, 10 * MIB, 100)) == LARGE[10 * MIB : 10 * MIB + 100]
    assert counted.bytes_read == 100


def test_stream_may_be_left_in_the_middle(store: ObjectStore) -> None:
    pieces = ContentReader(store).stream(write(store, LARGE))
    assert LARGE.startswith(next(pieces))
    pieces.close()  # type: ignore[attr-defined]  # it is a generator


def test_read_many_gives_every_content_in_the_order_asked_for(store: ObjectStore) -> None:
    with ContentWriter(store) as writer:
        contents = [writer.write(b"%d" % number) for number in range(50)]
        contents += [EMPTY_CONTENT, writer.write(LARGE)]
    expected = [*(b"%d" % number for number in range(50)), b"", LARGE]
    order = random.Random(3).sample(range(52), 52)
    assert list(ContentReader(store).read_many([contents[at] for at in order])) == [expected[at] for at in order]


@pytest.mark.parametrize("size", [1, 5000, MIB, 24 * MIB])
@pytest.mark.parametrize("place", ["first", "last"])
def test_changed_byte_is_found_and_the_object_named(store: ObjectStore, size: int, place: str, tmp_path: Path) -> None:
    content = write(store, LARGE[:size])
    ref = content.refs[0 if place == "first" else -1]
    flip_byte(store, ref, 0 if place == "first" else ref.length - 1)
    for read in (ContentReader(store).read, lambda bad: list(ContentReader(store).read_many([bad])), lambda bad: filled(store, tmp_path / "file", bad)):
        with pytest.raises(StorageError, match=object_key(ref.object)) as caught:
            read(content)
        assert caught.value.code == "object-corrupt"


@pytest.mark.parametrize("size", [5000, 24 * MIB])
def test_append_to_a_changed_byte_is_refused_and_the_object_named(store: ObjectStore, size: int) -> None:
    content = write(store, LARGE[:size])
    flip_byte(store, content.refs[-1], 0)
    with ContentWriter(store) as writer, pytest.raises(StorageError, match=object_key(content.refs[-1].object)) as caught:
        writer.append(content, b"more")
    assert caught.value.code == "object-corrupt"


def test_writer_recovers_when_the_store_has_room_again(store: ObjectStore) -> None:
    filling = FillingStore(store)
    writer = ContentWriter(filling)
    filling.full = True
    with pytest.raises(StorageError, match="no room"):
        writer.write(LARGE)
    with pytest.raises(StorageError, match="no room"):
        writer.flush()
    filling.full = False
    content = writer.write(LARGE)
    writer.close()
    assert ContentReader(store).read(content) == LARGE


def test_writer_that_is_dropped_leaves_no_thread(store: ObjectStore) -> None:
    before = threading.active_count()

    def fail() -> None:
        with ContentWriter(store) as writer:
            for start in range(0, len(RANDOM), MIB - 1):
                writer.write(RANDOM[start : start + MIB - 1])
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        fail()
    assert threading.active_count() == before


def test_truncated_object_is_corrupt(store: ObjectStore) -> None:
    content = write(store, LARGE)
    key = object_key(content.refs[1].object)
    replace_object(store, key, store.get(key)[:-1])
    with pytest.raises(StorageError, match=key) as caught:
        ContentReader(store).read(content)
    assert caught.value.code == "object-corrupt"


def test_missing_object_is_not_found(store: ObjectStore) -> None:
    content = write(store, LARGE)
    key = object_key(content.refs[1].object)
    store.delete(key)
    with pytest.raises(NotFoundError, match=key) as caught:
        ContentReader(store).read(content)
    assert caught.value.code == "object-not-found"


def test_chunks_in_another_order_are_found_out(store: ObjectStore, tmp_path: Path) -> None:
    with ContentWriter(store) as writer:
        content = writer.write(LARGE)
    swapped = Content(content.hash, content.size, (content.refs[1], content.refs[0], *content.refs[2:]))
    with pytest.raises(StorageError, match="are not what was written"):
        ContentReader(store).read(swapped)
    with pytest.raises(StorageError, match="are not what was written"):
        filled(store, tmp_path / "file", swapped)


def test_reference_that_leads_elsewhere_is_found_out(store: ObjectStore) -> None:
    with ContentWriter(store) as writer:
        content = writer.write(b"abcdef")
        writer.write(b"ghijkl")
    ref = content.refs[0]
    with pytest.raises(StorageError, match="are not what was written"):
        ContentReader(store).read(Content(content.hash, 6, (Ref(ref.object, ref.offset + 1, 6),)))


def test_forked_child_may_neither_write_nor_close(store: ObjectStore) -> None:
    with ContentWriter(store) as writer:
        contents = [writer.write(b"begun"), writer.write(LARGE)]
        assert in_child(lambda: writer.write(b"child")) == "writer-forked"
        assert in_child(lambda: writer.write(b"")) == "writer-forked"
        assert in_child(lambda: writer.write_stream(io.BytesIO(LARGE))) == "writer-forked"
        assert in_child(lambda: writer.append(contents[0], b"child")) == "writer-forked"
        assert in_child(writer.close) == "writer-forked"
        assert in_child(lambda: writer.__exit__(KeyError, KeyError(), None)) == "done"
        contents.append(writer.write(b"after"))
    assert list(ContentReader(store).read_many(contents)) == [b"begun", LARGE, b"after"]


def test_forked_child_reads_with_threads_of_its_own(tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri())
    content = write(store, LARGE)
    reader = ContentReader(store)
    assert reader.read(content) == LARGE
    assert in_child(lambda: reader.read(content)) == "done"


MEMORY = open_store("memory://")
LARGE_IN_MEMORY = write(MEMORY, LARGE)
