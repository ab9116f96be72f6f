"""Reads a glob into a tree of nodes: what every part of a pattern is, and what is wrong with it where."""

import itertools
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.paths import shown

Quantifier: TypeAlias = Literal["@", "*", "+", "?", "!"]


@dataclass(frozen=True, slots=True)
class Text:
    """These characters."""

    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """`*`: any run of characters but `/`; with `deep` it is `**` and takes `/` too."""

    deep: bool


@dataclass(frozen=True, slots=True)
class Single:
    """`?`: one character but `/`."""


@dataclass(frozen=True, slots=True)
class Class:
    """`[...]`: one character in, or when negated out of, ranges of code points. Never `/`."""

    ranges: tuple[tuple[int, int], ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """`{a,b}`: one of the branches."""

    branches: tuple["Pattern", ...]


@dataclass(frozen=True, slots=True)
class Group:
    """`(a|b)` and its quantified forms; captures what it matches under `number`, counted by opening brackets from 1.

    `!(p)` matches any run of characters but `/` where p does not match: p up to the end of the path, or with `widened` any text that begins there.
    """

    quantifier: Quantifier
    number: int
    branches: tuple["Pattern", ...]
    widened: bool = False


Node: TypeAlias = Text | Run | Single | Class | Choice | Group
Pattern: TypeAlias = tuple[Node, ...]

MAX_NESTING = 50
MAX_PIECES = 1_000
"""Wildcards, classes, alternatives and groups in one pattern."""
MAX_LEVELS = 2_048
"""As many as a path of 4,096 bytes can have."""
_QUANTIFIERS: dict[str, Quantifier] = {quantifier: quantifier for quantifier in get_args(Quantifier)}
_CLASS_NAMES = {
    "alnum": string.ascii_letters + string.digits,
    "alpha": string.ascii_letters,
    "ascii": "".join(map(chr, range(128))),
    "blank": " \t",
    "cntrl": "".join(map(chr, (*range(32), 127))),
    "digit": string.digits,
    "graph": "".join(map(chr, range(33, 127))),
    "lower": string.ascii_lowercase,
    "print": "".join(map(chr, range(32, 127))),
    "punct": string.punctuation,
    "space": " \t\n\r\v\f",
    "upper": string.ascii_uppercase,
    "word": string.ascii_letters + string.digits + "_",
    "xdigit": string.hexdigits,
}
_LAST_CODE_POINT = 0x10FFFF


def parse_pattern(text: str) -> Pattern:
    """The nodes of `text` in order; neighbouring characters are one `Text`.

    Raises:
        InvalidError: `glob-invalid`, naming the pattern, the character (from 1) and the problem.
    """
    parser = _Parser(text, widened=False)
    nodes = parser.pattern("")
    _check_size(text, nodes)
    # Whether negations are widened is known at the end of the text only.
    return _Parser(text, widened=True).pattern("") if parser.bounded else nodes


def _check_size(text: str, nodes: Pattern) -> None:
    """Names may be alternatives by the thousand; what they are made of besides multiplies what a match has to try, and levels are matched one by one."""
    pieces = sum(not isinstance(node, Text) for node in walk(nodes))
    if pieces > MAX_PIECES:
        problem = f"has {pieces:,} wildcards, classes and groups, more than {MAX_PIECES:,}; write a simpler one, or make several inputs of it"
        raise InvalidError("glob-invalid", f"glob of {len(text):,} characters from {text[:40]!r} {problem}")
    levels = sum(node.text.count("/") for node in nodes if isinstance(node, Text))
    if levels > MAX_LEVELS:
        raise InvalidError("glob-invalid", f"glob of {len(text):,} characters from {text[:40]!r} has {levels:,} levels; no path has more than {MAX_LEVELS:,}")


def walk(nodes: Pattern) -> Iterator[Node]:
    """Every node, outer before inner, in the order of the text."""
    for node in nodes:
        yield node
        if isinstance(node, Choice | Group):
            for branch in node.branches:
                yield from walk(branch)


class _Parser:
    def __init__(self, text: str, *, widened: bool) -> None:
        self.text = text
        self.widened = widened
        self.position = 0
        self.groups = 0
        self.nesting = 0
        # ohmyglob's rule: text or a run anywhere behind the end of the first negation to end widens every negation of the pattern.
        self.negation_ended = False
        self.bounded = False

    def pattern(self, stops: str) -> Pattern:
        """Nodes up to an unescaped character of `stops`, which is left to the caller, or the end."""
        nodes: list[Node] = []
        literal = ""
        while self.position < len(self.text) and self.text[self.position] not in stops:
            node = self.node()
            self.bounded |= self.negation_ended and isinstance(node, Text | Run)
            if isinstance(node, Text):
                literal += node.text
                continue
            if literal:
                nodes.append(Text(literal))
                literal = ""
            nodes.append(node)
        if literal:
            nodes.append(Text(literal))
        return tuple(nodes)

    def node(self) -> Node:
        start = self.position
        character = self.take()
        following = self.text[self.position : self.position + 1]
        if character == "\\":
            if not following:
                raise self.error(start, "the last backslash escapes nothing; write `\\\\` for a backslash")
            return Text(self.take())
        if character == "*" and following == "*":
            self.position += 1
            return Run(deep=True)
        if character == "(":
            return self.group("@", start)
        if character in _QUANTIFIERS and following == "(":
            self.position += 1
            return self.group(_QUANTIFIERS[character], start)
        match character:
            case "*":
                return Run(deep=False)
            case "?":
                return Single()
            case "[":
                return self.character_class(start)
            case "{":
                return Choice(self.branches(",", "}", start))
            case _:
                return Text(character)

    def group(self, quantifier: Quantifier, start: int) -> Group:
        self.groups += 1
        number = self.groups
        branches = self.branches("|", ")", start)
        self.negation_ended |= quantifier == "!"
        return Group(quantifier, number, branches, widened=self.widened)

    def branches(self, separator: str, close: str, start: int) -> tuple[Pattern, ...]:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise self.error(start, f"brackets nest deeper than {MAX_NESTING}; write a simpler pattern")
        found = []
        while True:
            found.append(self.pattern(separator + close))
            if self.position == len(self.text):
                raise self.error(start, f"{self.text[start]!r} opens a group that no {close!r} closes; close it, or write a backslash before it")
            if self.take() == close:
                self.nesting -= 1
                return tuple(found)

    def character_class(self, start: int) -> Class:
        negated = self.text[self.position : self.position + 1] in ("!", "^")
        self.position += negated
        ranges: list[tuple[int, int]] = []
        while True:
            if self.position == len(self.text):
                raise self.error(start, "'[' opens a class that no ']' closes; close it, or write a backslash before it")
            if self.text[self.position] == "]":
                break
            if self.text.startswith("[:", self.position):
                ranges += self.named_class()
            else:
                ranges.append(self.character_range())
        self.position += 1
        if not ranges:
            raise self.error(start, "the class is empty; name its characters, as in `[abc]` or `[a-z]`")
        without_slash = _without_slash(ranges)
        if not without_slash and not negated:
            raise self.error(start, "the class holds `/` alone, and no class matches a `/`; write it outside of the brackets")
        return Class(tuple(without_slash), negated)

    def character_range(self) -> tuple[int, int]:
        start = self.position
        low = self.class_character()
        rest = self.text[self.position : self.position + 2]
        if rest[:1] != "-" or rest == "-]" or len(rest) < 2:
            return ord(low), ord(low)
        self.position += 1
        high = self.class_character()
        if high < low:
            raise self.error(start, f"the range {low}-{high} is empty, since {high!r} sorts before {low!r}; exchange them")
        return ord(low), ord(high)

    def class_character(self) -> str:
        start = self.position
        character = self.take()
        if character != "\\":
            return character
        if self.position == len(self.text):
            raise self.error(start, "the last backslash escapes nothing; write `\\\\` for a backslash")
        return self.take()

    def named_class(self) -> list[tuple[int, int]]:
        start = self.position
        end = self.text.find(":]", start)
        name = self.text[start + 2 : end] if end >= 0 else self.text[start + 2 :]
        outside = name.startswith("^")
        characters = _CLASS_NAMES.get(name.removeprefix("^"))
        if end < 0 or characters is None:
            raise self.error(start, f"{name!r} is no class; the classes are {', '.join(_CLASS_NAMES)}, as in `[[:alpha:]]`")
        self.position = end + 2
        points = sorted({ord(character) for character in characters})
        return _gaps(points) if outside else [(point, point) for point in points]

    def take(self) -> str:
        self.position += 1
        return self.text[self.position - 1]

    def error(self, position: int, problem: str) -> InvalidError:
        return InvalidError("glob-invalid", f"glob {shown(self.text)}, character {position + 1}: {problem}")


def _gaps(points: list[int]) -> list[tuple[int, int]]:
    """The ranges of code points between sorted `points`."""
    bounds = [-1, *points, _LAST_CODE_POINT + 1]
    return [(low + 1, high - 1) for low, high in itertools.pairwise(bounds) if low + 1 < high]


def _without_slash(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    slash = ord("/")
    parts = [part for low, high in ranges for part in ((low, min(high, slash - 1)), (max(low, slash + 1), high))]
    return [(low, high) for low, high in parts if low <= high]
