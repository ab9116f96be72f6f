"""Transactions of users: requests that are gathered in the record until they are done together. What a request says is known to the layers above."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction


@dataclass(frozen=True, slots=True)
class UserTransaction:
    """A transaction that is not finished. Its id will be that of the commit set that it makes."""

    id: str
    started: dt.datetime
    requests: tuple[Mapping[str, Any], ...]
    """Documents, oldest first."""


def start_transaction(txn: Transaction) -> UserTransaction:
    """Opens a transaction without requests."""
    txn.run(sa.insert(t.open_transaction).values(id=txn.id, started=txn.clock.now()))
    return get_transaction(txn, txn.id)


def list_transaction(txn: Transaction) -> list[UserTransaction]:
    """The transactions that are not finished, oldest first."""
    return _list(txn, sa.true())


def get_transaction(txn: Transaction, transaction_id: str) -> UserTransaction:
    """One of them.

    Raises:
        NotFoundError: `transaction-not-found`.
    """
    found = _list(txn, t.open_transaction.c.id == transaction_id)
    if not found:
        raise NotFoundError(
            "transaction-not-found",
            f"transaction '{transaction_id}' does not exist, or was finished or deleted; `pachctl list transaction` shows those that are open, "
            "`pachctl stop transaction` leaves one that is gone",
        )
    return found[0]


def add_request(txn: Transaction, transaction_id: str, request: Mapping[str, Any]) -> None:
    """Adds a request behind those that are there."""
    txn.run(sa.insert(t.transaction_request).values(transaction_id=transaction_id, request=request))


def delete_transaction(txn: Transaction, transaction_id: str) -> UserTransaction:
    """Removes a transaction with its requests and returns it as it was.

    Raises:
        NotFoundError: `transaction-not-found`.
    """
    found = get_transaction(txn, transaction_id)
    txn.run(sa.delete(t.transaction_request).where(t.transaction_request.c.transaction_id == transaction_id))
    txn.run(sa.delete(t.open_transaction).where(t.open_transaction.c.id == transaction_id))
    return found


def _list(txn: Transaction, chosen: sa.ColumnElement[bool]) -> list[UserTransaction]:
    rows = txn.all(
        sa.select(t.open_transaction.c.id, t.open_transaction.c.started, t.transaction_request.c.request)
        .join_from(t.open_transaction, t.transaction_request, isouter=True)
        .where(chosen)
        .order_by(t.open_transaction.c.started, t.open_transaction.c.id, t.transaction_request.c.id)
    )
    requests: dict[tuple[str, dt.datetime], list[Mapping[str, Any]]] = {}
    for row in rows:
        requests.setdefault((row.id, row.started), []).extend([] if row.request is None else [row.request])
    return [UserTransaction(id, started, tuple(found)) for (id, started), found in requests.items()]
