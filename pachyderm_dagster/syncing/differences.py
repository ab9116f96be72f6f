"""What is declared against what there is: what has to be made, changed, and what is there because it was declared once."""

import difflib
import enum
from collections.abc import Collection, Iterable, Mapping

import msgspec

from pachyderm_dagster.argo.kept_objects import ObjectName

PIPELINE, REPO = "pipeline", "repo"


class Thing(msgspec.Struct, frozen=True, order=True):
    """Something that can be declared.

    Attributes:
        kind: `pipeline`, `repo`, or the kind of an object of Argo.
        name: a pipeline's and a repo's with its project, unless that is the usual one.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def object_name(thing: Thing) -> ObjectName | None:
    """Which object of Argo a thing is."""
    return None if thing.kind in (PIPELINE, REPO) else ObjectName(thing.kind, thing.name)


class Action(enum.StrEnum):
    """What is to be done about a thing."""

    CREATE = "create"
    UPDATE = "update"
    REMOVE = "remove"  # it is declared no more
    KEEP = "keep"  # it is declared no more, and nobody said that such things go


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that is not as declared.

    Attributes:
        source: the file that it is declared in; empty when it is not any more.
        difference: lines of a unified diff, from what is there to what is declared.
    """

    action: Action
    thing: Thing
    source: str = ""
    difference: tuple[str, ...] = ()


class Wanted(msgspec.Struct, frozen=True):
    """How a thing is to be.

    Attributes:
        text: all of it; None when it only has to be there.
        source: the file that says so.
    """

    text: str | None
    source: str


def done_of(changes: Iterable[Change]) -> list[Change]:
    """Those that change something: all but what is kept."""
    return [change for change in changes if change.action is not Action.KEEP]


def changes_of(wanted: Mapping[Thing, Wanted], there: Mapping[Thing, str], owned: Collection[Thing], *, prune: bool) -> list[Change]:
    """What has to be done, in the order of what is wanted; what goes comes last.

    Args:
        there: what there is of the things that are wanted or owned.
        owned: what was declared before.
        prune: what is declared no more is removed. A repo is not: what it holds is nowhere else.
    """
    found = []
    for thing, one in wanted.items():
        now = there.get(thing)
        if now is None:
            found.append(Change(action=Action.CREATE, thing=thing, source=one.source, difference=_difference(thing, "", one.text or "")))
        elif one.text is not None and one.text != now:
            found.append(Change(action=Action.UPDATE, thing=thing, source=one.source, difference=_difference(thing, now, one.text)))
    for thing in sorted(set(owned) - set(wanted)):
        if thing in there:
            goes = prune and thing.kind != REPO
            found.append(Change(action=Action.REMOVE if goes else Action.KEEP, thing=thing))
    return found


def _difference(thing: Thing, before: str, after: str) -> tuple[str, ...]:
    name = f"{thing.kind}/{thing.name}"
    return tuple(difflib.unified_diff(before.splitlines(), after.splitlines(), f"there/{name}", f"declared/{name}", lineterm=""))
