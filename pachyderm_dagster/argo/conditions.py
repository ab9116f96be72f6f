"""`when`: conditions as govaluate has them. A bare word is a string, no type becomes another, and what cannot be compared is an error."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from pachyderm_dagster.argo.tokens import find_tokens
from pachyderm_dagster.errors import InvalidError

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![\w.]))
  | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
  | \[(?P<variable>(?:[^\]\\]|\\.)*)\]
  | (?P<operator>==|!=|<=|>=|=~|!~|&&|\|\||\*\*|\?\?|[<>!+\-*/%?:(),])
  | (?P<word>[^\W\d]\w*)
  )""",
    re.VERBOSE,
)
_SYMBOL, _VALUE = "symbol", "value"
# Weakest first; those of a level are read from the left.
_LEVELS: tuple[tuple[str, ...], ...] = (("??",), ("||",), ("&&",), ("==", "!=", "<", "<=", ">", ">=", "=~", "!~", "in"), ("+", "-"), ("*", "/", "%"), ("**",))
_Token = tuple[str, Any]


def evaluate(condition: str, variables: Mapping[str, Any] | None = None) -> bool:
    """What a condition comes to, after its tags were replaced.

    Args:
        variables: what bare words and names in brackets stand for; without them they stand for themselves.

    Raises:
        InvalidError: `condition-invalid`.
    """
    parsing = _Parsing(condition, variables)
    value = parsing.ternary()
    parsing.expect_end()
    if not isinstance(value, bool):
        raise _invalid(condition, f"it comes to {value!r}, which is neither true nor false")
    return value


def _invalid(condition: str, problem: str) -> InvalidError:
    return InvalidError("condition-invalid", f"the condition {condition!r}: {problem}; put texts with other characters than letters and digits in quotes")


def _token(match: re.Match[str], word: Callable[[str], Any]) -> _Token:
    text: str = match[match.lastgroup or 0]
    match match.lastgroup:
        case "number":
            return _VALUE, float(int(text, 16)) if text[:2].lower() == "0x" else float(text)
        case "string":
            return _VALUE, re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
        case "word" if text in ("true", "false"):
            return _VALUE, text == "true"
        case "word" if text.lower() != "in":
            return _VALUE, word(text)
        case "variable":
            return _VALUE, word(text)
        case _:
            return _SYMBOL, text.lower()


class _Parsing:
    """Evaluates while it reads: every part of a condition is looked at, so that what is wrong in it is told whatever the rest says."""

    def __init__(self, condition: str, variables: Mapping[str, Any] | None) -> None:
        self._condition, self._variables = condition, variables
        found = find_tokens(_TOKEN, condition, lambda rest: _invalid(condition, f"{rest!r} is not understood"))
        self._tokens = [_token(one, self._word) for one in found]
        self._at = 0

    def _word(self, name: str) -> Any:
        if self._variables is None:
            return name
        if name not in self._variables:
            raise self._invalid(f"there is no {name!r}; there are {', '.join(self._variables) or 'none'}")
        return self._variables[name]

    def expect_end(self) -> None:
        """Nothing may follow."""
        if self._at < len(self._tokens):
            raise self._invalid(f"{self._tokens[self._at][1]!r} is one value too many")

    def ternary(self) -> Any:
        """`a ? b : c`, and all that binds more."""
        value = self._level(0)
        if not self._take("?"):
            return value
        if not isinstance(value, bool):
            raise self._invalid("what stands before '?' is neither true nor false")
        then = self.ternary()
        otherwise = self.ternary() if self._take(":") else None
        return then if value else otherwise

    def _level(self, level: int) -> Any:
        if level == len(_LEVELS):
            return self._prefixed()
        value = self._level(level + 1)
        while (operator := self._take(*_LEVELS[level])) is not None:
            value = self._apply(operator, value, self._level(level + 1))
        return value

    def _prefixed(self) -> Any:
        if self._take("!"):
            value = self._prefixed()
            if not isinstance(value, bool):
                raise self._invalid(f"{value!r} after '!' is neither true nor false")
            return not value
        if self._take("-"):
            value = self._prefixed()
            if not isinstance(value, float):
                raise self._invalid(f"{value!r} after '-' is no number")
            return -value
        return self._single()

    def _single(self) -> Any:
        if self._take("("):
            values = [self.ternary()]
            while self._take(","):
                values.append(self.ternary())
            if not self._take(")"):
                raise self._invalid("a ')' is missing")
            return values if len(values) > 1 else values[0]
        if self._at == len(self._tokens) or self._tokens[self._at][0] is not _VALUE:
            raise self._invalid("a value is missing; was a tag empty?")
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _take(self, *symbols: str) -> str | None:
        if self._at < len(self._tokens) and self._tokens[self._at][0] is _SYMBOL and self._tokens[self._at][1] in symbols:
            self._at += 1
            return str(self._tokens[self._at - 1][1])
        return None

    def _apply(self, operator: str, left: Any, right: Any) -> Any:
        if operator == "??":
            return right if left is None else left
        if operator == "==":
            return _equal(left, right)
        if operator == "!=":
            return not _equal(left, right)
        kinds, act = _OPERATORS[operator]
        if not any(isinstance(left, lefts) and isinstance(right, rights) for lefts, rights in kinds):
            raise self._invalid(f"{left!r} and {right!r} cannot be compared or combined by {operator!r}")
        try:
            return act(left, right)
        except (ArithmeticError, re.error) as error:
            raise self._invalid(f"{left!r} {operator} {right!r} has no value ({error})") from error

    def _invalid(self, problem: str) -> InvalidError:
        return _invalid(self._condition, problem)


def _equal(left: Any, right: Any) -> bool:
    return type(left) is type(right) and left == right


def _added(left: Any, right: Any) -> Any:
    return left + right if isinstance(left, float) and isinstance(right, float) else _text(left) + _text(right)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


_NUMBERS = ((float, float),)
_ORDERED = ((float, float), (str, str))
_TEXTS = ((str, str),)
_BOOLS = ((bool, bool),)
_OPERATORS: Mapping[str, tuple[tuple[tuple[type, type], ...], Callable[[Any, Any], Any]]] = {
    "<": (_ORDERED, lambda left, right: left < right),
    "<=": (_ORDERED, lambda left, right: left <= right),
    ">": (_ORDERED, lambda left, right: left > right),
    ">=": (_ORDERED, lambda left, right: left >= right),
    "=~": (_TEXTS, lambda left, right: re.search(right, left) is not None),
    "!~": (_TEXTS, lambda left, right: re.search(right, left) is None),
    "in": (((object, list),), lambda left, right: any(_equal(left, one) for one in right)),
    "&&": (_BOOLS, lambda left, right: left and right),
    "||": (_BOOLS, lambda left, right: left or right),
    "+": ((*_NUMBERS, (str, object), (object, str)), _added),
    "-": (_NUMBERS, lambda left, right: left - right),
    "*": (_NUMBERS, lambda left, right: left * right),
    "/": (_NUMBERS, lambda left, right: left / right),
    "%": (_NUMBERS, lambda left, right: left % right),
    "**": (_NUMBERS, lambda left, right: left**right),
}
