"""What is told of tables among files: columns, rows, and when nothing is."""

import io
from collections.abc import Mapping

import dagster as dg
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pachyderm_dagster.integration.shown_tables import COUNTED_BYTES, TABLE_FILES, table_metadata
from pachyderm_dagster.storage.content import Content, ContentReader, ContentWriter
from pachyderm_dagster.storage.open_store import open_store
from tests.storage.faulty import CountingStore

ROWS, COLUMNS = "dagster/row_count", "dagster/column_schema"


class Files:
    """Files in a store of their own."""

    def __init__(self) -> None:
        self.store = CountingStore(open_store("memory://"))
        self.reader = ContentReader(self.store)

    def put(self, files: Mapping[str, bytes]) -> dict[str, Content]:
        with ContentWriter(self.store) as writer:
            return {name: writer.write(data) for name, data in files.items()}

    def shown(self, files: Mapping[str, bytes], *, is_all: bool = True, partitioned: bool = False) -> dict[str, object]:
        """Metadata by key; a schema as `name type` texts."""
        found = table_metadata(self.reader, self.put(files), is_all=is_all, partitioned=partitioned)
        return {key: _columns(value) if isinstance(value, dg.TableSchemaMetadataValue) else value.value for key, value in found.items()}


def _columns(value: dg.TableSchemaMetadataValue) -> list[str]:
    return [f"{column.name} {column.type}" for column in value.schema.columns]


def parquet(table: pa.Table, **options: object) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


@pytest.fixture
def files() -> Files:
    return Files()


def test_parquet_files_with_the_same_columns_are_one_table(files: Files) -> None:
    one, two = pa.table({"id": [1, 2], "name": ["a", "b"]}), pa.table({"id": [3], "name": ["c"]})
    assert files.shown({"/a.parquet": parquet(one), "/b/c.pq": parquet(two), "/readme.md": b"two files"}) == {COLUMNS: ["id int64", "name string"], ROWS: 3}


def test_rows_of_a_partition_are_told_as_such(files: Files) -> None:
    found = files.shown({"/day/a.parquet": parquet(pa.table({"id": [1, 2]}))}, partitioned=True)
    assert found == {COLUMNS: ["id int64"], "dagster/partition_row_count": 2}


def test_footer_is_all_that_is_read_of_a_large_parquet_file(files: Files) -> None:
    large = parquet(pa.table({"id": range(2_000_000)}), compression="none", use_dictionary=False)
    contents = files.put({"/large.parquet": large})
    files.store.bytes_read = 0
    found = table_metadata(files.reader, contents, is_all=True)
    assert found[ROWS].value == 2_000_000
    assert len(large) > 16_000_000 and files.store.bytes_read < 3_000_000


def test_files_with_different_columns_are_no_table(files: Files) -> None:
    assert files.shown({"/a.parquet": parquet(pa.table({"id": [1]})), "/b.parquet": parquet(pa.table({"key": [1]}))}) == {}


def test_rows_are_not_counted_when_there_are_more_files_than_were_looked_at(files: Files) -> None:
    one = parquet(pa.table({"id": [1]}))
    assert files.shown({f"/{number}.parquet": one for number in range(TABLE_FILES)}) == {COLUMNS: ["id int64"], ROWS: TABLE_FILES}
    assert files.shown({f"/{number}.parquet": one for number in range(TABLE_FILES + 1)}) == {COLUMNS: ["id int64"]}
    assert files.shown({"/a.parquet": one}, is_all=False) == {COLUMNS: ["id int64"]}


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 and no footer PAR1", b"name,price\n"])
def test_file_that_is_only_called_parquet_is_no_table(files: Files, content: bytes) -> None:
    assert files.shown({"/a.parquet": content}) == {}


def test_types_and_rows_of_csv_are_read(files: Files) -> None:
    text = pl.DataFrame({"name": ["fiat", "a\nb"], "speed": [120, None], "price": [1.5, 2.0]}).write_csv().encode()
    assert files.shown({"/cars.CSV": text}) == {COLUMNS: ["name string", "speed int64", "price double"], ROWS: 2}


def test_numbers_in_one_csv_file_and_none_in_another_are_one_column(files: Files) -> None:
    found = files.shown({"/a.csv": b"id,price\n1,2\n", "/b.csv": b"id,price\n2,0.5\n", "/c.csv": b"id,price\n"})
    assert found == {COLUMNS: ["id int64", "price double"], ROWS: 2}


@pytest.mark.parametrize("text", [b"fiat,10\nopel,20\n", b"a,a\n1,2\n", b"a,\n1,2\n", b"a,b\n1,2\n3\n", b"", b"\n\n", b"\xff\xfe\x00,\x80\n1,2\n"])
def test_csv_without_a_header_or_with_odd_lines_is_no_table(files: Files, text: bytes) -> None:
    assert files.shown({"/a.csv": text}) == {}


def test_large_csv_is_told_by_its_beginning_and_not_counted(files: Files) -> None:
    line = b"1,some text\n"
    contents = files.put({"/large.csv": b"id,name\n" + line * (8 * COUNTED_BYTES // len(line))})
    files.store.bytes_read = 0
    found = table_metadata(files.reader, contents, is_all=True)
    (columns,) = found.values()
    assert isinstance(columns, dg.TableSchemaMetadataValue) and _columns(columns) == ["id int64", "name string"]
    assert files.store.bytes_read < COUNTED_BYTES


def test_parquet_goes_before_csv(files: Files) -> None:
    assert files.shown({"/a.csv": b"x\n1\n", "/b.parquet": parquet(pa.table({"id": [1]}))}) == {COLUMNS: ["id int64"], ROWS: 1}
