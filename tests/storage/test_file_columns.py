"""Files as columns: what goes in comes out."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.file_columns import ContentColumns, FileColumns, join_files
from pachyderm_dagster.storage.objects import Ref
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
