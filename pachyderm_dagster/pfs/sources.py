"""What `put file -f` reads, and where each file goes: local files and folders, standard input, URLs."""

import enum
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.filesets import FileSet
from pachyderm_dagster.pfs.local_sources import files_in, not_a_file, open_local, status
from pachyderm_dagster.pfs.path_columns import clean_file_paths
from pachyderm_dagster.pfs.paths import clean_file_path, clean_path
from pachyderm_dagster.pfs.remote_sources import HTTP_SCHEMES, OBJECT_SCHEMES, list_objects, open_http, open_object, read_objects
from pachyderm_dagster.storage.chunks import Readable
from pachyderm_dagster.storage.ingest import ingest_files
from pachyderm_dagster.storage.objects import ObjectStore

STDIN = "-"


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
_LOCAL = (SourceKind.FILE, SourceKind.FOLDER)


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to read: a path or a URL, and the cleaned path that its content goes to, of folders and prefixes the directory."""

    kind: SourceKind
    location: str
    target: str


def plan_sources(locations: Sequence[str], target: str | None, *, recursive: bool = False, full_path: bool = False) -> list[Source]:
    """Where each of `locations` (paths, URLs, `-`; none means `-`) goes. Nothing is read yet.

    One file goes to `target`, into it if that ends in `/`, or by its name to the top; the contents of one folder go below `target` or to the top;
    several go into `target` by their names.

    Args:
        recursive: take folders, and prefixes of object stores.
        full_path: what goes by its name goes by its whole path.

    Raises:
        InvalidError: `path-missing`, `path-invalid`, `source-invalid`, `source-is-folder`, `source-unreadable`.
        NotFoundError: `source-not-found`.
    """
    sources = []
    for location in locations or [STDIN]:
        kind = _kind(location, recursive=recursive)
        by_name = len(locations) > 1 or (full_path if kind in _FOLDERS else target is None or target.endswith("/"))
        path = (target or "").rstrip("/") + "/" + _name(kind, location, full_path=full_path) if by_name else target or "/"
        sources.append(Source(kind, location, clean_path(path) if kind in _FOLDERS else clean_file_path(path)))
    return sources


def read_source_list(location: str, stdin: Readable) -> list[str]:
    """The locations that the lines of a file, an http(s) URL or standard input (`-`) name; empty lines are skipped.

    Raises:
        InvalidError: `source-unreadable`.
        NotFoundError: `source-not-found`.
        UnreachableError: `source-unreachable`.
    """
    if location == STDIN:
        data = _read_all(stdin)
    else:
        with open_http(location) if _scheme(location) in HTTP_SCHEMES else open_local(location) as stream:
            data = _read_all(stream)
    return [line.strip() for line in os.fsdecode(data).split("\n") if line.strip()]


def put_sources(files: FileSet, store: ObjectStore, sources: Sequence[Source], *, stdin: Readable, append: bool = False) -> int:
    """Writes planned sources, in order; returns the number of files.

    Args:
        store: where contents go, the one that `files` writes to.

    Raises:
        InvalidError: `path-invalid`, `source-unreadable`, `source-invalid`, `file-unreadable`.
        NotFoundError: `source-not-found`.
        UnreachableError: `source-unreachable`.
    """
    count = 0
    for is_local, group in groupby(sources, lambda source: source.kind in _LOCAL):
        if is_local:
            count += _put_local(files, store, group, append=append)
            continue
        for source in group:
            count += _put_remote(files, source, stdin, append=append)
    return count


def _kind(location: str, *, recursive: bool) -> SourceKind:
    scheme = _scheme(location)
    if recursive and (location == STDIN or scheme in HTTP_SCHEMES):
        what = "standard input" if location == STDIN else location
        raise InvalidError("source-invalid", f"-r takes folders and URLs of object stores, {what} is one file; leave -r out")
    if location == STDIN:
        return SourceKind.STDIN
    if scheme in HTTP_SCHEMES:
        return SourceKind.HTTP
    if scheme in OBJECT_SCHEMES:
        return SourceKind.PREFIX if recursive else SourceKind.OBJECT
    if scheme:
        raise InvalidError(
            "source-invalid", f"{location} begins with {scheme}://, which cannot be read; these can: {', '.join((*HTTP_SCHEMES, *OBJECT_SCHEMES))}"
        )
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


def _name(kind: SourceKind, location: str, *, full_path: bool) -> str:
    if kind in (SourceKind.HTTP, SourceKind.OBJECT, SourceKind.PREFIX):
        path = unquote(urlsplit(location).path)
    else:
        path = os.path.normpath(location) if full_path else os.path.abspath(location)
    name = path if full_path else os.path.basename(path.rstrip("/"))
    if kind is SourceKind.STDIN or not name.strip("/"):
        what = "standard input" if kind is SourceKind.STDIN else location
        raise InvalidError("path-missing", f"{what} has no name to go by; say where it goes: repo@branch:/path")
    return name.strip("/")


def _put_remote(files: FileSet, source: Source, stdin: Readable, *, append: bool) -> int:
    if source.kind is SourceKind.PREFIX:
        objects = list_objects(source.location)
        targets = _targets(source, [found.name for found in objects])
        for target, (_, body) in zip(targets.to_pylist(), read_objects(source.location, objects), strict=True):
            files.put_stream(target, body, append=append)
        return len(objects)
    if source.kind is SourceKind.STDIN:
        files.put_stream(source.target, stdin, append=append)
        return 1
    opened = {SourceKind.PIPE: open_local, SourceKind.HTTP: open_http, SourceKind.OBJECT: open_object}[source.kind]
    with opened(source.location) as body:
        files.put_stream(source.target, body, append=append)
    return 1


def _put_local(files: FileSet, store: ObjectStore, sources: Iterable[Source], *, append: bool) -> int:
    """Local files are stored many at a time."""
    locations: list[str] = []
    targets = []
    for source in sources:
        if source.kind is SourceKind.FILE:
            locations.append(source.location)
            targets.append(pa.array([source.target]))
            continue
        found = list(files_in(source.location))
        locations += [location for location, _ in found]
        targets.append(_targets(source, [name for _, name in found]))
    if locations:
        rows = ingest_files(store, locations)
        files.put_rows(rows.add_column(0, "path", pa.concat_arrays(targets)), append=append)
    return len(locations)


def _targets(folder: Source, names: Sequence[str]) -> pa.StringArray:
    """The paths of files by their names below a folder."""
    prefix = folder.target.rstrip("/")
    targets = clean_file_paths([f"{prefix}/{name}" for name in names])
    if pc.count_distinct(targets).as_py() < len(targets):
        counts = pc.value_counts(targets)
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))[0].as_py()
        raise InvalidError("path-invalid", f"two files below {folder.location!r} go to {twice!r}: their names differ in the form of accents alone; rename one")
    return targets


def _read_all(stream: Readable) -> bytes:
    pieces = []
    while piece := stream.read(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)
