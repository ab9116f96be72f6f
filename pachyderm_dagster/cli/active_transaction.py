"""Which transaction commands of a home add to: its id stands in a file there."""

from collections.abc import Mapping
from pathlib import Path

from pachyderm_dagster.errors import InvalidError, StorageError
from pachyderm_dagster.settings import load_settings

FILE = "transaction"


def active_transaction(environ: Mapping[str, str]) -> str | None:
    """The id of the transaction that commands of this home add to, or None. It may have been finished or deleted elsewhere.

    Raises:
        InvalidError: `config-invalid`, when the file holds something else.
        StorageError: `home-unusable`.
    """
    path = _file(environ)
    try:
        return path.read_text(encoding="ascii").strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError as error:
        raise InvalidError("config-invalid", f"{path} holds no id of a transaction; remove that file, and no transaction is active") from error
    except OSError as error:
        raise StorageError("home-unusable", f"{path} cannot be read: {error.strerror}; set PACHYDERM_HOME to a folder that you can read") from error


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
