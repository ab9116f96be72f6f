"""Short visits to the record of the home that the environment names."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.record import open_record

T = TypeVar("T")


@contextlib.contextmanager
def reading(environ: Mapping[str, str]) -> Iterator[Transaction]:
    """One consistent look at the record. Errors as `open_record`."""
    record = open_record(environ)
    try:
        with record.database.read() as txn:
            yield txn
    finally:
        record.database.close()


def writing(environ: Mapping[str, str], change: Callable[[Transaction], T]) -> T:
    """Runs `change`, which may run twice, in one transaction and returns what it returned. Errors as `open_record` and `Database.write`."""
    record = open_record(environ)
    try:
        return record.database.write(change)
    finally:
        record.database.close()
