"""What `put file -f` reads, and where each file goes: local files and folders, standard input, URLs."""

import enum
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs import http_sources, object_sources
from pachyderm_dagster.pfs.archives import is_archive
from pachyderm_dagster.pfs.http_urls import SCHEMES, parse_http_url, split_url, without_user
from pachyderm_dagster.pfs.local_sources import not_a_file, open_local, status
from pachyderm_dagster.pfs.paths import clean_file_path, clean_path, refused_names
from pachyderm_dagster.storage.chunks import Readable

STDIN = "-"
COMMENT = "#"


class SourceKind(enum.Enum):
    """How a source is read."""

    FILE = "file"  # a file of this machine
    FOLDER = "folder"  # a folder of this machine: all files below it
    PIPE = "pipe"  # a pipe that has a name, as `<(command)` makes
    STDIN = "stdin"
    HTTP = "http"
    OBJECT = "object"  # one object of an object store
    PREFIX = "prefix"  # all objects below a URL


_FOLDERS = (SourceKind.FOLDER, SourceKind.PREFIX)
_URLS = (SourceKind.HTTP, SourceKind.OBJECT, SourceKind.PREFIX)


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to read: a path or a URL, and the cleaned path that its content goes to.

    Attributes:
        target: of folders, prefixes and archives the directory.
        is_archive: a tar archive to be unpacked.
    """

    kind: SourceKind
    location: str
    target: str
    is_archive: bool = False


def plan_sources(
    locations: Sequence[str], target: str | None, *, recursive: bool = False, full_path: bool = False, unpack: bool = False, append: bool = False
) -> list[Source]:
    """Where each of `locations` (paths, URLs, `-`; none means `-`) goes. Nothing is read yet.

    One file goes to `target`, into it if that ends in `/`, or by its name to the top; the contents of one folder go below `target` or to the top;
    several go into `target` by their names.

    Args:
        recursive: take folders, and prefixes of object stores.
        full_path: what goes by its name goes by its whole path.
        unpack: the contents of tar archives, which are known by their names, go below `target`; standard input is one.
        append: what goes to one path comes there one after the other; without, no two sources may go to the same.

    Raises:
        InvalidError: `path-missing`, `path-invalid`, `source-invalid`, `source-is-folder`, `source-unreadable`.
        NotFoundError: `source-not-found`.
    """
    sources: list[Source] = []
    problems = []
    for location in locations or [STDIN]:
        kind = _kind(location, recursive=recursive)
        if unpack and kind not in _FOLDERS and (kind is SourceKind.STDIN or is_archive(_path_of(kind, location))):
            sources.append(Source(kind, location, clean_path(target or "/"), is_archive=True))
            continue
        by_name = len(locations) > 1 or (full_path if kind in _FOLDERS else target is None or target.endswith("/"))
        path = (target or "").rstrip("/") + "/" + _name(kind, location, full_path=full_path) if by_name else target or "/"
        try:
            sources.append(Source(kind, location, clean_path(path) if kind in _FOLDERS else clean_file_path(path)))
        except InvalidError as error:
            if not by_name or kind in _FOLDERS:
                raise
            problems.append((_name(kind, location, full_path=full_path), error))
    if problems:
        raise refused_names(problems)
    if not append:
        _check_apart(sources)
    return sources


def _check_apart(sources: Sequence[Source]) -> None:
    """Refuses two sources that go to one path: the first would be lost without a word. The same one twice is no loss."""
    found: dict[str, Source] = {}
    for source in sources:
        if source.is_archive:
            continue
        other = found.setdefault(source.target, source)
        if other.location != source.location:
            one, two = (ascii(without_user(at.location)) for at in (other, source))
            raise InvalidError("path-invalid", f"{one} and {two} both go to {source.target!r}; put them one by one, or append them with -a")


def read_source_list(location: str, stdin: Readable) -> list[str]:
    """The locations that the lines of a file, an http(s) URL or standard input (`-`) name; empty lines and those that begin with `#` are skipped.

    Raises:
        InvalidError: `source-unreadable`.
        NotFoundError: `source-not-found`.
        UnreachableError: `source-unreachable`.
    """
    if location == STDIN:
        data = _read_all(stdin)
    else:
        with http_sources.open_http(location) if _scheme(location) in SCHEMES else open_local(location) as stream:
            data = _read_all(stream)
    lines = (line.strip() for line in os.fsdecode(data).split("\n"))
    return [line for line in lines if line and not line.startswith(COMMENT)]


def _kind(location: str, *, recursive: bool) -> SourceKind:
    scheme = _scheme(location)
    if recursive and (location == STDIN or scheme in SCHEMES):
        what = "standard input" if location == STDIN else without_user(location)
        raise InvalidError("source-invalid", f"-r takes folders and URLs of object stores, {what} is one file; leave -r out")
    if location == STDIN:
        return SourceKind.STDIN
    if scheme in SCHEMES:
        parse_http_url(location)
        return SourceKind.HTTP
    if scheme in object_sources.SCHEMES:
        split_url(location)
        return SourceKind.PREFIX if recursive else SourceKind.OBJECT
    if scheme:
        known = ", ".join((*SCHEMES, *object_sources.SCHEMES))
        raise InvalidError("source-invalid", f"{location} begins with {scheme}://, which cannot be read; these can: {known}")
    found = status(location)
    if stat.S_ISDIR(found.st_mode):
        if not recursive:
            raise InvalidError("source-is-folder", f"{location!r} is a folder; take all that is in it with -r, or name a file in it")
        return SourceKind.FOLDER
    if stat.S_ISFIFO(found.st_mode):
        return SourceKind.PIPE
    if not stat.S_ISREG(found.st_mode):
        raise not_a_file(location, found)
    return SourceKind.FILE


def _scheme(location: str) -> str:
    scheme, colon, _ = location.partition("://")
    return scheme.lower() if colon and scheme.isalnum() else ""


def _path_of(kind: SourceKind, location: str) -> str:
    """The path of a location, on this machine or in its URL."""
    return unquote(split_url(location).path) if kind in _URLS else location


def _name(kind: SourceKind, location: str, *, full_path: bool) -> str:
    path = _path_of(kind, location)
    if kind is SourceKind.HTTP and "%2f" in split_url(location).path.lower():
        raise InvalidError("path-invalid", f"{without_user(location)} has a slash in a name (%2F), which no file has; say where it goes: repo@branch:/path")
    if kind not in _URLS:
        path = os.path.normpath(path) if full_path else os.path.abspath(path)
    name = path if full_path else os.path.basename(path.rstrip("/"))
    if kind is SourceKind.STDIN or not name.strip("/"):
        what = "standard input" if kind is SourceKind.STDIN else without_user(location)
        raise InvalidError("path-missing", f"{what} has no name to go by; say where it goes: repo@branch:/path")
    return name.strip("/")


def _read_all(stream: Readable) -> bytes:
    pieces = []
    while piece := stream.read(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)
