"""Contents as files, against plain `io.BytesIO`."""

import contextlib
import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.pfs.open_files import GrowingContent, ReadableContent, WritableContent, WritableText
from pachyderm_dagster.storage.content import Content, ContentReader, ContentWriter
from pachyderm_dagster.storage.open_store import open_store
from tests.storage.faulty import CountingStore

LARGE = random.Random(7).randbytes(20 * 1024 * 1024)
SMALL = b"one\ntwo\nthree\n"


@pytest.fixture(scope="module")
def store() -> CountingStore:
    return CountingStore(open_store("memory://"))


@pytest.fixture(scope="module")
def large(store: CountingStore) -> Content:
    with ContentWriter(store) as writer:
        return writer.write(LARGE)


@pytest.fixture(scope="module")
def small(store: CountingStore) -> Content:
    with ContentWriter(store) as writer:
        return writer.write(SMALL)


def opened(store: CountingStore, content: Content) -> ReadableContent:
    store.reads = store.bytes_read = 0
    return ReadableContent(ContentReader(store), content)


seeks = st.tuples(st.just("seek"), st.integers(0, len(LARGE) + 100), st.just(0))
back = st.tuples(st.just("seek"), st.integers(-len(LARGE), 100), st.just(2))
reads = st.tuples(st.just("read"), st.one_of(st.integers(-1, 5000), st.integers(0, 6_000_000)))
peeks = st.tuples(st.just("peek"))
lines = st.tuples(st.just("readline"), st.integers(0, 10_000))


@given(steps=st.lists(st.one_of(seeks, back, reads, peeks, lines), max_size=12))
def test_reading_is_as_from_memory(store: CountingStore, large: Content, steps: list[tuple[str, int, int]]) -> None:
    file, expected = opened(store, large), io.BytesIO(LARGE)
    for name, *arguments in steps:
        if name == "peek":
            ahead = file.peek(1)
            assert LARGE[file.tell() :].startswith(ahead)
            assert ahead or file.tell() >= len(LARGE)
        else:
            assert getattr(file, name)(*arguments) == getattr(expected, name)(*arguments)
        assert file.tell() == expected.tell()


def test_lines_of_a_small_file_take_one_read(store: CountingStore, small: Content) -> None:
    with io.TextIOWrapper(opened(store, small), encoding="utf-8") as text:
        assert list(text) == ["one\n", "two\n", "three\n"]
    assert (store.reads, store.bytes_read) == (1, len(SMALL))


def test_a_large_read_fetches_what_it_asks_for(store: CountingStore, large: Content) -> None:
    file = opened(store, large)
    file.seek(5_000_000)
    assert file.read(1_000_000) == LARGE[5_000_000:6_000_000]
    assert store.bytes_read == 1_000_000


def test_a_small_read_far_away_fetches_little(store: CountingStore, large: Content) -> None:
    file = opened(store, large)
    file.seek(-8, io.SEEK_END)
    assert file.read(8) == LARGE[-8:]
    file.seek(1000)
    assert file.read(100) == LARGE[1000:1100]
    assert store.bytes_read == 8 + 64 * 1024


def test_small_reads_one_after_another_become_few_requests(store: CountingStore, large: Content) -> None:
    file = opened(store, large)
    assert b"".join(iter(lambda: file.read(10_000), b"")) == LARGE
    assert store.bytes_read == len(LARGE)
    assert store.reads <= 5 + len(large.refs)


def test_a_closed_file_reads_nothing(store: CountingStore, small: Content) -> None:
    file = opened(store, small)
    file.close()
    for call in (file.read, file.tell, lambda: file.seek(0)):
        with pytest.raises(ValueError, match="closed"):
            call()
    assert store.reads == 0


@pytest.mark.parametrize(("position", "whence"), [(-1, 0), (-1, 1), (-15, 2)])
def test_no_position_is_before_the_start(store: CountingStore, small: Content, position: int, whence: int) -> None:
    with pytest.raises(ValueError, match="no position"):
        opened(store, small).seek(position, whence)


def test_a_damaged_chunk_is_not_given_out() -> None:
    store = open_store("memory://")
    with ContentWriter(store) as writer:
        content = writer.write(LARGE)
    key = next(found.key for found in store.list("") if content.refs[1].object.hex() in found.key)
    store.delete(key)
    store.put_new(key, bytes(content.refs[1].length))
    file = ReadableContent(ContentReader(store), content)
    with pytest.raises(StorageError, match="object-corrupt"):
        file.read()


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, 3_000_000, 16 * 1024 * 1024, 20 * 1024 * 1024])
@pytest.mark.parametrize("piece", [700_001, 30_000_000])
def test_pieces_make_the_content_that_one_write_makes(size: int, piece: int) -> None:
    store = open_store("memory://")
    with ContentWriter(store) as writer:
        whole = writer.write(LARGE[:size])
        growing = GrowingContent(writer)
        for at in range(0, size, piece):
            growing.write(LARGE[at : min(at + piece, size)])
        made = growing.finish()
    assert (made.hash, made.size, [ref.length for ref in made.refs]) == (whole.hash, size, [ref.length for ref in whole.refs])
    assert ContentReader(store).read(made) == LARGE[:size]


class Ending:
    """Where a file that is written to goes."""

    def __init__(self) -> None:
        self.contents: list[Content] = []
        self.discarded = 0

    def file(self, writer: ContentWriter) -> WritableContent:
        return WritableContent(writer, contextlib.nullcontext(), self.contents.append, self.discard)

    def discard(self) -> None:
        self.discarded += 1


def test_a_closed_file_hands_its_content_on_once() -> None:
    store, ending = open_store("memory://"), Ending()
    with ContentWriter(store) as writer:
        with ending.file(writer) as file:
            assert file.write(b"ab") == 2
            assert file.tell() == 2
            file.write(memoryview(b"cd"))
        file.close()
    assert [ContentReader(store).read(content) for content in ending.contents] == [b"abcd"]
    assert ending.discarded == 0


def write_half(file: WritableContent, *, text: bool, then_raise: bool) -> None:
    """Writes something and does not come to the end."""
    opened = WritableText(file) if text else file
    opened.writelines(["half"] if text else [b"half"])  # type: ignore[list-item]  # text into text, bytes into bytes
    if then_raise:
        with opened:
            raise KeyboardInterrupt


@pytest.mark.parametrize("text", [False, True])
def test_a_block_that_raises_discards_the_file(text: bool) -> None:
    ending = Ending()
    with ContentWriter(open_store("memory://")) as writer, pytest.raises(KeyboardInterrupt):
        write_half(ending.file(writer), text=text, then_raise=True)
    assert (ending.contents, ending.discarded) == ([], 1)


@pytest.mark.parametrize("text", [False, True])
def test_a_file_that_is_never_closed_is_discarded_and_told_of(text: bool) -> None:
    ending = Ending()
    with ContentWriter(open_store("memory://")) as writer, pytest.warns(ResourceWarning, match="never closed"):
        write_half(ending.file(writer), text=text, then_raise=False)
    assert (ending.contents, ending.discarded) == ([], 1)


def test_text_is_kept_as_utf_8_with_its_line_ends() -> None:
    store, ending = open_store("memory://"), Ending()
    with ContentWriter(store) as writer, WritableText(ending.file(writer)) as text:
        text.write("größe\nx\r\n")
    assert ContentReader(store).read(ending.contents[0]) == "größe\nx\r\n".encode()
