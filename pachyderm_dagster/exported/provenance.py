"""Commits as texts that steps of other systems hand on: `default/images@master=5a1b…`, several with commas between."""

from collections.abc import Iterable

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.made_commits import MadeFrom
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, BranchName, is_commit_id
from pachyderm_dagster.pfs.references import parse_reference


def parse_made_from(text: str, *, project: str = DEFAULT_PROJECT) -> list[MadeFrom]:
    """The commits of a text, each once.

    Raises:
        InvalidError: `provenance-invalid`, `reference-invalid`, `name-invalid`.
    """
    found = [_parse_one(part.strip(), project) for part in text.split(",") if part.strip()]
    return list(dict.fromkeys(found))


def show_made_from(made_from: Iterable[MadeFrom]) -> str:
    """The text of commits."""
    return ",".join(dict.fromkeys(map(str, made_from)))


def _parse_one(text: str, project: str) -> MadeFrom:
    read, equals, id = text.partition("=")
    if not equals or "@" not in read or not is_commit_id(id):
        raise InvalidError("provenance-invalid", f"{text!r} names no commit with the branch through which it was read; write REPO@BRANCH=ID")
    at = parse_reference(read, project=project)
    return MadeFrom(BranchName(at.repo, at.branch().name), id)
