"""Files as columns: what goes in comes out."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.storage.chunks import MIN_CHUNK_BYTES
from pachyderm_dagster.storage.content import Content, ContentReader, ContentWriter
from pachyderm_dagster.storage.file_columns import ContentColumns, FileColumns, join_contents, join_files, pack_small
from pachyderm_dagster.storage.objects import ObjectStore, Ref
from pachyderm_dagster.storage.rows import CONTENT_TYPE, columns_array, content_array

IDS = st.binary(min_size=32, max_size=32)
NUMBERS = st.integers(0, 2**62)
CONTENTS = st.builds(Content, IDS, NUMBERS, st.lists(st.builds(Ref, IDS, NUMBERS, NUMBERS), max_size=3).map(tuple))
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)
FILES = st.lists(st.tuples(NAMES, CONTENTS), max_size=8)


@given(FILES)
def test_files_come_back_from_columns(files: list[tuple[str, Content]]) -> None:
    columns = FileColumns.of(files)
    assert list(columns) == files
    assert len(columns) == len(files)
    assert columns.split_names() == [name for name, _ in files]


@given(st.lists(FILES, max_size=5))
def test_joined_files_are_those_of_all_in_their_order(parts: list[list[tuple[str, Content]]]) -> None:
    assert list(join_files(map(FileColumns.of, parts))) == [file for part in parts for file in part]
    contents = [[content for _, content in part] for part in parts]
    assert list(join_contents(map(ContentColumns.of, contents))) == [content for part in contents for content in part]


@given(FILES, NAMES)
def test_prefixed_files_have_longer_names_and_the_same_contents(files: list[tuple[str, Content]], prefix: str) -> None:
    assert list(FileColumns.of(files).prefixed(prefix)) == [(prefix + name, content) for name, content in files]


def test_many_small_contents_are_as_if_each_was_written_alone(store: ObjectStore) -> None:
    parts = [b"", b"a", b"b" * 1000, b"", b"c" * (MIN_CHUNK_BYTES - 1), b"d"]
    with ContentWriter(store) as writer:
        assert len(pack_small(writer.packs, [])) == 0
        together = [content for some in (parts, parts[:1], parts) for content in pack_small(writer.packs, some)]
        stored = writer.stored_bytes
        alone = [writer.write(data) for data in (*parts, *parts[:1], *parts)]
    assert [(content.hash, content.size) for content in together] == [(content.hash, content.size) for content in alone]
    assert [ContentReader(store).read(content) for content in together] == [*parts, *parts[:1], *parts]
    assert stored == 2 * sum(len(data) + 40 for data in parts if data)


@given(st.lists(CONTENTS, max_size=8))
def test_columns_make_the_array_that_contents_make(contents: list[Content]) -> None:
    array = columns_array(ContentColumns.of(contents))
    assert array.type == CONTENT_TYPE
    assert array.equals(content_array(contents))
    array.validate(full=True)


def test_columns_are_not_copied_into_the_array() -> None:
    columns = ContentColumns.of([Content(bytes(32), 5, ())] * 3)
    [size, *_] = columns_array(columns).flatten()
    assert size.buffers()[1].address == pa.py_buffer(columns.sizes).address
