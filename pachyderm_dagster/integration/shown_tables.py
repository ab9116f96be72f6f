"""Columns and rows of the tables among some files of a commit: of Parquet by its footers, of CSV by its beginning."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.pfs.open_files import ReadableContent
from pachyderm_dagster.storage.content import Content, ContentReader

TABLE_FILES = 20
"""So many files are looked into. Of more no rows are counted."""
SAMPLE_BYTES = 64 * 1024
"""So much of a CSV file is read to tell its types."""
COUNTED_BYTES = 4 * 1024 * 1024
"""CSV files that are no larger together are read whole, and their rows counted."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of a table, and its rows as far as they were counted."""

    columns: pa.Schema
    rows: int | None


def table_metadata(reader: ContentReader, files: Mapping[str, Content], *, is_all: bool, partitioned: bool = False) -> dict[str, dg.MetadataValue]:
    """Columns and row count of the Parquet files, or of the CSV files where there are none: when they all have the same columns, for then they are one table.

    Args:
        files: by path.
        is_all: there are no others.
        partitioned: the rows are those of a partition.

    Raises:
        PachydermError: the content cannot be read.
    """
    for suffixes, shapes in _KINDS:
        found = [content for name, content in files.items() if name.lower().endswith(suffixes)]
        if found:
            shape = _one_table(shapes(reader, found[:TABLE_FILES]))
            return {} if shape is None else _shown(shape, is_counted=is_all and len(found) <= TABLE_FILES, partitioned=partitioned)
    return {}


def _shown(shape: Shape, *, is_counted: bool, partitioned: bool) -> dict[str, dg.MetadataValue]:
    columns = [dg.TableColumn(field.name, str(field.type), constraints=dg.TableColumnConstraints(nullable=field.nullable)) for field in shape.columns]
    found: dict[str, dg.MetadataValue] = {labels.COLUMN_SCHEMA: dg.MetadataValue.table_schema(dg.TableSchema(columns))}
    if is_counted and shape.rows is not None:
        found[labels.PARTITION_ROW_COUNT if partitioned else labels.ROW_COUNT] = dg.MetadataValue.int(shape.rows)
    return found


def _one_table(shapes: Sequence[Shape | None]) -> Shape | None:
    """The table that the files are together; None when one cannot be read, or they have different columns."""
    read = [shape for shape in shapes if shape is not None]
    if len(read) < len(shapes) or len({tuple(shape.columns.names) for shape in read}) != 1:
        return None
    try:
        columns = pa.unify_schemas([shape.columns for shape in read], promote_options="permissive")
    except pa.ArrowException:
        return None
    counts = [shape.rows for shape in read if shape.rows is not None]
    return Shape(columns, sum(counts) if len(counts) == len(read) else None)


def _parquet_shapes(reader: ContentReader, files: Sequence[Content]) -> list[Shape | None]:
    return [_unless_broken(functools.partial(_parquet_shape, ReadableContent(reader, content))) for content in files]


def _parquet_shape(file: ReadableContent) -> Shape:
    footer = pq.ParquetFile(file)
    return Shape(footer.schema_arrow.remove_metadata(), footer.metadata.num_rows)


def _csv_shapes(reader: ContentReader, files: Sequence[Content]) -> list[Shape | None]:
    is_whole = sum(content.size for content in files) <= COUNTED_BYTES
    return [_unless_broken(functools.partial(_csv_shape, ReadableContent(reader, content), is_whole=is_whole)) for content in files]


def _csv_shape(file: ReadableContent, *, is_whole: bool) -> Shape | None:
    is_whole = is_whole or file.size <= SAMPLE_BYTES
    data = file.read() if is_whole else file.read(SAMPLE_BYTES)
    if not is_whole:
        # The last line is cut short.
        data = data[: data.rfind(b"\n") + 1]
    table = pyarrow.csv.read_csv(
        pa.BufferReader(data),
        # Types are told by the first block, so that is all of it.
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=max(len(data), 1)),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=None if is_whole else lambda _row: "skip"),
    )
    return Shape(table.schema, table.num_rows if is_whole else None) if _is_header(table.column_names) else None


def _is_header(names: Sequence[str]) -> bool:
    """Whether the first line of a CSV file names its columns, and is no row."""
    return all(names) and len(set(names)) == len(names) and not any(map(_is_number, names))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unless_broken(read: Callable[[], Shape | None]) -> Shape | None:
    """What is read; None when a file is not what its name says."""
    try:
        return read()
    except PachydermError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return None


_KINDS: Sequence[tuple[tuple[str, ...], Callable[[ContentReader, Sequence[Content]], list[Shape | None]]]] = (
    ((".parquet", ".pq"), _parquet_shapes),
    ((".csv",), _csv_shapes),
)
