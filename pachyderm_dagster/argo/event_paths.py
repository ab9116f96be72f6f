"""Paths into events, as Argo Events has them from gjson: `body.user.0.name`, `notification.#.s3.object.key`; a backslash stands before a point in a name."""

import re
from typing import Any, Final

from pachyderm_dagster.errors import InvalidError

NOTHING: Final = object()
_PART = re.compile(r"(?:[^.\\]|\\.)+")
_OTHER_SIGNS = re.compile(r"(?<!\\)[*?|\[\]{}()@!]")


def parts_of(path: str) -> list[str]:
    """The names and numbers of a path.

    Raises:
        InvalidError: `event-path-invalid`.
    """
    found = _OTHER_SIGNS.search(path)
    if found is not None:
        hint = "write names and numbers with points between, as 'body.user.0.name', '#' for all items of a list, and a backslash before other signs"
        raise InvalidError("event-path-invalid", f"{found[0]!r} in the path {path!r} is not supported; {hint}")
    parts = _PART.findall(path)
    if ".".join(parts) != path or not parts:
        raise InvalidError("event-path-invalid", f"{path!r} is no path; write names and numbers with points between, as 'body.user.0.name'")
    return [re.sub(r"\\(.)", r"\1", part) for part in parts]


def value_at(document: Any, path: str) -> Any:
    """What is there, or `NOTHING`. Errors as `parts_of`."""
    return _below(document, parts_of(path))


def _below(found: Any, parts: list[str]) -> Any:
    for index, part in enumerate(parts):
        if isinstance(found, dict):
            found = found.get(part, NOTHING)
        elif isinstance(found, list) and part == "#":
            rest = parts[index + 1 :]
            # At the end it is how many there are, before it what each of them has there.
            return [value for one in found if (value := _below(one, rest)) is not NOTHING] if rest else len(found)
        elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            return NOTHING
    return found


def bool_of(value: Any) -> bool:
    """A value as gjson makes a boolean of it."""
    if isinstance(value, str):
        return value.lower() in ("1", "t", "true")
    return bool(value) if isinstance(value, bool | int | float) else False


def number_of(value: Any) -> float:
    """A value as gjson makes a number of it: 0 of what is none."""
    try:
        return float(value) if isinstance(value, bool | int | float | str) else 0.0
    except ValueError:
        return 0.0
