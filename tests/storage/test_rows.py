"""Contents as columns."""

import tracemalloc

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.objects import Ref
from pachyderm_dagster.storage.rows import CONTENT_FIELDS, CONTENT_TYPE, content_array, contents_of

IDS = st.binary(min_size=32, max_size=32)
NUMBERS = st.integers(0, 2**62)
CONTENTS = st.lists(st.builds(Content, IDS, NUMBERS, st.lists(st.builds(Ref, IDS, NUMBERS, NUMBERS), max_size=3).map(tuple)), max_size=8)


@given(CONTENTS, st.integers(0, 8), st.integers(0, 8))
def test_contents_come_back_from_arrays_and_slices(contents: list[Content], start: int, stop: int) -> None:
    array = content_array(contents)
    assert array.type == CONTENT_TYPE
    assert contents_of(array) == contents
    assert contents_of(array[start:stop]) == contents[start:stop]


@given(CONTENTS, CONTENTS)
def test_contents_come_back_from_tables_of_several_pieces(first: list[Content], second: list[Content]) -> None:
    tables = [pa.Table.from_arrays(content_array(contents).flatten(), schema=pa.schema(CONTENT_FIELDS)) for contents in (first, second)]
    assert contents_of(pa.concat_tables(tables)) == first + second


def test_slice_is_read_without_the_rest() -> None:
    count = 50_000
    contents = content_array([Content(b"h" * 32, 1, (Ref(b"o" * 32, number, 1),)) for number in range(count)])
    rows = pa.RecordBatch.from_struct_array(contents)
    # What is in the rest would be converted to objects, half a kilobyte each.
    tracemalloc.start()
    assert [content.refs[0].offset for content in contents_of(rows[100:356])] == list(range(100, 356))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
