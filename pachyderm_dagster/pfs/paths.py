"""What a path in a repo may be, and the key under which a tree stores it.

A path begins with `/`, has no `/` at its end and names a file or a directory; `/` alone is the root directory. A file's key is its path without the leading `/`
and with every other `/` replaced by a NUL, which no path can hold. So `/` sorts below every other byte, and a directory is one contiguous range of keys.
"""

import re
import unicodedata
from collections.abc import Sequence

from pachyderm_dagster.errors import InvalidError

ROOT = "/"
SEPARATOR = "\x00"
# The smallest string above every key that begins with `directory + SEPARATOR`: no path holds this byte either.
AFTER_SEPARATOR = "\x01"
GLOB_CHARACTERS = "*?[]{}!()@+^"
# In bytes of UTF-8: what file systems take, so that whatever is in a repo can be written to a disk.
MAX_PATH_BYTES = 4096
MAX_ELEMENT_BYTES = 255

_SHOWN_CHARACTERS = 300
_SHOWN_NAMES = 10
# Most paths, told at one look: all rules hold for them. A dot alone or two are no element.
_ORDINARY = re.compile(r"(?=.{2,4096}\Z)(?:/(?!\.{1,2}(?:/|\Z))[\w .,:;=~#$%&'\"<>|\\-]{1,255})+", re.ASCII)
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f*?\[\]{}!()@+^]")


def clean_path(text: str) -> str:
    """The path that `text` names: one leading `/`, none at the end, NFC normalised. `/` is the root directory.

    Any UTF-8 is taken but control characters and those that make a glob, so that a path is never mistaken for a pattern. A path is no longer than
    `MAX_PATH_BYTES`, an element of it no longer than `MAX_ELEMENT_BYTES`.

    Raises:
        InvalidError: `path-invalid`, naming the rule that `text` breaks.
    """
    if _ORDINARY.fullmatch(text):
        return text
    if not text:
        raise InvalidError("path-invalid", "the path is empty; name a file (`/dir/file`) or `/` for everything")
    body = unicodedata.normalize("NFC", text).strip("/")
    problem = _problem(body)
    if problem:
        raise InvalidError("path-invalid", f"path {shown(text)} {problem}")
    return ROOT + body


def clean_file_path(text: str) -> str:
    """`clean_path` for a path that is to be a file, so not the root.

    Raises:
        InvalidError: `path-invalid`.
    """
    path = clean_path(text)
    if path == ROOT:
        raise InvalidError("path-invalid", f"path {text!r} is the root directory; a file needs a name, as in `/file`")
    return path


def refused_names(problems: Sequence[tuple[str, InvalidError]]) -> InvalidError:
    """One error for names of files that cannot be paths, each with its own error: the first some of them, and how many there are.

    Args:
        problems: at least one.
    """
    instead = "rename it, or put it alone under another name: -f FILE with REPO@BRANCH:/NAME"
    if len(problems) == 1:
        return InvalidError("path-invalid", f"{problems[0][1].message.removesuffix('; rename it')}; {instead}")
    names = ", ".join(shown(name) for name, _ in problems[:_SHOWN_NAMES])
    others = f" and {len(problems) - _SHOWN_NAMES:,} more" if len(problems) > _SHOWN_NAMES else ""
    return InvalidError("path-invalid", f"{len(problems):,} names cannot be paths: {names}{others}; of the first: {problems[0][1].message}; rename them")


def key_of(path: str) -> str:
    """The key of a cleaned path; the root's is empty."""
    return path[1:].replace("/", SEPARATOR)


def path_of(key: str) -> str:
    """The path of a key."""
    return ROOT + key.replace(SEPARATOR, "/")


def directory_range(path: str) -> tuple[str | None, str | None]:
    """The keys below a directory as `start <= key < stop`; both are None for the root."""
    if path == ROOT:
        return None, None
    key = key_of(path)
    return key + SEPARATOR, key + AFTER_SEPARATOR


def shown(text: str) -> str:
    """A path or pattern as a message has it: quoted, and cut when it is long."""
    return repr(text) if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]!r}..."


def cut(text: str) -> str:
    """A path as a message has it that does not quote: cut when it is long."""
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _problem(body: str) -> str | None:
    """The rule that a path without its outer slashes breaks, as the end of a sentence."""
    try:
        length = len(body.encode()) + 1
    except UnicodeEncodeError:
        return "is not valid UTF-8; rename it"
    if length > MAX_PATH_BYTES:
        return f"has {length:,} bytes, more than {MAX_PATH_BYTES:,}; shorten it"
    found = _FORBIDDEN.search(body)
    if found and found.group() in GLOB_CHARACTERS:
        return f"has {found.group()!r}, which means something in a glob; a path takes none of {GLOB_CHARACTERS}"
    if found:
        return f"has the control character {found.group()!r}; rename it"
    if not body:
        return None
    for element in body.split("/"):
        if not element:
            return "has an empty element (`//`); write one slash"
        if element in (".", ".."):
            return f"has the element {element!r}; write the path without it"
        if len(element.encode()) > MAX_ELEMENT_BYTES:
            return f"has an element of {len(element.encode()):,} bytes, more than {MAX_ELEMENT_BYTES}, which no file system takes; shorten it"
    return None
