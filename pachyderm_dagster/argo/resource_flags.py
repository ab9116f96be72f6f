"""Flags of a `resource`, which Argo hands to kubectl: those that are about the object, and not about how kubectl is called."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pachyderm_dagster.errors import InvalidError

_CASCADES: Final = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan", "true": "Background", "false": "Orphan"}
_WITH_VALUE: Final = ("--namespace", "--cascade", "--grace-period", "--field-manager", "--dry-run")
_ALONE: Final = ("--ignore-not-found",)
_SHORT: Final = {"-n": "--namespace"}


@dataclass(frozen=True, slots=True)
class Flags:
    """What they say.

    Attributes:
        namespace: of an object that names none.
        cascade: what becomes of what a deleted object owns, as the API has it.
        grace_seconds: that a deleted object has to end.
        field_manager: who applies.
        ignores_missing: an object that is not there counts as deleted.
        dry_run: the server checks it, and keeps nothing.
    """

    namespace: str = ""
    cascade: str = ""
    grace_seconds: int | None = None
    field_manager: str = ""
    ignores_missing: bool = False
    dry_run: bool = False


def parse_flags(words: Sequence[str]) -> Flags:
    """The flags in words as kubectl takes them.

    Raises:
        InvalidError: `flag-unknown`.
    """
    given: dict[str, str] = {}
    left = list(words)
    while left:
        word, equals, value = left.pop(0).partition("=")
        name = _SHORT.get(word, word)
        if name in _ALONE:
            given[name] = value if equals else "true"
        elif name in _WITH_VALUE and (equals or left):
            given[name] = value if equals else left.pop(0)
        else:
            known = ", ".join((*_WITH_VALUE, *_ALONE))
            raise InvalidError("flag-unknown", f"the flag {word!r} is not known here, where kubectl is not called; there are {known}; a `script` can call it")
    return Flags(
        namespace=given.get("--namespace", ""),
        cascade=_known("--cascade", given, _CASCADES),
        grace_seconds=_number("--grace-period", given),
        field_manager=given.get("--field-manager", ""),
        ignores_missing=_known("--ignore-not-found", given, {"true": "yes", "false": ""}) == "yes",
        dry_run=_known("--dry-run", given, {"server": "yes", "none": ""}) == "yes",
    )


def _known(name: str, given: dict[str, str], meanings: dict[str, str]) -> str:
    value = given.get(name)
    if value is not None and value not in meanings:
        raise InvalidError("flag-unknown", f"{name} is {value!r}; it is one of {', '.join(meanings)}")
    return "" if value is None else meanings[value]


def _number(name: str, given: dict[str, str]) -> int | None:
    value = given.get(name)
    if value is not None and not value.isdigit():
        raise InvalidError("flag-unknown", f"{name} is {value!r}; it is a number of seconds")
    return None if value is None else int(value)
