"""How `dg` lists our components."""

import inspect
from typing import Any

import dagster as dg


def component_type(tag: str, *produces: str) -> dg.ComponentTypeSpec:
    """What `get_spec` of a component gives: its tag, and the kinds of definitions that it makes."""
    more: dict[str, Any] = {"produces": list(produces)}
    # Dagster 1.12 takes nothing of what is produced.
    known = inspect.signature(dg.ComponentTypeSpec).parameters
    return dg.ComponentTypeSpec(tags=[tag], **{name: value for name, value in more.items() if name in known})
