"""Which nodes a `--node-field-selector` means."""

import re
from collections.abc import Callable, Mapping
from typing import Final

from pachyderm_dagster.argo.nodes import Node
from pachyderm_dagster.errors import InvalidError

_TERM = re.compile(r"(?P<field>[^=!]+?)\s*(?P<operator>==|=|!=)\s*(?P<value>.*)")
_INPUT = re.compile(r"inputs\.parameters\.(.+)\.value")
_FIELDS: Final[Mapping[str, Callable[[Node], str]]] = {
    "id": lambda node: node.id,
    "name": lambda node: node.name,
    "displayName": lambda node: node.display_name,
    "templateName": lambda node: node.template,
    "phase": lambda node: node.phase.value,
    "message": lambda node: node.message,
}


def selected(selector: str, node: Node) -> bool:
    """Whether a node is meant by a selector: `FIELD=VALUE`, `FIELD!=VALUE`, several with commas between them.

    Raises:
        InvalidError: `selector-invalid`.
    """
    return all(_holds(term.strip(), node) for term in selector.split(",") if term.strip())


def _holds(term: str, node: Node) -> bool:
    found = _TERM.fullmatch(term)
    if found is None:
        raise InvalidError("selector-invalid", f"{term!r} selects nothing; write FIELD=VALUE, as 'displayName=approve'")
    return (_value(found["field"].strip(), node) == found["value"]) is (found["operator"] != "!=")


def _value(field: str, node: Node) -> str:
    of_input = _INPUT.fullmatch(field)
    if of_input is not None:
        return node.inputs.get(of_input[1], "")
    if field not in _FIELDS:
        known = ", ".join(_FIELDS)
        raise InvalidError("selector-invalid", f"nodes have no field {field!r} to select by; there are {known} and inputs.parameters.NAME.value")
    return _FIELDS[field](node)
