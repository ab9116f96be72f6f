"""Replaces tags: `{{name}}` by what a flat map has under the name, `{{=expression}}` by what the expression comes to.

It works on the JSON text of a template or step, so that tags stand in every string and in no number, and what they stand for is escaped as JSON has it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from pachyderm_dagster.argo.expressions import evaluate
from pachyderm_dagster.argo.go_values import scalar_text
from pachyderm_dagster.errors import InvalidError

T = TypeVar("T")
_OPEN, _CLOSE = "{{", "}}"
# What is known in a later pass only: an expression with it has to wait, even where it would come to something without.
_LATER = re.compile(r"\b(?<!\.)(item|retries|lastRetry\.exitCode|lastRetry\.status|workflow\.status|workflow\.duration)\b")
# A member is written `.name`, `['name']` or, in JSON, `[\"name\"]`, with `?` or `?.` before it where there may be none.
_BEGIN, _END = r"""(?:\??\.|(?:\?\.)?\[\\?['"])""", r"""(?:\\?['"]\])?"""
_RESULT = re.compile(rf"\b(?:steps|tasks){_BEGIN}(?P<step>[\w-]+){_END}{_BEGIN}outputs{_END}{_BEGIN}result\b")


@dataclass(slots=True)
class Scope:
    """What tags stand for.

    Attributes:
        values: of simple tags, by name.
        functions: what expressions may call.
        absent: names whose outputs were never made, because what makes them was skipped: nothing in expressions.
    """

    values: dict[str, str]
    functions: Mapping[str, Any]
    absent: frozenset[str] = frozenset()
    _nested: dict[str, Any] | None = field(default=None, repr=False)

    def with_values(self, more: Mapping[str, str], absent: frozenset[str] = frozenset()) -> "Scope":
        """The same with more."""
        return Scope({**self.values, **more}, self.functions, self.absent | absent)

    def without(self, name: str) -> "Scope":
        """The same without what one tag stands for."""
        return Scope({known: value for known, value in self.values.items() if known != name}, self.functions, self.absent)

    def with_nested(self, more: Mapping[str, Any]) -> "Scope":
        """The same with more that only expressions see."""
        return Scope(self.values, self.functions, self.absent, {**self.nested, **more})

    @property
    def nested(self) -> dict[str, Any]:
        """The values as nested maps, for expressions."""
        if self._nested is None:
            self._nested = nest({**dict.fromkeys(self.absent), **self.values})
        return self._nested


def nest(values: Mapping[str, str | None]) -> dict[str, Any]:
    """Names with points as maps in maps; where a name is a value and a map, it is the map."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        *parents, last = name.split(".")
        inside = found
        for parent in parents:
            below = inside.get(parent)
            if not isinstance(below, dict):
                below = inside[parent] = {}
            inside = below
        if not isinstance(inside.get(last), dict):
            inside[last] = value
    return found


def evaluate_in(scope: Scope, expression: str) -> Any:
    """What an expression comes to. Errors as `expressions.evaluate`."""
    return evaluate(expression, scope.nested, scope.functions)


def replace_tags(text: str, scope: Scope, *, last: bool = False) -> str:
    """The text with its tags replaced; those that stand for nothing yet are left.

    Args:
        text: of any kind.
        scope: what they stand for.
        last: nothing will be known later: a tag that stands for nothing is an error.

    Raises:
        InvalidError: `tag-unresolved`; with `last` also `expression-invalid`.
    """
    return _replace(text, scope, last=last, as_json=False)


def replace_in(value: T, kind: type[T], scope: Scope, *, last: bool = False) -> T:
    """A struct with the tags in its strings replaced. Errors as `replace_tags`."""
    text = msgspec.json.encode(value).decode()
    if _OPEN not in text:
        return value
    return msgspec.json.decode(_replace(text, scope, last=last, as_json=True), type=kind)


def _replace(text: str, scope: Scope, *, last: bool, as_json: bool) -> str:
    if _OPEN not in text:
        return text
    parts: list[str] = []
    for literal, tag in _split(text):
        parts.append(literal)
        if tag is not None:
            parts.append(_replaced(tag, scope, last=last, as_json=as_json))
    return "".join(parts)


def _split(text: str) -> Iterator[tuple[str, str | None]]:
    """What stands before each tag, and the tag without its braces, which may hold tags; at the end the rest."""
    at = 0
    while (start := text.find(_OPEN, at)) >= 0:
        end = _end_of(text, start)
        if end < 0:
            break
        yield text[at:start], text[start + 2 : end]
        at = end + 2
    yield text[at:], None


def _end_of(text: str, start: int) -> int:
    at, depth = start + 2, 1
    is_expression = text[at:].lstrip()[:1] == "="
    while depth:
        close = text.find(_CLOSE, at)
        if close < 0:
            return -1
        inner = text.find(_OPEN, at)
        if 0 <= inner < close and not is_expression:
            depth, at = depth + 1, inner + 2
        else:
            depth, at = depth - 1, close + 2
    return at - 2


def _replaced(tag: str, scope: Scope, *, last: bool, as_json: bool) -> str:
    if tag.lstrip().startswith("="):
        return _expression(tag, scope, last=last, as_json=as_json)
    if _OPEN in tag:
        tag = _replace(tag, scope, last=last, as_json=as_json)
    value = scope.values.get(tag.strip())
    if value is None:
        if last:
            raise InvalidError("tag-unresolved", f"{{{{{tag}}}}} stands for nothing that is known there; correct its name")
        return f"{_OPEN}{tag}{_CLOSE}"
    return _escaped(value) if as_json else value


def _expression(tag: str, scope: Scope, *, last: bool, as_json: bool) -> str:
    text = tag.lstrip()[1:]
    expression = json.loads(f'"{text}"') if as_json else text
    if not last and any(name not in scope.values for name in _LATER.findall(expression)):
        return f"{_OPEN}{tag}{_CLOSE}"
    try:
        value = evaluate_in(scope, expression)
    except InvalidError:
        if last:
            raise
        value = None
    if value is None:
        if last:
            raise InvalidError("tag-unresolved", f"{{{{={text}}}}} comes to nothing; give another value with '??'")
        return f"{_OPEN}{tag}{_CLOSE}"
    found = scalar_text(value)
    return _escaped(found) if as_json else found


def _escaped(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]


def simple_tags(text: str) -> Iterator[str]:
    """The names of the simple tags in a text, those in others too."""
    for _, tag in _split(text):
        if tag is None or tag.lstrip().startswith("="):
            continue
        if _OPEN in tag:
            yield from simple_tags(tag)
        else:
            yield tag.strip()


def results_asked_for(text: str) -> frozenset[str]:
    """The steps and tasks whose `outputs.result` the JSON text of a template names, in tags or expressions."""
    return frozenset(found["step"] for found in _RESULT.finditer(text))
