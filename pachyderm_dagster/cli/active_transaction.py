"""Which transaction commands of a home add to: its id stands in a file there."""

from collections.abc import Mapping
from pathlib import Path

from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.settings import load_settings

FILE = "transaction"


def active_transaction(environ: Mapping[str, str]) -> str | None:
    """The id of the transaction that commands of this home add to, or None. It may have been finished or deleted elsewhere."""
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
