"""Versioned data and incremental container pipelines for Dagster."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pachyderm_dagster.client.connecting import connect

__all__ = ["__version__", "connect"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Loads `connect` when it is asked for: commands that only look at the record import this package too, and must be quick."""
    if name == "connect":
        return importlib.import_module("pachyderm_dagster.client.connecting").connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
