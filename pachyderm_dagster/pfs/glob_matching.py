"""Matches the nodes of a glob: whole columns by RE2, through Arrow; patterns with `!(p)`, for which RE2 has no lookahead, path by path."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.pfs.glob_machine import Machine
from pachyderm_dagster.pfs.glob_syntax import Choice, Class, Group, Node, Pattern, Run, Single, Text, walk

_MOST_CHOICES = 4


@dataclass(frozen=True, slots=True)
class Matcher:
    """What tells whether texts match a pattern as a whole, and what its groups captured.

    Attributes:
        regex: the pattern as a regular expression that RE2 and Python's `re` read alike; the groups are named `g1`, `g2`, ...
        looks_ahead: whether it needs a lookahead.
    """

    nodes: Pattern
    regex: str
    looks_ahead: bool

    @staticmethod
    def of(nodes: Pattern) -> "Matcher":
        """The matcher of a parsed pattern.

        Raises:
            pyarrow.ArrowInvalid: the pattern is too large for RE2.
        """
        looks_ahead = any(isinstance(node, Group) and node.quantifier == "!" for node in walk(nodes))
        matcher = Matcher(nodes, _regex(nodes), looks_ahead)
        # An expression is compiled with the first text; an empty column would hide that it is too large.
        matcher.match(pa.array([""]))
        return matcher

    def match(self, texts: pa.StringArray) -> pa.BooleanArray:
        """Which of `texts` match, in their order."""
        if not self.looks_ahead:
            return pc.match_substring_regex(texts, f"\\A(?:{self.regex})\\z")
        matches = self._match_in_python()
        return pa.array([matches(text) for text in texts.to_pylist()], pa.bool_())

    def captures(self, text: str) -> tuple[str, ...] | None:
        """The text and then what each group captured, empty if it took no part; None when `text` does not match."""
        found = [column[0].as_py() for column in self.captures_of(pa.array([text]))]
        return None if found[0] is None else tuple(found)

    def captures_of(self, texts: pa.StringArray) -> list[pa.StringArray]:
        """A column of the texts and one for each group, as `captures`; null where a text does not match."""
        if not self.looks_ahead:
            found: list[pa.StringArray] = pc.extract_regex(texts, f"\\A(?P<g0>{self.regex})\\z").flatten()
            return found
        count = sum(isinstance(node, Group) for node in walk(self.nodes))
        rows = [captured or (None,) * (count + 1) for captured in map(self._capture_in_python(), texts.to_pylist())]
        columns = zip(*rows, strict=True) if rows else [()] * (count + 1)
        return [pa.array(column, pa.string()) for column in columns]

    def _capture_in_python(self) -> Callable[[str], tuple[str, ...] | None]:
        if self._is_tame():
            compiled = re.compile(self.regex)

            def by_regex(text: str) -> tuple[str, ...] | None:
                match = compiled.fullmatch(text)
                return None if match is None else (text, *(group or "" for group in match.groups()))

            return by_regex
        machine = self._machine()

        def by_machine(text: str) -> tuple[str, ...] | None:
            captured = machine.captures(text)
            return None if captured is None else (text, *captured)

        return by_machine

    def _match_in_python(self) -> Callable[[str], bool]:
        if self._is_tame():
            compiled = re.compile(self.regex)
            return lambda text: compiled.fullmatch(text) is not None
        machine = self._machine()
        return lambda text: machine.matches(text, 0, anywhere=False)

    def _is_tame(self) -> bool:
        """Whether going back and trying again stays quick: each choice multiplies the tries, and repeated groups have no bound."""
        nodes = list(walk(self.nodes))
        return sum(map(_chooses, nodes)) <= _MOST_CHOICES and not any(isinstance(node, Group) and node.quantifier in "*+" for node in nodes)

    def _machine(self) -> Machine:
        return Machine((self.nodes,), sum(isinstance(node, Group) for node in walk(self.nodes)))


def _chooses(node: Node) -> bool:
    """Whether a matcher may have to try this in more than one way."""
    return isinstance(node, Run) or (isinstance(node, Choice | Group) and (len(node.branches) > 1 or (isinstance(node, Group) and node.quantifier in "!?")))


def _regex(nodes: Pattern) -> str:
    return "".join(_node_regex(node) for node in nodes)


def _node_regex(node: Node) -> str:
    match node:
        case Text(text):
            return re.escape(text)
        case Run(deep):
            return ".*" if deep else "[^/]*"
        case Single():
            return "[^/]"
        case Class(ranges, negated):
            inside = "".join(_class_character(low) if low == high else f"{_class_character(low)}-{_class_character(high)}" for low, high in ranges)
            return f"[^/{inside}]" if negated else f"[{inside}]"
        case Choice(branches):
            return f"(?:{_branches_regex(branches)})"
        case Group(quantifier, number, branches, widened):
            inner = _branches_regex(branches)
            if quantifier == "!":
                inner = f"(?!(?:{inner}){'' if widened else '$'})[^/]*"
            elif quantifier != "@":
                inner = f"(?:{inner}){quantifier}"
            return f"(?P<g{number}>{inner})"
        case _:
            assert_never(node)


def _branches_regex(branches: tuple[Pattern, ...]) -> str:
    return "|".join(_regex(branch) for branch in branches)


def _class_character(point: int) -> str:
    # ASCII but letters and digits is written by number, since both dialects give a meaning to some of it.
    return chr(point) if point >= 128 or chr(point).isalnum() else f"\\x{point:02x}"
