"""Templates of Go, as far as one is a text with values in it: `{{ .Input.body.name | upper }}`. What branches, repeats or defines is refused."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pachyderm_dagster.argo.functions import functions, sprig_names
from pachyderm_dagster.argo.go_values import printed
from pachyderm_dagster.argo.tokens import find_tokens
from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import InvalidError

NO_VALUE = "<no value>"
_ACTION = re.compile(r"\{\{(?P<left>-\s)?(?P<inner>.*?)(?P<right>\s-)?\}\}(?P<after>\s*)", re.DOTALL)
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)
  | (?P<number>-?[0-9]+(?:\.[0-9]+)?)
  | (?P<member>(?:\.[A-Za-z_]\w*)+)
  | (?P<word>[A-Za-z]\w*)
  | (?P<sign>[().|])
  )""",
    re.VERBOSE,
)
_CONTROL = frozenset(("if", "else", "end", "range", "with", "define", "template", "block", "break", "continue"))
_CONSTANTS = {"true": True, "false": False, "nil": None}
_FORMAT = re.compile(r"%[sdvq]")


@dataclass(frozen=True, slots=True)
class _Pipe:
    """Commands of which each gets, as its last argument, what the one before comes to."""

    commands: tuple["_Command", ...]
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Command:
    """A function with arguments, or a value."""

    function: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Dot:
    """What the template is about, and what is below it."""

    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Constant:
    value: Any


@dataclass(frozen=True, slots=True)
class GoTemplate:
    """A template that was read.

    Raises:
        InvalidError: `event-template-invalid`.
    """

    text: str
    _parts: list[str | _Pipe] = field(default_factory=list)

    def __post_init__(self) -> None:
        at = 0
        for found in _ACTION.finditer(self.text):
            before = self.text[at : found.start()]
            self._parts.append(before.rstrip() if found["left"] else before)
            if not re.fullmatch(r"\s*/\*.*\*/\s*", found["inner"], re.DOTALL):
                self._parts.append(_Parsing(self.text, found["inner"]).pipe_to_end())
            at = found.end() if found["right"] else found.end() - len(found["after"])
        if "{{" in self.text[at:]:
            raise _invalid(self.text, "'}}' is missing")
        self._parts.append(self.text[at:])

    def render(self, about: Mapping[str, Any], clock: Clock) -> str:
        """The text, with its values.

        Raises:
            InvalidError: `event-template-invalid`.
        """
        known = {**functions(clock)["sprig"], **_BUILTINS}
        try:
            return "".join(part if isinstance(part, str) else _shown(_piped(part, about, known)) for part in self._parts)
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            raise _invalid(self.text, str(error) or type(error).__name__) from error


def _invalid(text: str, problem: str) -> InvalidError:
    return InvalidError("event-template-invalid", f"the template {text!r} cannot be used: {problem}")


