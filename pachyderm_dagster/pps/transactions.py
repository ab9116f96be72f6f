"""Several requests as one change: one commit set, one job a pipeline, all or nothing (docs/design/0006)."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from pachyderm_dagster.errors import PachydermError, StateError
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs import user_transactions
from pachyderm_dagster.pfs.attempts import attempts
from pachyderm_dagster.pfs.requests import Contents
from pachyderm_dagster.pfs.user_transactions import UserTransaction
from pachyderm_dagster.pps.requests import CreatePipeline, Made, Request, apply, describe

T = TypeVar("T")
Prepare = Callable[[Contents], None]
"""Puts what is missing of the contents into the object store."""


def requests_of(transaction: UserTransaction) -> list[Request]:
    """What was asked for in a transaction, oldest first."""
    return [msgspec.convert(document, Request) for document in transaction.requests]


def append(database: Database, transaction_id: str, request: Request, prepare: Prepare | None = None) -> list[Made]:
    """Adds a request to a transaction, when it works after those that are there. Returns what it will make, as far as that can be known.

    Args:
        prepare: to try the contents of the request too; without it they are taken to be good.

    Raises:
        NotFoundError: `transaction-not-found`.
        StateError: `transaction-active`, for a request with a source folder: nothing would keep its files until the end.
        PachydermError: whatever doing the request would raise now.
    """
    if isinstance(request, CreatePipeline) and request.source is not None:
        raise StateError("transaction-active", "files are no part of a transaction, a source folder neither; make the pipeline outside of it")

    def add(txn: Transaction, contents: Contents) -> list[Made]:
        asked = [*requests_of(user_transactions.get_transaction(txn, transaction_id)), request]
        made = database.rehearse(txn, lambda trial: _apply_in_order(trial, asked, contents, before=len(asked) - 1, transaction_id=transaction_id))
        user_transactions.add_request(txn, transaction_id, msgspec.to_builtins(request))
        return made[-1]

    return _with_contents(database, add, prepare, id=transaction_id, trial=True)


def finish(database: Database, transaction_id: str, prepare: Prepare) -> UserTransaction:
    """Does all requests of a transaction at once and removes it. Its id is that of the commit set.

    Raises:
        NotFoundError: `transaction-not-found`.
        PachydermError: whatever a request raises, with its number; the transaction stays as it was.
    """

    def change(txn: Transaction, contents: Contents) -> UserTransaction:
        transaction = user_transactions.delete_transaction(txn, transaction_id)
        asked = requests_of(transaction)
        _apply_in_order(txn, asked, contents, before=len(asked), transaction_id=transaction_id)
        return transaction

    return _with_contents(database, change, prepare, id=transaction_id)


def apply_all(database: Database, requests: Sequence[Request], prepare: Prepare, *, id: str | None = None) -> list[list[Made]]:
    """Does requests at once, and returns what each of them made, changed or removed.

    Args:
        id: of the commit set; a new one when None.

    Raises:
        PachydermError: whatever a request raises, with its number when there are several; nothing was done.
    """
    several = len(requests) if len(requests) > 1 else 0
    return _with_contents(database, lambda txn, contents: _apply_in_order(txn, requests, contents, before=several), prepare, id=id or database.clock.new_id())


class _Unprepared(Exception):
    """The requests ask for contents that are not in the object store yet."""


def _with_contents(database: Database, change: Callable[[Transaction, Contents], T], prepare: Prepare | None, *, id: str, trial: bool = False) -> T:
    contents = Contents(trial)

    def checked(txn: Transaction) -> T:
        contents.forget_missing()
        result = change(txn, contents)
        if prepare is not None and not contents.is_complete:
            raise _Unprepared
        return result

    for _ in attempts("an open commit"):
        try:
            return database.write(checked, id=id)
        except _Unprepared:
            assert prepare is not None
            prepare(contents)
    raise AssertionError("attempts() raises when there are no more")


def _apply_in_order(txn: Transaction, requests: Sequence[Request], contents: Contents, *, before: int, transaction_id: str | None = None) -> list[list[Made]]:
    """Does requests; errors of those before a position say which it was."""
    made = []
    for position, request in enumerate(requests):
        try:
            made.append(apply(txn, request, contents))
        except PachydermError as error:
            if position >= before:
                raise
            way_out = "" if transaction_id is None else f"; when that cannot be mended, `pachctl delete transaction {transaction_id}` gives the transaction up"
            where = f"request {position + 1} of {len(requests)}, `{describe(request)}`"
            raise type(error)(error.code, f"{where}: {error.message}; nothing was done{way_out}") from error
    return made
