"""The commands for transactions."""

from collections.abc import Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.active_transaction import active_transaction, set_active_transaction
from pachyderm_dagster.cli.documents import transaction_document
from pachyderm_dagster.cli.home import reading, writing
from pachyderm_dagster.cli.lazy import load
from pachyderm_dagster.cli.printing import Column, Document, Printer, Times, printing, text, time
from pachyderm_dagster.cli.staying_workers import tend
from pachyderm_dagster.cli.visible import visible
from pachyderm_dagster.errors import StateError
from pachyderm_dagster.pfs import user_transactions
from pachyderm_dagster.pfs.user_transactions import UserTransaction


def _number_of_requests(document: Document, _: Times) -> str:
    return str(len(document["requests"]))


def _numbered_requests(document: Document, _: Times) -> str:
    return "".join(f"\n{number}. {visible(line)}" for number, line in enumerate(document["requests"], 1)) or "none yet"


COLUMNS = (Column("TRANSACTION", text("id")), Column("STARTED", time("started")), Column("REQUESTS", _number_of_requests))
LINES = (Column("Transaction", text("id")), Column("Started", time("started")), Column("Requests", _numbered_requests, of_lines=True))


@click.command(epilog="Example: pachctl start transaction")
@printing
@click.pass_obj
def start_transaction(environ: Mapping[str, str], printer: Printer) -> None:
    """From then on the commands that change repos, branches, commits and pipelines add to it instead of acting. It prints the transaction's id, which
    will be that of the commit set.
    """
    active = active_transaction(environ)
    if active is not None:
        raise StateError("transaction-active", f"transaction '{active}' is active already; `pachctl finish transaction` or `pachctl stop transaction` first")
    started = writing(environ, user_transactions.start_transaction)
    set_active_transaction(environ, started.id)
    if printer.for_programs:
        printer.only_documents(transaction_document(started))
    else:
        click.echo(started.id)


@click.command(epilog="Example: pachctl finish transaction")
@click.argument("transaction", metavar="[ID]", required=False)
@printing
@click.pass_obj
def finish_transaction(environ: Mapping[str, str], transaction: str | None, printer: Printer) -> None:
    """Everything that was asked for happens at once: one commit set, one job a pipeline. When something is refused nothing happens and the transaction
    stays.
    """
    with closing(load("pachyderm_dagster.workspace:open_workspace")(environ)) as workspace:
        finished: UserTransaction = workspace.pps.finish_transaction(_named_or_active(environ, transaction))
    _leave(environ, finished.id)
    printer.only_documents(transaction_document(finished))
    tend(environ)


@click.command(epilog="Example: pachctl stop transaction")
@printing
@click.pass_obj
def stop_transaction(environ: Mapping[str, str], printer: Printer) -> None:
    """Commands act again; what the transaction holds is kept for `resume transaction`."""
    active = _named_or_active(environ, None)
    with reading(environ) as txn:
        found = [transaction for transaction in user_transactions.list_transaction(txn) if transaction.id == active]
    set_active_transaction(environ, None)
    printer.only_documents(*map(transaction_document, found))


@click.command(epilog="Example: pachctl resume transaction 0f3c6d8e5b1a4c7d9e2f8a6b4c1d3e5f")
@click.argument("transaction", metavar="ID")
@printing
@click.pass_obj
def resume_transaction(environ: Mapping[str, str], transaction: str, printer: Printer) -> None:
    """Commands add to this one from then on."""
    with reading(environ) as txn:
        found = user_transactions.get_transaction(txn, transaction)
    set_active_transaction(environ, found.id)
    printer.only_documents(transaction_document(found))


@click.command(epilog="Example: pachctl inspect transaction")
@click.argument("transaction", metavar="[ID]", required=False)
@printing
@click.pass_obj
def inspect_transaction(environ: Mapping[str, str], transaction: str | None, printer: Printer) -> None:
    """The requests that it holds, in their order; without an ID, those of the active one."""
    with reading(environ) as txn:
        found = user_transactions.get_transaction(txn, _named_or_active(environ, transaction))
    printer.one(transaction_document(found), LINES)


@click.command(epilog="Example: pachctl list transaction")
@printing
@click.pass_obj
def list_transaction(environ: Mapping[str, str], printer: Printer) -> None:
    """Those that are neither finished nor deleted, oldest first; a `*` marks the active one."""
    with reading(environ) as txn:
        found = user_transactions.list_transaction(txn)
    active = active_transaction(environ)
    mark = Column("ACTIVE", lambda document, _: "*" if document["id"] == active else "")
    printer.many(map(transaction_document, found), (mark, *COLUMNS))


@click.command(epilog="Example: pachctl delete transaction")
@click.argument("transaction", metavar="[ID]", required=False)
@printing
@click.pass_obj
def delete_transaction(environ: Mapping[str, str], transaction: str | None, printer: Printer) -> None:
    """What was asked for in it is forgotten; without an ID, the active one."""
    named = _named_or_active(environ, transaction)
    deleted = writing(environ, lambda txn: user_transactions.delete_transaction(txn, named))
    _leave(environ, deleted.id)
    printer.only_documents(transaction_document(deleted))


def _named_or_active(environ: Mapping[str, str], named: str | None) -> str:
    found = named or active_transaction(environ)
    if found is None:
        raise StateError(
            "no-transaction", "no transaction is active; `pachctl start transaction` makes one, `pachctl list transaction` shows those that are open"
        )
    return found


def _leave(environ: Mapping[str, str], transaction_id: str) -> None:
    if active_transaction(environ) == transaction_id:
        set_active_transaction(environ, None)
