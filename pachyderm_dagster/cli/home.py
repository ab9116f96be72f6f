"""Short visits to the record of the home that the environment names."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.record import Record, open_record

T = TypeVar("T")


@contextlib.contextmanager
def opened(environ: Mapping[str, str]) -> Iterator[Record]:
    """The record for a `with` block. Errors as `open_record`."""
    record = open_record(environ)
    try:
        yield record
    finally:
        record.database.close()


@contextlib.contextmanager
def reading(environ: Mapping[str, str]) -> Iterator[Transaction]:
    """One consistent look at the record. Errors as `open_record`."""
    with opened(environ) as record, record.database.read() as txn:
        yield txn


def writing(environ: Mapping[str, str], change: Callable[[Transaction], T]) -> T:
    """Runs `change`, which may run twice, in one transaction and returns what it returned. Errors as `open_record` and `Database.write`."""
    with opened(environ) as record:
        return record.database.write(change)
