"""What expressions of expr-lang come to. Integers and floats are as in Go: `7 / 2` is 3.5, and text never becomes a number by itself."""

import datetime as dt
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, assert_never

from pachyderm_dagster.argo.expression_parsing import (
    CLOSURES,
    Binary,
    Call,
    Choice,
    Constant,
    Expression,
    Item,
    ListOf,
    MapOf,
    Member,
    Slice,
    Unary,
    Variable,
    invalid,
    parse_expression,
)
from pachyderm_dagster.argo.go_times import method_of

LONGEST_RANGE = 1_000_000
_parse = functools.lru_cache(maxsize=1024)(parse_expression)


def evaluate(text: str, variables: Mapping[str, Any], functions: Mapping[str, Any]) -> Any:
    """The value of an expression.

    Args:
        text: of it.
        variables: nested maps.
        functions: what can be called, by name; a map of them is a namespace, as `sprig`.

    Raises:
        InvalidError: `expression-invalid`.
    """
    try:
        return _Evaluating(variables, functions).value(_parse(text))
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, re.error, RecursionError) as error:
        # What Python says of wrong operands and arguments is what is wrong with the expression.
        raise invalid(text, str(error) or type(error).__name__) from error


_NOTHING = object()


class _Evaluating:
    def __init__(self, variables: Mapping[str, Any], functions: Mapping[str, Any], item: Any = _NOTHING) -> None:
        self._variables, self._functions, self._item = variables, functions, item

    def value(self, found: Expression) -> Any:
        match found:
            case Constant(value):
                return value
            case Variable(name):
                return self._variables[name] if name in self._variables else self._functions.get(name)
            case Item():
                if self._item is _NOTHING:
                    raise ValueError("'#' stands outside of a closure")
                return self._item
            case Member():
                return self._member(found)
            case Call(function, arguments):
                return self._call(function, arguments)
            case Unary(operator, of):
                return _unary(operator, self.value(of))
            case Binary(operator, left, right):
                return self._binary(operator, left, right)
            case Choice(condition, then, otherwise):
                return self.value(then) if _bool(self.value(condition)) else self.value(otherwise)
            case Slice() | ListOf() | MapOf():
                return self._sequence(found)
        assert_never(found)

    def _sequence(self, found: Slice | ListOf | MapOf) -> Any:
        match found:
            case Slice(of, start, end):
                return self.value(of)[None if start is None else self.value(start) : None if end is None else self.value(end)]
            case ListOf(items):
                return [self.value(item) for item in items]
            case MapOf(entries):
                return {str(self.value(key)): self.value(value) for key, value in entries}

    def _member(self, member: Member) -> Any:
        of, key = self.value(member.of), self.value(member.key)
        if of is None:
            if _may_be_nothing(member):
                return None
            raise ValueError(f"{key!r} is asked of nothing; write '?.' where that may be")
        if isinstance(of, Mapping):
            return of.get(str(key))
        if isinstance(of, list | str) and isinstance(key, int) and not isinstance(key, bool):
            return of[key]
        if isinstance(of, dt.datetime | dt.timedelta):
            return method_of(of, str(key))
        raise TypeError(f"{key!r} is asked of {of!r}, which has no parts of that name")

    def _call(self, function: Expression, arguments: tuple[Expression, ...]) -> Any:
        if isinstance(function, Variable) and function.name in CLOSURES:
            return self._closure(function.name, arguments)
        called = self.value(function)
        if not callable(called):
            raise ValueError(f"there is no function {_shown(function)!r} here")
        return called(*(self.value(argument) for argument in arguments))

    def _closure(self, name: str, arguments: tuple[Expression, ...]) -> Any:
        items = self.value(arguments[0])
        if not isinstance(items, list | tuple):
            raise TypeError(f"{name} takes a list, found {items!r}")
        body = arguments[1] if len(arguments) > 1 else Item()
        found = [_Evaluating(self._variables, self._functions, item).value(body) for item in items]
        if name == "map":
            return found
        kept = [item for item, holds in zip(items, found, strict=True) if _bool(holds)]
        return _CLOSURES[name](kept, items)

    def _binary(self, operator: str, left: Expression, right: Expression) -> Any:
        first = self.value(left)
        match operator:
            case "&&":
                return _bool(first) and _bool(self.value(right))
            case "||":
                return _bool(first) or _bool(self.value(right))
            case "??":
                return self.value(right) if first is None else first
        return _OPERATORS[operator](first, self.value(right))


