"""Text of a workflow file into plain documents, as Argo's own reader takes it, with the line of everything.

That reader is YAML 1.1 in Go's way: `yes`, `on` and a bare `y` are true, `010` is eight, `12:30` and dates are text, and a key that is a boolean is its word.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pps.documents import not_yaml, shorten
from pachyderm_dagster.pps.strict import Place

MAX_VALUES = 200_000
MAX_DEPTH = 100
_TRUE = frozenset(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
_FALSE = frozenset(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_INT = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]+|[1-9][0-9_]*|0)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
_MERGE = "<<"
_STRING_MARK = "!!str"
_QUOTES = ("|", ">", "'", '"')


class _Loader(yaml.SafeLoader):
    """Composes nodes; plain scalars stay untagged, because what they are is decided here."""


_Loader.yaml_implicit_resolvers = {}


def read_documents(text: str, source: str) -> Iterator[tuple[Any, Place]]:
    """The documents of a text that are not empty, each with its place, which knows the line of every path in it.

    Raises:
        InvalidError: `spec-invalid`, with line and column where there is one.
    """
    try:
        nodes = list(yaml.compose_all(text.removeprefix("\ufeff"), _Loader))
    except yaml.MarkedYAMLError as error:
        raise not_yaml(error, source) from error
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidError("spec-invalid", f"{source}: {' '.join(str(error).split())}; correct the text there") from error
    except RecursionError:
        raise InvalidError("spec-invalid", f"{source}: nested too deeply to be a workflow; write it flatter") from None
    for node in nodes:
        reading = _Reading(source)
        value = reading.value(node, Place(source, lines=reading.lines), 0)
        if value is not None:
            yield value, Place(source, lines=reading.lines)


class _Reading:
    """One document on its way from nodes to values."""

    def __init__(self, source: str) -> None:
        self.lines: dict[str, int] = {}
        self._source = source
        self._count = 0

    def value(self, node: yaml.Node, place: Place, depth: int) -> Any:
        """What a node stands for."""
        self.lines.setdefault(place.path, node.start_mark.line + 1)
        self._count += 1
        if self._count > MAX_VALUES or depth > MAX_DEPTH:
            # A few lines can stand for a value without end, through aliases.
            raise InvalidError("spec-invalid", f"{self._source}: nested too deeply, or too large, to be a workflow; write it flatter, or as several")
        match node:
            case yaml.MappingNode():
                return self._mapping(node, place, depth)
            case yaml.SequenceNode():
                return [self.value(item, place.item(index), depth + 1) for index, item in enumerate(node.value)]
            case yaml.ScalarNode():
                return _scalar(node, place)
            case _:
                raise TypeError(node)

    def _mapping(self, node: yaml.MappingNode, place: Place, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.value == _MERGE and not key_node.style:
                for part in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    _check_merge(part, place)
                    merged = self.value(part, place, depth + 1) | merged
                continue
            key = _key(key_node, place)
            if key in found:
                self._refuse_twice(key, key_node)
            self.lines[place.field(key).path] = key_node.start_mark.line + 1
            found[key] = self.value(value_node, place.field(key), depth + 1)
        return merged | found

    def _refuse_twice(self, key: str, node: yaml.Node) -> NoReturn:
        mark = node.start_mark
        where = f"at line {mark.line + 1}, column {mark.column + 1}"
        raise InvalidError("spec-invalid", f"{self._source}: the key {key!r} is given twice in one object, {where}; remove one")


def _check_merge(node: yaml.Node, place: Place) -> None:
    if not isinstance(node, yaml.MappingNode):
        raise place.invalid("'<<' takes an object, or a list of objects, to merge into this one")


def _key(node: yaml.Node, place: Place) -> str:
    value = _scalar(node, place) if isinstance(node, yaml.ScalarNode) else None
    match value:
        case bool():
            return str(value).lower()
        case str() | int() | float():
            return str(value)
        case _:
            raise place.invalid("a key is neither text nor a number; put it in quotes")


def _scalar(node: yaml.ScalarNode, place: Place) -> Any:
    text: str = node.value
    if node.style in _QUOTES:
        return text
    # Without resolvers every plain scalar is called a string; one that is marked so in the text looks the same, and is rare enough to be asked for its mark.
    return text if _is_marked_string(node) else _plain(text, place)


def _is_marked_string(node: yaml.ScalarNode) -> bool:
    mark = node.start_mark
    return mark.buffer is not None and str(mark.buffer[mark.pointer : mark.pointer + len(_STRING_MARK)]) == _STRING_MARK


def _plain(text: str, place: Place) -> Any:
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _INT.fullmatch(text):
        try:
            return _integer(text.replace("_", ""))
        except ValueError:
            raise place.invalid(f"{shorten(text)} is no whole number that can be read; put it in quotes to have it as text") from None
    if _FLOAT.fullmatch(text):
        return float(text)
    if text.lower() in _SPECIAL:
        raise place.invalid(f"{text} is no number of JSON; put it in quotes to have it as text")
    return text


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
        return int(digits, 8) * (-1 if text[0] == "-" else 1)
    return int(text, 0)
