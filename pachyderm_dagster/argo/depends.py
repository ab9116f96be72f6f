"""`depends`: what a task of a graph waits for, as an expression over tasks and what came of them."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.tokens import find_tokens
from pachyderm_dagster.errors import InvalidError

RESULTS = ("Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned", "AnySucceeded", "AllFailed")
_TOKEN = re.compile(r"\s*(&&|\|\||!|\(|\)|[A-Za-z0-9_.-]+)")
_FAILURES = (Phase.FAILED, Phase.ERROR)


@dataclass(frozen=True, slots=True)
class Name:
    """`task` or `task.Result`; `result` is empty for the bare name."""

    task: str
    result: str = ""


@dataclass(frozen=True, slots=True)
class Not:
    """`!of`."""

    of: "Depends"


@dataclass(frozen=True, slots=True)
class Both:
    """`left && right`."""

    left: "Depends"
    right: "Depends"


@dataclass(frozen=True, slots=True)
class Either:
    """`left || right`."""

    left: "Depends"
    right: "Depends"


Depends: TypeAlias = Name | Not | Both | Either


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a task.

    Attributes:
        phase: its own; of a fan-out that of the group.
        items: the phases of a fan-out's nodes; none for a single task.
        tolerated: phases that its `continueOn` lets count as satisfied.
    """

    phase: Phase
    items: tuple[Phase, ...] = ()
    tolerated: tuple[Phase, ...] = ()


def parse_depends(text: str, *, field: str = "depends") -> Depends:
    """The expression of a `depends`, or of the field that is named; `!` binds most, `||` least.

    Raises:
        InvalidError: `depends-invalid`.
    """
    parsing = _Parsing(text, field)
    found = parsing.either()
    parsing.expect_end()
    return found


def from_dependencies(tasks: Iterable[str]) -> Depends | None:
    """The same for `dependencies`: all of the tasks; None for none."""
    found: Depends | None = None
    for task in tasks:
        found = Name(task) if found is None else Both(found, Name(task))
    return found


def names_in(depends: Depends | None) -> list[str]:
    """The tasks in an expression, each once, in their order."""
    match depends:
        case None:
            return []
        case Name(task):
            return [task]
        case Not(of):
            return names_in(of)
        case Both(left, right) | Either(left, right):
            return list(dict.fromkeys(names_in(left) + names_in(right)))


def holds(depends: Depends, outcomes: Mapping[str, Outcome]) -> bool:
    """What an expression comes to, once all its tasks have an outcome."""
    match depends:
        case Name(task, result):
            return _matches(outcomes[task], result)
        case Not(of):
            return not holds(of, outcomes)
        case Both(left, right):
            return holds(left, outcomes) and holds(right, outcomes)
        case Either(left, right):
            return holds(left, outcomes) or holds(right, outcomes)


def _matches(outcome: Outcome, result: str) -> bool:
    if not result:
        return outcome.phase in (Phase.SUCCEEDED, Phase.SKIPPED, Phase.RUNNING) or outcome.phase in outcome.tolerated
    return _CHECKS[result](outcome)


_CHECKS: Mapping[str, Callable[[Outcome], bool]] = {
    "Succeeded": lambda found: found.phase is Phase.SUCCEEDED,
    "Failed": lambda found: found.phase is Phase.FAILED,
    "Errored": lambda found: found.phase is Phase.ERROR,
    "Skipped": lambda found: found.phase is Phase.SKIPPED,
    "Omitted": lambda found: found.phase is Phase.OMITTED,
    # Of all that have an outcome only a daemon runs still.
    "Daemoned": lambda found: found.phase is Phase.RUNNING,
    "AnySucceeded": lambda found: Phase.SUCCEEDED in found.items,
    "AllFailed": lambda found: bool(found.items) and all(phase in _FAILURES for phase in found.items),
}


class _Parsing:
    def __init__(self, text: str, field: str) -> None:
        self._text, self._field = text, field
        hint = "write task names, '.Result', '&&', '||', '!' and parentheses"
        self._tokens = [found[1] for found in find_tokens(_TOKEN, text, lambda rest: self._invalid(f"{rest!r} is not understood; {hint}"))]
        self._tokens.reverse()

    def either(self) -> Depends:
        found = self._both()
        while self._take("||"):
            found = Either(found, self._both())
        return found

    def expect_end(self) -> None:
        if self._tokens:
            raise self._invalid(f"{self._tokens[-1]!r} is one too many; write '&&' or '||' between tasks")

    def _both(self) -> Depends:
        found = self._single()
        while self._take("&&"):
            found = Both(found, self._single())
        return found

    def _single(self) -> Depends:
        if self._take("!"):
            return Not(self._single())
        if self._take("("):
            found = self.either()
            if not self._take(")"):
                raise self._invalid("a ')' is missing")
            return found
        if not self._tokens or self._tokens[-1] in ("&&", "||", ")"):
            raise self._invalid("the name of a task is missing")
        return self._name(self._tokens.pop())

    def _name(self, token: str) -> Name:
        task, dot, result = token.partition(".")
        if dot and result not in RESULTS:
            raise self._invalid(f"{result!r} is no result of a task; it is one of {', '.join(RESULTS)}")
        return Name(task, result)

    def _take(self, token: str) -> bool:
        if self._tokens and self._tokens[-1] == token:
            self._tokens.pop()
            return True
        return False

    def _invalid(self, problem: str) -> InvalidError:
        return InvalidError("depends-invalid", f"{self._field!r} is {self._text!r}: {problem}")