class _Parsing:
    def __init__(self, text: str, inner: str) -> None:
        self._text = text
        found = find_tokens(_TOKEN, inner, lambda rest: _invalid(text, f"{rest!r} is not supported; write values and functions, as '.Input.name | upper'"))
        # A member that follows its value without a blank is of that value.
        self._tokens = [(one.lastgroup or "", one[one.lastgroup or 0], one.start() == one.start(one.lastgroup or 0)) for one in found]
        self._at = 0

    def pipe_to_end(self) -> _Pipe:
        found = self._pipe()
        if self._at < len(self._tokens):
            raise _invalid(self._text, f"{self._tokens[self._at][1]!r} is one too many")
        return found

    def _pipe(self) -> _Pipe:
        commands = [self._command(is_first=True)]
        while self._takes("|"):
            commands.append(self._command(is_first=False))
        return _Pipe(tuple(commands))

    def _command(self, *, is_first: bool) -> _Command:
        name = ""
        kind, text, _ = self._next()
        if kind == "word" and text not in _CONSTANTS:
            if text in _CONTROL:
                raise _invalid(self._text, f"{text!r} is not supported; let the workflow decide")
            self._check_function(text)
            name = text
            self._at += 1
        arguments = []
        while self._at < len(self._tokens) and self._tokens[self._at][1] not in ("|", ")"):
            arguments.append(self._operand())
        if not name and (len(arguments) != 1 or not is_first):
            raise _invalid(self._text, "a function is missing: only one can take values")
        return _Command(name, tuple(arguments))

    def _check_function(self, name: str) -> None:
        if name not in _NAMES:
            raise _invalid(self._text, f"there is no function {name!r} here; there are {', '.join(sorted(_NAMES))}")

    def _operand(self) -> Any:
        kind, text, _ = self._next()
        self._at += 1
        match kind:
            case "string":
                return _Constant(text[1:-1] if text[0] == "`" else self._unquoted(text))
            case "number":
                return _Constant(float(text) if "." in text else int(text))
            case "member":
                return _Dot(tuple(text[1:].split(".")))
            case "word" if text in _CONSTANTS:
                return _Constant(_CONSTANTS[text])
            case "word":
                self._check_function(text)
                return _Pipe((_Command(text, ()),))
            case _ if text == ".":
                return _Dot(())
            case _ if text == "(":
                inner = self._pipe()
                if not self._takes(")"):
                    raise _invalid(self._text, "a ')' is missing")
                if self._at < len(self._tokens) and self._tokens[self._at][0] == "member" and self._tokens[self._at][2]:
                    self._at += 1
                    return _Pipe(inner.commands, tuple(self._tokens[self._at - 1][1][1:].split(".")))
                return inner
        raise _invalid(self._text, f"{text!r} is not expected there")

    def _unquoted(self, text: str) -> str:
        try:
            found: str = json.loads(text)
        except ValueError as error:
            raise _invalid(self._text, f"{text} is no text; a backslash is written as \\\\, or the text between backquotes") from error
        return found

    def _next(self) -> tuple[str, str, bool]:
        if self._at == len(self._tokens):
            raise _invalid(self._text, "a value is missing")
        return self._tokens[self._at]

    def _takes(self, sign: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at][:2] == ("sign", sign):
            self._at += 1
            return True
        return False


def _piped(pipe: _Pipe, about: Any, known: Mapping[str, Any]) -> Any:
    handed: tuple[Any, ...] = ()
    for command in pipe.commands:
        values = (*(_value(one, about, known) for one in command.arguments), *handed)
        handed = (known[command.function](*values) if command.function else values[0],)
    return _member(handed[0], pipe.members)


def _value(operand: Any, about: Any, known: Mapping[str, Any]) -> Any:
    match operand:
        case _Constant(value):
            return value
        case _Dot(members):
            return _member(about, members)
        case _:
            return _piped(operand, about, known)


def _member(value: Any, members: tuple[str, ...]) -> Any:
    for name in members:
        if not isinstance(value, Mapping):
            raise TypeError(f"{name!r} is asked of {printed(value)}, which has no parts of that name")
        value = value.get(name)
    return value


def _shown(value: Any) -> str:
    return NO_VALUE if value is None else printed(value)


def _indexed(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else value[key]
    return value


def _formatted(layout: str, *values: Any) -> str:
    left = iter(values)

    def text(found: re.Match[str]) -> str:
        value = next(left, "%!v(MISSING)")
        return json.dumps(str(value), ensure_ascii=False) if found[0] == "%q" else printed(value)

    return _FORMAT.sub(text, layout)


_BUILTINS: Mapping[str, Callable[..., Any]] = {
    "index": _indexed,
    "len": len,
    "print": lambda *values: "".join(map(printed, values)),
    "printf": _formatted,
    "eq": lambda left, *rights: any(left == right for right in rights),
    "ne": lambda left, right: left != right,
    "not": lambda value: not value,
}
_NAMES = sprig_names() | _BUILTINS.keys()
