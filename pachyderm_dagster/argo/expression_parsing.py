"""Expressions of expr-lang, as far as workflows use them, into trees."""

import re
from dataclasses import dataclass
from typing import Any, TypeAlias

from pachyderm_dagster.argo.tokens import find_tokens
from pachyderm_dagster.errors import InvalidError

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>0[xX][0-9a-fA-F_]+|[0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)
  | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`[^`]*`)
  | (?P<word>[^\W\d][\w$]*)
  | (?P<symbol>\?\.|\?\?|\*\*|==|!=|<=|>=|&&|\|\||\.\.|[-+*/%^<>!?:.,()\[\]{}|\#])
  )""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "a": "\a"}
_POWERS = {
    "||": 10,
    "or": 10,
    "&&": 15,
    "and": 15,
    **dict.fromkeys(("==", "!=", "<", ">", "<=", ">=", "in", "not in", "matches", "contains", "startsWith", "endsWith"), 20),
    "..": 25,
    "+": 30,
    "-": 30,
    "*": 60,
    "/": 60,
    "%": 60,
    "**": 100,
    "^": 100,
    "??": 500,
}
_FROM_RIGHT = ("**", "^")
_SAME = {"or": "||", "and": "&&", "^": "**"}
_PREFIXES = {"!": 50, "not": 50, "-": 90, "+": 90}
_WORDS = {"true": True, "false": False, "nil": None, "null": None}
CLOSURES = ("filter", "map", "all", "any", "one", "none", "count", "find")
"""Functions whose last argument is looked at for each item."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that stands there."""

    value: Any


@dataclass(frozen=True, slots=True)
class Variable:
    """A name."""

    name: str


@dataclass(frozen=True, slots=True)
class Item:
    """`#`, the item that a closure looks at."""


@dataclass(frozen=True, slots=True)
class Member:
    """`of.key` and `of[key]`; with `optional`, nothing of nothing is nothing."""

    of: "Expression"
    key: "Expression"
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Slice:
    """`of[start:end]`."""

    of: "Expression"
    start: "Expression | None"
    end: "Expression | None"


@dataclass(frozen=True, slots=True)
class Call:
    """A function with arguments; that of a closure comes last."""

    function: "Expression"
    arguments: "tuple[Expression, ...]"


@dataclass(frozen=True, slots=True)
class Unary:
    """`!of`, `-of`, `+of`."""

    operator: str
    of: "Expression"


