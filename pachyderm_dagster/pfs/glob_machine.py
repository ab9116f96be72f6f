"""Matches globs that no library can in bounded time: with `!(p)`, which RE2 lacks, and too much to choose for one that goes back and tries again.

A machine goes over the text once with all states in which it can be, each with what its groups captured, in the order in which a greedy matcher would try
them (R. Cox, https://swtch.com/~rsc/regexp/regexp2.html). So the time grows with the product of pattern and text, and with the text once more for `!(p)`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

from pachyderm_dagster.pfs.glob_syntax import Choice, Class, Group, Node, Pattern, Run, Single, Text


@dataclass(frozen=True, slots=True)
class _Take:
    """One character that fits."""

    fits: Callable[[str], bool]


@dataclass(slots=True)
class _Fork:
    """Goes on at several places, the preferred one first; they are filled in when they are known."""

    goals: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Save:
    """Notes the position, as a bound of what a group captures."""

    slot: int


@dataclass(frozen=True, slots=True)
class _Refuse:
    """Ends here if what is refused matches: up to the end of the text, or with `anywhere` any beginning."""

    refused: "Machine"
    anywhere: bool


_Step: TypeAlias = _Take | _Fork | _Save | _Refuse
# By slot where groups begin and end; -1 for one that took no part.
_Slots: TypeAlias = tuple[int, ...]
# States by their preference: the step that comes next, and what was captured on the way.
_States: TypeAlias = dict[int, _Slots]


class Machine:
    """The pattern as steps. Group n has the slots 2n - 2 and 2n - 1; of a refused pattern nothing is captured."""

    def __init__(self, branches: tuple[Pattern, ...], groups: int) -> None:
        self._steps: list[_Step] = []
        self._groups = groups
        self._choice(branches)

    def captures(self, text: str) -> tuple[str, ...] | None:
        """What each group captured, empty if it took no part; None when `text` as a whole does not match."""
        slots = self._run(text, 0).get(len(self._steps))
        if slots is None:
            return None
        return tuple(text[start:end] if end >= 0 else "" for start, end in zip(slots[::2], slots[1::2], strict=True))

    def matches(self, text: str, start: int, *, anywhere: bool) -> bool:
        """Whether the text from `start` on matches, as a whole or with `anywhere` some beginning of it."""
        end = len(self._steps)
        return end in self._run(text, start, stop=end if anywhere else None)

    def _run(self, text: str, start: int, stop: int | None = None) -> _States:
        """The states at the end of the text, or as soon as `stop` is among them."""
        states = self._follow({0: (-1,) * (2 * self._groups)}, text, start)
        for position in range(start, len(text)):
            if not states or stop in states:
                break
            taken: _States = {}
            for place, slots in states.items():
                step = self._steps[place] if place < len(self._steps) else None
                if isinstance(step, _Take) and step.fits(text[position]):
                    taken.setdefault(place + 1, slots)
            states = self._follow(taken, text, position + 1)
        return states

    def _follow(self, states: _States, text: str, position: int) -> _States:
        """The states that are reached without a further character, the preferred first."""
        found: _States = {}
        seen: set[int] = set()
        waiting = list(states.items())[::-1]
        while waiting:
            place, slots = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            step = self._steps[place] if place < len(self._steps) else None
            match step:
                case None | _Take():
                    found[place] = slots
                case _Fork(goals):
                    waiting += [(goal, slots) for goal in reversed(goals)]
                case _Save(slot):
                    kept = slots if slot >= len(slots) else (*slots[:slot], position, *slots[slot + 1 :])
                    waiting.append((place + 1, kept))
                case _Refuse(refused, anywhere):
                    if not refused.matches(text, position, anywhere=anywhere):
                        waiting.append((place + 1, slots))
                case _:
                    assert_never(step)
        return found

    def _pattern(self, nodes: Pattern) -> None:
        for node in nodes:
            self._node(node)

    def _node(self, node: Node) -> None:
        match node:
            case Text(text):
                self._steps += [_Take(character.__eq__) for character in text]
            case Run(deep):
                self._repeat(lambda: self._steps.append(_Take(_any if deep else _in_element)))
            case Single():
                self._steps.append(_Take(_in_element))
            case Class(ranges, negated):
                self._steps.append(_Take(lambda character: character != "/" and any(low <= ord(character) <= high for low, high in ranges) is not negated))
            case Choice(branches):
                self._choice(branches)
            case Group(number=number):
                self._steps.append(_Save(2 * number - 2))
                self._group(node)
                self._steps.append(_Save(2 * number - 1))
            case _:
                assert_never(node)

    def _group(self, group: Group) -> None:
        match group.quantifier:
            case "@":
                self._choice(group.branches)
            case "?":
                fork = self._fork()
                self._choice(group.branches)
                fork.goals.append(len(self._steps))
            case "*":
                self._repeat(lambda: self._choice(group.branches))
            case "+":
                begin = len(self._steps)
                self._choice(group.branches)
                self._steps.append(_Fork([begin, len(self._steps) + 1]))
            case "!":
                self._steps.append(_Refuse(Machine(group.branches, 0), group.widened))
                self._node(Run(deep=False))
            case _:
                assert_never(group.quantifier)

    def _fork(self) -> _Fork:
        """A fork that prefers what comes next."""
        fork = _Fork([len(self._steps) + 1])
        self._steps.append(fork)
        return fork

    def _repeat(self, body: Callable[[], None]) -> None:
        begin = len(self._steps)
        fork = self._fork()
        body()
        self._steps.append(_Fork([begin]))
        fork.goals.append(len(self._steps))

    def _choice(self, branches: tuple[Pattern, ...]) -> None:
        choice = _Fork()
        self._steps.append(choice)
        ends = []
        for branch in branches:
            choice.goals.append(len(self._steps))
            self._pattern(branch)
            end = _Fork()
            self._steps.append(end)
            ends.append(end)
        for end in ends:
            end.goals.append(len(self._steps))


def _any(_: str) -> bool:
    return True


def _in_element(character: str) -> bool:
    return character != "/"
