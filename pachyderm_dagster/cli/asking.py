"""Changes that commands ask for: done at once, or added to the transaction that is active."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from pachyderm_dagster.cli.home import writing
from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.pfs.requests import Contents
from pachyderm_dagster.pps import transactions
from pachyderm_dagster.pps.requests import Made, Request, apply
from pachyderm_dagster.record import open_record
from pachyderm_dagster.settings import load_settings

FILE = "transaction"


def ask(environ: Mapping[str, str], request: Request) -> list[Made]:
    """Does what is asked for, or adds it to the active transaction; what it made or will make. For requests that need nothing in the object store.

    Errors as `requests.apply`; `transaction-not-found`, when the active transaction is gone.
    """
    added = add_to_active(environ, request)
    return writing(environ, lambda txn: apply(txn, request, Contents())) if added is None else added


def add_to_active(environ: Mapping[str, str], request: Request) -> list[Made] | None:
    """Adds a request to the active transaction and returns what it will make; None when no transaction is active. Errors as `transactions.append`."""
    active = active_transaction(environ)
    if active is None:
        return None
    with closing(open_record(environ).database) as database:
        return transactions.append(database, active, request)


def active_transaction(environ: Mapping[str, str]) -> str | None:
    """The id of the transaction that commands of this home add to, or None."""
    try:
        return _file(environ).read_text().strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None


def set_active_transaction(environ: Mapping[str, str], transaction_id: str | None) -> None:
    """From now on, commands of this home add to this transaction; None: they act.

    Raises:
        StorageError: `home-unusable`.
    """
    path = _file(environ)
    try:
        if transaction_id is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{transaction_id}\n")
    except OSError as error:
        raise StorageError("home-unusable", f"{path} cannot be written: {error.strerror}; set PACHYDERM_HOME to a folder that you can write") from error


def _file(environ: Mapping[str, str]) -> Path:
    return load_settings(environ).home / FILE