@dataclass(frozen=True, slots=True)
class Binary:
    """Two values and what is between them."""

    operator: str
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True, slots=True)
class Choice:
    """`condition ? then : otherwise`."""

    condition: "Expression"
    then: "Expression"
    otherwise: "Expression"


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[a, b]`."""

    items: "tuple[Expression, ...]"


@dataclass(frozen=True, slots=True)
class MapOf:
    """`{a: b}`."""

    entries: "tuple[tuple[Expression, Expression], ...]"


Expression: TypeAlias = Constant | Variable | Item | Member | Slice | Call | Unary | Binary | Choice | ListOf | MapOf
_Token = tuple[str, Any]


def parse_expression(text: str) -> Expression:
    """The tree of an expression.

    Raises:
        InvalidError: `expression-invalid`.
    """
    parsing = _Parsing(text)
    found = parsing.expression()
    parsing.expect_end()
    return found


def invalid(text: str, problem: str) -> InvalidError:
    """The error of an expression that cannot be read or has no value."""
    return InvalidError("expression-invalid", f"the expression {text.strip()!r}: {problem}; correct it")


def _token(match: re.Match[str]) -> _Token:
    kind = match.lastgroup or ""
    return kind, _string(match[kind]) if kind == "string" else match[kind]


def _string(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]
    return re.sub(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", lambda found: _escaped(found[1]), text[1:-1], flags=re.DOTALL)


def _escaped(text: str) -> str:
    return chr(int(text[1:], 16)) if len(text) > 1 else _ESCAPES.get(text, text)


def _number(text: str) -> int | float:
    digits = text.replace("_", "")
    if digits[:2].lower() == "0x":
        return int(digits, 16)
    return int(digits) if digits.isdigit() else float(digits)


class _Parsing:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [_token(found) for found in find_tokens(_TOKEN, text, lambda rest: invalid(text, f"{rest!r} is not understood"))]
        self._at = 0

    def expect_end(self) -> None:
        if self._at < len(self._tokens):
            raise invalid(self._text, f"{self._tokens[self._at][1]!r} was not expected there")

    def expression(self) -> Expression:
        """A whole expression: a choice, or `a | f(b)`, or what binds more."""
        found = self._binary(0)
        while self._take("|"):
            called = self._primary()
            if not isinstance(called, Call):
                raise invalid(self._text, "after '|' comes a call of a function")
            found = Call(called.function, (found, *called.arguments))
        if not self._take("?"):
            return found
        then = self.expression()
        self._expect(":")
        return Choice(found, then, self.expression())

    def _binary(self, least: int) -> Expression:
        left = self._prefixed()
        while True:
            operator, length = self._operator()
            power = _POWERS.get(operator, 0)
            if not operator or power < least or not power:
                return left
            self._at += length
            right = self._binary(power if operator in _FROM_RIGHT else power + 1)
            left = Unary("!", Binary("in", left, right)) if operator == "not in" else Binary(_SAME.get(operator, operator), left, right)

    def _operator(self) -> tuple[str, int]:
        kind, text = self._peek()
        if kind == "word" and text == "not" and self._peek(1) == ("word", "in"):
            return "not in", 2
        return (text, 1) if kind in ("word", "symbol") and text in _POWERS else ("", 0)

    def _prefixed(self) -> Expression:
        kind, text = self._peek()
        if kind in ("symbol", "word") and text in _PREFIXES:
            self._at += 1
            return Unary("!" if text == "not" else text, self._binary(_PREFIXES[text]))
        return self._primary()

    def _primary(self) -> Expression:
        found = self._single()
        while True:
            if self._take("."):
                found = Member(found, self._member_name())
            elif self._take("?."):
                found = Member(found, self._bracketed() if self._take("[") else self._member_name(), optional=True)
            elif self._take("["):
                found = self._index(found)
            elif self._take("("):
                found = Call(found, self._arguments(found))
            else:
                return found

    def _single(self) -> Expression:
        kind, text = self._peek()
        self._at += 1
        match kind, text:
            case "number", _:
                return Constant(_number(text))
            case "string", _:
                return Constant(text)
            case "word", _:
                return Constant(_WORDS[text]) if text in _WORDS else Variable(text)
            case "symbol", "(":
                found = self.expression()
                self._expect(")")
                return found
            case "symbol", "[":
                return ListOf(self._until("]"))
            case "symbol", "{":
                return MapOf(self._entries())
            case "symbol", "#":
                return Member(Item(), self._member_name()) if self._take(".") else Item()
            case "symbol", ".":
                return Member(Item(), self._member_name())
        raise invalid(self._text, f"{text!r} was not expected there" if text else "it ends too early")

    def _member_name(self) -> Expression:
        kind, text = self._peek()
        if kind != "word":
            raise invalid(self._text, f"after a point comes a name, found {text!r}")
        self._at += 1
        return Constant(text)

    def _index(self, of: Expression) -> Expression:
        start = None if self._peek()[1] == ":" else self.expression()
        if not self._take(":"):
            self._expect("]")
            assert start is not None
            return Member(of, start)
        end = None if self._peek()[1] == "]" else self.expression()
        self._expect("]")
        return Slice(of, start, end)

    def _bracketed(self) -> Expression:
        found = self.expression()
        self._expect("]")
        return found

    def _arguments(self, function: Expression) -> tuple[Expression, ...]:
        if not isinstance(function, Variable) or function.name not in CLOSURES:
            return self._until(")")
        items = self.expression()
        if not self._take(","):
            self._expect(")")
            return (items,)
        braces = self._take("{")
        body = self.expression()
        if braces:
            self._expect("}")
        self._expect(")")
        return items, body

    def _until(self, end: str) -> tuple[Expression, ...]:
        found: list[Expression] = []
        while not self._take(end):
            if found:
                self._expect(",")
            found.append(self.expression())
        return tuple(found)

    def _entries(self) -> tuple[tuple[Expression, Expression], ...]:
        found: list[tuple[Expression, Expression]] = []
        while not self._take("}"):
            if found:
                self._expect(",")
            found.append((self._entry_key(), self._entry_value()))
        return tuple(found)

    def _entry_key(self) -> Expression:
        kind, text = self._peek()
        if kind in ("word", "string", "number"):
            self._at += 1
            return Constant(text)
        self._expect("(")
        found = self.expression()
        self._expect(")")
        return found

    def _entry_value(self) -> Expression:
        self._expect(":")
        return self.expression()

    def _peek(self, ahead: int = 0) -> _Token:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else ("end", "")

    def _take(self, symbol: str) -> bool:
        if self._peek() == ("symbol", symbol):
            self._at += 1
            return True
        return False

    def _expect(self, symbol: str) -> None:
        if not self._take(symbol):
            found = self._peek()[1]
            raise invalid(self._text, f"{symbol!r} is missing" + (f" before {found!r}" if found else " at its end"))
