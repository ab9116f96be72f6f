"""What a caller of Python may give: checked here, so that no database or library has to refuse it in words of its own."""

import math
from typing import Any

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.model import Origin

_MANY = 2**31  # more than there can be of anything, and a number to every database


def checked_text(text: Any, what: str) -> str:
    """A description, message or note.

    Raises:
        InvalidError: `text-invalid`, for what cannot be written as UTF-8, and for NUL, which PostgreSQL takes in no text.
        TypeError: for what is no text.
    """
    if not isinstance(text, str):
        raise TypeError(f"{what} is a str, not {type(text).__name__}")
    bad = next((character for character in text if character == "\0" or "\ud800" <= character <= "\udfff"), None)
    if bad is not None:
        raise InvalidError("text-invalid", f"{what} has the character {bad!r}, which cannot be kept; leave it out")
    return text


def checked_number(number: Any, what: str) -> int | None:
    """At most how many; None for all.

    Raises:
        InvalidError: `argument-invalid`.
    """
    if number is None:
        return None
    if not isinstance(number, int) or number < 0:
        raise InvalidError("argument-invalid", f"{what} is a whole number from 0 on, or None for all; found {number!r}")
    return min(number, _MANY)


def checked_timeout(timeout: Any) -> float | None:
    """Seconds; None for ever. Raises InvalidError `argument-invalid`."""
    if timeout is None:
        return None
    if not isinstance(timeout, int | float) or math.isnan(timeout):
        raise InvalidError("argument-invalid", f"timeout is a number of seconds, or None for ever; found {timeout!r}")
    return timeout


def checked_origin(origin: Any) -> Origin | None:
    """Who made a commit; None for whoever. Raises InvalidError `argument-invalid`."""
    try:
        return None if origin is None else Origin(origin)
    except ValueError as error:
        raise InvalidError("argument-invalid", f"origin is {' or '.join(map(repr, map(str, Origin)))}, or None for both; found {origin!r}") from error
