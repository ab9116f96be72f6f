"""What speaks with etcd, imported when it is needed: an HTTP client takes as long as a whole command that looks, and need not be installed."""

import importlib
from types import ModuleType

from pachyderm_dagster.errors import InvalidError


def import_open_etcd() -> ModuleType:
    """The module `open_etcd`.

    Raises:
        InvalidError: `extra-missing`, when etcd's client is not installed.
    """
    try:
        return importlib.import_module("pachyderm_dagster.coordination.open_etcd")
    except ModuleNotFoundError as error:
        raise InvalidError("extra-missing", "coordination over etcd needs its client, which is not installed: pip install 'pachyderm-dagster[etcd]'") from error
