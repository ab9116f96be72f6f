"""Versioned data and incremental container pipelines for Dagster."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pachyderm_dagster.client.connecting import connect
    from pachyderm_dagster.errors import PachydermError

__all__ = ["PachydermError", "__version__", "connect"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Loads what is asked for: commands that only look at the record import this package too, and must be quick."""
    if name == "connect":
        return importlib.import_module("pachyderm_dagster.client.connecting").connect
    if name == "PachydermError":
        return importlib.import_module("pachyderm_dagster.errors").PachydermError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
