"""Text of a spec file into plain documents: JSON, JSON after JSON, lists of them, YAML, YAML documents. Knows nothing of pipelines."""

import json
import re
from collections.abc import Hashable, Iterator
from typing import Any, NoReturn

import yaml

from pachyderm_dagster.errors import InvalidError

MAX_VALUES = 100_000
MAX_DEPTH = 100
_SHOWN = 60
_SPACE = re.compile(r"\s*")


def read_documents(text: str, source: str) -> list[Any]:
    """The documents of a text, those of a top-level list one by one, empty ones left out.

    Args:
        text: JSON or YAML.
        source: where it comes from, for the message.

    Raises:
        InvalidError: `spec-invalid`, with line and column.
    """
    text = text.removeprefix("\ufeff")
    try:
        found = list(_json_values(text)) if text.lstrip()[:1] in ("{", "[") else _yaml_values(text)
    except json.JSONDecodeError as error:
        found = _other_values(text, source, error)
    except yaml.MarkedYAMLError as error:
        raise not_yaml(error, source) from error
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidError("spec-invalid", f"{source}: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise InvalidError("spec-invalid", f"{source}: nested too deeply to be a pipeline spec") from None
    if not _is_bounded(found):
        raise InvalidError("spec-invalid", f"{source}: nested too deeply, or too large, to be a pipeline spec")
    documents: list[Any] = []
    for document in found:
        if isinstance(document, list):
            documents.extend(document)
        elif document is not None:
            documents.append(document)
    if not documents:
        raise InvalidError("spec-invalid", f"{source}: no pipeline spec in it; write one as JSON or YAML")
    return documents


def not_yaml(error: yaml.MarkedYAMLError, source: str) -> InvalidError:
    """The error `spec-invalid` of a text that is no YAML, with line and column where they are known."""
    mark = error.problem_mark
    place = f", at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return InvalidError("spec-invalid", f"{source}: not YAML: {error.problem}{place}; correct the text there")


def _is_bounded(value: Any) -> bool:
    # A few lines of YAML can stand for a value without end, through aliases.
    count, waiting = 0, [(value, 0)]
    while waiting:
        found, depth = waiting.pop()
        children = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
        waiting.extend((child, depth + 1) for child in children)
        count += 1
        if depth > MAX_DEPTH or count + len(waiting) > MAX_VALUES:
            return False
    return True


class _Loader(yaml.SafeLoader):
    """Plain values as in YAML 1.2: `yes`, `on`, `12:30` and dates stay the text that they are. A key given twice is an error."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT002 (PyYAML's signature)
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
            # What PyYAML's own readers of a tag raise for a value that is not of its kind.
            kind = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise yaml.constructor.ConstructorError(None, None, f"{_shown(node)} is no {kind} that can be read", node.start_mark) from error

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT002 (PyYAML's signature)
        if not isinstance(node, yaml.MappingNode):
            raise yaml.constructor.ConstructorError(None, None, f"{_shown(node)} is no object", node.start_mark)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} is given twice in one object", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
for _tag, _form, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_form})$"), _first)
# PyYAML reads `010` as octal; YAML 1.2 does not.
_Loader.add_constructor("tag:yaml.org,2002:int", lambda _loader, node: int(node.value, 16 if node.value.startswith("0x") else 10))


def _shown(node: yaml.Node) -> str:
    return repr(shorten(str(node.value))) if isinstance(node, yaml.ScalarNode) else "what stands here"


def shorten(text: str) -> str:
    """A value as messages show it."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _yaml_values(text: str) -> list[Any]:
    return list(yaml.load_all(text, _Loader))


def _other_values(text: str, source: str, error: json.JSONDecodeError) -> list[Any]:
    # A YAML document may begin with a brace too. If it is neither, what JSON says is the better hint.
    try:
        return _yaml_values(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InvalidError("spec-invalid", f"{source}: not JSON: {error.msg}, at line {error.lineno}, column {error.colno}; correct the text there") from error


def _json_values(text: str) -> Iterator[Any]:
    def whole(digits: str) -> int:
        try:
            return int(digits)
        except ValueError:
            raise json.JSONDecodeError(f"the whole number {shorten(digits)} has too many digits", text, text.find(digits)) from None

    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_int=whole, parse_constant=_refuse_constant)
    at = _after_space(text, 0)
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        yield value
        at = _after_space(text, at)


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    assert space is not None
    return space.end()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is given twice in one object; remove one")
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")
