"""Matches the nodes of a glob: whole columns by RE2, through Arrow; patterns with `!(p)`, for which RE2 has no lookahead, path by path."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.pfs.glob_syntax import Choice, Class, Group, Node, Pattern, Run, Single, Text, walk


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
        if not self.looks_ahead:
            found = pc.extract_regex(pa.array([text]), f"\\A(?P<g0>{self.regex})\\z")[0].as_py()
            return None if found is None else tuple(found.values())
        match = re.fullmatch(self.regex, text) if self._match_in_python()(text) else None
        return None if match is None else (text, *(group or "" for group in match.groups()))

    def _match_in_python(self) -> Callable[[str], bool]:
        # A repeated group makes backtracking exponential in the length of the text, so then the positions are followed as sets.
        if any(isinstance(node, Group) and node.quantifier in "*+" for node in walk(self.nodes)):
            return lambda text: len(text) in _ends(self.nodes, text, frozenset([0]))
        compiled = re.compile(self.regex)
        return lambda text: compiled.fullmatch(text) is not None


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


def _ends(nodes: Pattern, text: str, starts: frozenset[int]) -> frozenset[int]:
    """The positions at which a match of `nodes` can end that begins at one of `starts`."""
    for node in nodes:
        starts = _node_ends(node, text, starts)
    return starts


def _node_ends(node: Node, text: str, starts: frozenset[int]) -> frozenset[int]:
    match node:
        case Run(deep):
            return frozenset(end for start in starts for end in range(start, (len(text) if deep else _end_of_element(text, start)) + 1))
        case Group("!"):
            return _node_ends(Run(deep=False), text, frozenset(start for start in starts if not _refuses(node, text, start)))
        case Group("*", _, branches):
            return starts | _repeated_ends(branches, text, starts)
        case Group("+", _, branches):
            return _repeated_ends(branches, text, starts)
        case Group("?", _, branches):
            return starts | _branch_ends(branches, text, starts)
        case Group(_, _, branches) | Choice(branches):
            return _branch_ends(branches, text, starts)
        case Text() | Single() | Class():
            compiled = re.compile(_node_regex(node))
            return frozenset(found.end() for start in starts if (found := compiled.match(text, start)))
        case _:
            assert_never(node)


def _branch_ends(branches: tuple[Pattern, ...], text: str, starts: frozenset[int]) -> frozenset[int]:
    return frozenset(end for branch in branches for end in _ends(branch, text, starts))


def _repeated_ends(branches: tuple[Pattern, ...], text: str, starts: frozenset[int]) -> frozenset[int]:
    """The ends of one or more repetitions."""
    found: frozenset[int] = frozenset()
    new = starts
    while new:
        new = _branch_ends(branches, text, new) - found
        found |= new
    return found


def _refuses(negation: Group, text: str, start: int) -> bool:
    ends = _branch_ends(negation.branches, text, frozenset([start]))
    return bool(ends) if negation.widened else len(text) in ends


def _end_of_element(text: str, start: int) -> int:
    found = text.find("/", start)
    return len(text) if found < 0 else found
