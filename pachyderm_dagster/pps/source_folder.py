"""Reads a source folder of this machine: which files of it count, their digest, their place in the object store (docs/design/0016)."""

import datetime as dt
import os
from collections.abc import Callable

import pathspec
import pyarrow as pa

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.pfs.local_sources import files_in, open_local
from pachyderm_dagster.pfs.paths import clean_file_path, directory_range, key_of, path_of
from pachyderm_dagster.pps.source_code import Source, source_digest
from pachyderm_dagster.pps.spec import SOURCE
from pachyderm_dagster.storage.chunks import MIN_CHUNK_BYTES, chunk_stream
from pachyderm_dagster.storage.content import EMPTY_CONTENT, Content, hash_of_chunks
from pachyderm_dagster.storage.ingest import ingest_files
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.rows import FILE_ROWS, KEY, contents_of
from pachyderm_dagster.storage.trees import TreeRoot, Trees

IGNORE_FILE = ".pachignore"
ALWAYS_IGNORED = (
    ".git/",
    ".hg/",
    ".svn/",
    "__pycache__/",
    "*.pyc",
    ".venv/",
    "venv/",
    "node_modules/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".ipynb_checkpoints/",
    ".DS_Store",
    "*.swp",
    "*~",
)
"""What is no source in any folder, as lines of an ignore file; one of the folder's own may take something back with `!`."""
_FOLDER = f"/{SOURCE}"


def ignoring(folder: str) -> Callable[[str], bool]:
    """Says of names below a source folder whether they are left out; that of a folder ends with a slash.

    Raises:
        InvalidError: `source-unreadable`; `source-invalid`, for an ignore file that cannot be read as one.
    """
    path = os.path.join(folder, IGNORE_FILE)
    lines = list(ALWAYS_IGNORED)
    if os.path.exists(path):
        with open_local(path) as file:
            data = file.read(-1)
        try:
            lines += data.decode().splitlines()
        except UnicodeDecodeError as error:
            raise InvalidError("source-invalid", f"{path}: byte {error.start} is not UTF-8; it is to hold patterns as a .gitignore does") from error
    try:
        return pathspec.GitIgnoreSpec.from_lines(lines).match_file
    except ValueError as error:
        raise InvalidError("source-invalid", f"{path}: {error}; it is to hold patterns as a .gitignore does") from error


def find_files(folder: str, *, but: str | None = None) -> list[tuple[str, str]]:
    """The files of a source folder that count, as (key below it, location), in the order of a tree.

    Args:
        but: the location of a file that does not: the pipeline file, a change of which is no change of code.

    Raises:
        NotFoundError: `source-not-found`.
        InvalidError: `source-invalid`, for a folder with nothing in it and as `local_sources.files_in`; `source-unreadable`; `path-invalid`.
    """
    if not os.path.isdir(folder):
        raise NotFoundError("source-not-found", f"{folder!r} is no folder of this machine; name the source folder in transform.build.path, or with --build")
    left_out = None if but is None else os.path.realpath(but)
    files = [(location, name) for location, name in files_in(folder, leave_out=ignoring(folder)) if os.path.realpath(location) != left_out]
    found = {key_of(clean_file_path(f"/{name}")): location for location, name in files}
    if not found:
        raise InvalidError("source-invalid", f"{folder!r} holds no files beside those that are left out; a source folder holds what the command runs")
    return sorted(found.items())


def look_at_folder(folder: str, now: dt.datetime, *, but: str | None = None) -> Source:
    """The source as it is in a folder; nothing is stored. Args, errors: as `find_files`."""
    return Source(source_digest((key, _hash(location)) for key, location in find_files(folder, but=but)), None, now)


def store_folder(store: ObjectStore, trees: Trees, folder: str, since: dt.datetime, *, but: str | None = None) -> Source:
    """Stores the files of a folder, and a tree of them. Args, errors: as `find_files`, and those of storing."""
    found = find_files(folder, but=but)
    contents = ingest_files(store, [location for _, location in found])
    keys = [key for key, _ in found]
    start, _ = directory_range(_FOLDER)
    columns = [pa.array([f"{start}{key}" for key in keys]), pa.array([b""] * len(keys), pa.binary()), *contents.columns]
    root = trees.build(pa.table(columns, schema=FILE_ROWS.schema))
    return Source(source_digest(zip(keys, contents.column("hash").to_pylist(), strict=True)), root.encode(), since)


def source_rows(trees: Trees, root: TreeRoot) -> pa.Table:
    """The rows of a tree that are a source folder."""
    return trees.table(root, *directory_range(_FOLDER))


def source_files(trees: Trees, root: TreeRoot) -> tuple[tuple[str, Content], ...]:
    """The files of the source folder in a tree, by path below the folder."""
    rows = source_rows(trees, root)
    paths = [path_of(key).removeprefix(_FOLDER) for key in rows.column(KEY).to_pylist()]
    return tuple(zip(paths, contents_of(rows), strict=True))


def _hash(location: str) -> bytes:
    """The hash that the content of a file has when it is stored."""
    with open_local(location) as file:
        head = file.read(MIN_CHUNK_BYTES)
        if len(head) < MIN_CHUNK_BYTES:
            return content_digest(head) if head else EMPTY_CONTENT.hash
        return hash_of_chunks([content_digest(chunk) for chunk in chunk_stream(head, file, lambda _given: None)])
