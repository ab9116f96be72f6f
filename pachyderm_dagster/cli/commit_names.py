"""What a text names where a command takes a commit or a whole commit set."""

import re

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.pfs.model import is_commit_id
from pachyderm_dagster.pfs.references import Reference, parse_reference

_LIKE_AN_ID = re.compile(r"[0-9a-fA-F]{4,}")


def commit_or_set(text: str, *, project: str) -> Reference | None:
    """The commit that is named; None for the id of a set.

    Raises:
        NotFoundError: `commit-set-not-found`, for an id that is none.
        InvalidError: `reference-invalid`, `name-invalid`.
    """
    if is_commit_id(text):
        return None
    if looks_like_an_id(text):
        raise no_such_set(text)
    at = parse_reference(text, project=project)
    if at.ref is None:
        raise InvalidError("reference-invalid", f"'{text}' names no commit; write {at.repo}@branch or {at.repo}@id, or the id of a commit set")
    return at


def looks_like_an_id(text: str) -> bool:
    """Whether who wrote this may have meant an id."""
    return _LIKE_AN_ID.fullmatch(text) is not None


def no_such_set(text: str) -> NotFoundError:
    """The error for a short or mistyped id."""
    return NotFoundError(
        "commit-set-not-found",
        f"no commit set has the id '{text}', which takes all of its 32 digits; `pachctl list commit` shows the sets, and REPO@BRANCH names a commit",
    )
