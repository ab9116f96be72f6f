"""The rows of a record as bytes, for a file that another record is made from: every table, whatever it holds."""

from collections.abc import Collection, Iterator
from typing import Any

import msgspec
import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.metadata.engines import VERSION_TABLE

ROWS_AT_ONCE = 1000
PASSING = frozenset({t.lease.name})
"""What says who is at work now."""
OF_ITS_STORE = frozenset({t.collection.name, t.released_tree.name, t.record_state.name})
"""What says something of the store beside the record, and is of no use beside another."""


class Batch(msgspec.Struct, frozen=True):
    """Rows of one table.

    Args:
        columns: their names.
        rows: of each the values in this order: times in UTC, bytes, texts, numbers, and what JSON columns hold.
    """

    table: str
    columns: tuple[str, ...]
    rows: list[list[Any]]


def dump(txn: Transaction, *, without: Collection[str]) -> Iterator[Batch]:
    """The rows of all tables but some, in an order in which they can be inserted."""
    for table in t.metadata.sorted_tables:
        if table.name not in without and table.name != VERSION_TABLE:
            yield from _rows_of(txn, table)


def _rows_of(txn: Transaction, table: sa.Table) -> Iterator[Batch]:
    names = tuple(str(column.name) for column in table.columns)
    result = txn.connection.execution_options(stream_results=True).execute(sa.select(table).order_by(*table.primary_key.columns))
    for rows in result.partitions(ROWS_AT_ONCE):
        yield Batch(str(table.name), names, [list(row) for row in rows])
