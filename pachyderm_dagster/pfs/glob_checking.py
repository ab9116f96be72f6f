"""Globs and their templates as texts: cleaned, taken apart and checked, without what matches them (`pfs.globs`), which takes long to import."""

import importlib
import re
import unicodedata
from collections.abc import Iterator

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.glob_syntax import Group, parse_pattern, walk
from pachyderm_dagster.pfs.paths import ROOT, shown

# RE2 refuses expressions from tens of thousands of characters on; shorter ones need not be given to it to be known as good.
_SURELY_MATCHED = 1000
_TEMPLATE = re.compile(r"\$(?:(\$)|([0-9]+)|\{([0-9]+)\})")


def check_glob(pattern: str) -> int:
    """How many groups of a pattern capture.

    Raises:
        InvalidError: `glob-invalid`, as `Glob.parse`.
    """
    text = clean_pattern(pattern)
    if len(text) > _SURELY_MATCHED:
        count: int = importlib.import_module("pachyderm_dagster.pfs.globs").Glob.parse(pattern).group_count
        return count
    return sum(1 for node in walk(parse_pattern(text)) if isinstance(node, Group))


def clean_pattern(pattern: str) -> str:
    """A pattern with one leading `/` and none at the end; empty for `/`.

    Raises:
        InvalidError: `glob-invalid`.
    """
    if not pattern:
        raise InvalidError("glob-invalid", "the glob is empty; `/` is everything as one, `/*` every file and directory at the top")
    try:
        pattern.encode()
    except UnicodeEncodeError as error:
        raise InvalidError("glob-invalid", f"glob {shown(pattern)}, character {error.start + 1}: not valid UTF-8") from error
    body = unicodedata.normalize("NFC", pattern).strip("/")
    return ROOT + body if body else ""


def template_groups(template: str) -> tuple[int, ...]:
    """The groups that a template asks for, as `$1` does."""
    return tuple(part for part in template_parts(template) if isinstance(part, int))


def template_parts(template: str) -> Iterator[str | int]:
    """The texts of a template, and between them the numbers of groups."""
    end = 0
    for found in _TEMPLATE.finditer(template):
        yield template[end : found.start()]
        yield "$" if found[1] else int(found[2] or found[3])
        end = found.end()
    yield template[end:]