_CLOSURES: Mapping[str, Callable[[list[Any], Any], Any]] = {
    "filter": lambda kept, _: kept,
    "all": lambda kept, items: len(kept) == len(items),
    "any": lambda kept, _: bool(kept),
    "one": lambda kept, _: len(kept) == 1,
    "none": lambda kept, _: not kept,
    "count": lambda kept, _: len(kept),
    "find": lambda kept, _: kept[0] if kept else None,
}


def _shown(function: Expression) -> str:
    match function:
        case Variable(name):
            return name
        case Member(of, Constant(key)):
            return f"{_shown(of)}.{key}"
        case _:
            return "…"


def _may_be_nothing(member: Expression) -> bool:
    # A '?.' that finds nothing ends all of a chain.
    while isinstance(member, Member):
        if member.optional:
            return True
        member = member.of
    return False


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number; asInt and asFloat make one of text")
    return value


def _unary(operator: str, value: Any) -> Any:
    if operator == "!":
        return not _bool(value)
    return -_number(value) if operator == "-" else _number(value)


def _equal(left: Any, right: Any) -> bool:
    # In Python True is 1; here it is not.
    return isinstance(left, bool) is isinstance(right, bool) and bool(left == right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compared(left: Any, right: Any) -> bool:
        if isinstance(left, str | dt.datetime | dt.timedelta) and isinstance(right, type(left)):
            return compare(left, right)
        return compare(_number(left), _number(right))

    return compared


def _on_texts(act: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    def on_texts(left: Any, right: Any) -> bool:
        if not (isinstance(left, str) and isinstance(right, str)):
            raise TypeError(f"{left!r} and {right!r} are to be text")
        return act(left, right)

    return on_texts


def _added(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    if isinstance(left, dt.datetime | dt.timedelta) and isinstance(right, dt.timedelta):
        return left + right
    return _number(left) + _number(right)


def _subtracted(left: Any, right: Any) -> Any:
    if isinstance(left, dt.datetime) and isinstance(right, dt.datetime | dt.timedelta):
        return left - right
    if isinstance(left, dt.timedelta) and isinstance(right, dt.timedelta):
        return left - right
    return _number(left) - _number(right)


def _remainder(left: Any, right: Any) -> int:
    if not (isinstance(left, int) and isinstance(right, int)):
        raise TypeError("'%' takes whole numbers")
    # As in Go, of the sign of the left one.
    return abs(left) % abs(right) * (-1 if left < 0 else 1)


def _contained(left: Any, right: Any) -> bool:
    if isinstance(right, Mapping):
        return left in right
    if right is None:
        return False
    if isinstance(right, list | tuple):
        return any(_equal(left, one) for one in right)
    raise TypeError(f"'in' takes a list or a map, found {right!r}")


def _range(left: Any, right: Any) -> list[int]:
    if right - left >= LONGEST_RANGE:
        raise ValueError(f"a range has at most {LONGEST_RANGE:,} numbers")
    return list(range(left, right + 1))


_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": _equal,
    "!=": lambda left, right: not _equal(left, right),
    "<": _ordered(lambda left, right: left < right),
    "<=": _ordered(lambda left, right: left <= right),
    ">": _ordered(lambda left, right: left > right),
    ">=": _ordered(lambda left, right: left >= right),
    "in": _contained,
    "matches": _on_texts(lambda left, right: re.search(right, left) is not None),
    "contains": _on_texts(lambda left, right: right in left),
    "startsWith": _on_texts(str.startswith),
    "endsWith": _on_texts(str.endswith),
    "..": _range,
    "+": _added,
    "-": _subtracted,
    "*": lambda left, right: _number(left) * _number(right),
    "/": lambda left, right: _number(left) / _number(right),
    "%": _remainder,
    "**": lambda left, right: float(_number(left)) ** _number(right),
}
