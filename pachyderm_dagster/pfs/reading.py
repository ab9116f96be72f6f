"""Reads the files of a tree: one, a directory, a subtree, what a glob matches.

A `label` names the commit in messages, as the caller knows it: `images@master`.
"""

import difflib
import itertools
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.pfs.entries import DIRECTORY, ENTRIES, FileInfo, children, directory_prefix, file_infos, find_entry
from pachyderm_dagster.pfs.globs import Glob
from pachyderm_dagster.pfs.path_columns import keys_of
from pachyderm_dagster.pfs.paths import AFTER_SEPARATOR, GLOB_CHARACTERS, ROOT, SEPARATOR, clean_path, directory_range, key_of, path_of, shown
from pachyderm_dagster.pfs.searching import scan, search
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.rows import contents_of
from pachyderm_dagster.storage.trees import TreeRoot, Trees

MAX_REVERSE = 100_000
_NAMES_COMPARED = 5000
_NAMES_SHOWN = 3


def inspect_file(trees: Trees, root: TreeRoot, path: str, *, label: str) -> FileInfo:
    """One file or directory. The root directory is there even if it is empty.

    Raises:
        NotFoundError: `file-not-found`.
        InvalidError: `path-invalid`.
    """
    cleaned = clean_path(path)
    found = find_entry(trees, root, cleaned)
    if found is None:
        raise _not_found(trees, root, cleaned, label)
    return found


def list_directory(
    trees: Trees, root: TreeRoot, path: str, *, label: str, after: str | None = None, limit: int | None = None, reverse: bool = False
) -> list[FileInfo]:
    """What is directly in a directory, by name; of a file the file itself. Costs what there is to list, not what lies below it.

    Args:
        after: begin behind this path (with `reverse` before it).
        limit: at most so many; needed with `reverse`, which lists from the last name on.

    Raises:
        NotFoundError: `file-not-found`.
        InvalidError: `path-invalid`; `page-invalid`, when `limit` is not positive, or missing or above 100,000 with `reverse`.
    """
    if (limit is not None and limit <= 0) or (reverse and (limit is None or limit > MAX_REVERSE)):
        raise InvalidError("page-invalid", f"a page takes a number above 0 (in reverse order it needs one, up to {MAX_REVERSE:,}); found {limit}")
    cleaned = clean_path(path)
    found = find_entry(trees, root, cleaned)
    if found is None:
        raise _not_found(trees, root, cleaned, label)
    if found.type != DIRECTORY:
        return [found]
    marker = None if after is None else _child_key(cleaned, clean_path(after))
    start = marker + AFTER_SEPARATOR if marker is not None and not reverse else None
    pages = children(trees, root, cleaned, start=start, stop=marker if reverse else None)
    if reverse:
        return file_infos(pa.concat_tables([ENTRIES.empty_table(), *pages]))[::-1][:limit]
    infos = itertools.chain.from_iterable(map(file_infos, pages))
    return list(itertools.islice(infos, limit))


def list_entries(trees: Trees, root: TreeRoot, path: str, *, label: str) -> Iterator[pa.Table]:
    """What is directly in a directory, by name, some at a time; of a file the file itself. Columns path, type, size, hash.

    Raises:
        NotFoundError: `file-not-found`.
        InvalidError: `path-invalid`.
    """
    found = inspect_file(trees, root, path, label=label)
    return children(trees, root, found.path) if found.type == DIRECTORY else iter([entry_of(found)])


def walk(trees: Trees, root: TreeRoot, path: str, *, label: str) -> pa.Table:
    """A directory, and every file and directory below it, in key order; of a file the file itself. Columns path, type, size, hash.

    Raises:
        NotFoundError: `file-not-found`.
        InvalidError: `path-invalid`.
    """
    top = inspect_file(trees, root, path, label=label)
    first = entry_of(top)
    if top.type != DIRECTORY:
        return first
    return pa.concat_tables([first, *scan(trees, root, *directory_range(top.path), None)])


def glob_files(trees: Trees, root: TreeRoot, pattern: str) -> pa.Table:
    """The files and directories that match, in key order (`/` sorts below every other character): columns path, type, size, hash (32 bytes).

    Raises:
        InvalidError: `glob-invalid`.
    """
    return pa.concat_tables([ENTRIES.empty_table(), *glob_in_parts(trees, root, pattern)])


def glob_in_parts(trees: Trees, root: TreeRoot, pattern: str) -> Iterator[pa.Table]:
    """The same, some thousand at a time. Errors, by the call itself, as `glob_files`."""
    return search(trees, root, Glob.parse(pattern))


def get_content(trees: Trees, root: TreeRoot, path: str, *, label: str) -> Content:
    """The content of exactly one file, named by its path or by a glob that matches it alone.

    Raises:
        NotFoundError: `file-not-found`.
        InvalidError: `not-a-file` for a directory, `multiple-matches`, `path-invalid`, `glob-invalid`.
    """
    cleaned = clean_path(only_match(glob_files(trees, root, path), path, label=label) if is_glob(path) else path)
    rows = trees.find(root, pa.array([key_of(cleaned)]))
    if len(rows):
        return contents_of(rows)[0]
    if find_entry(trees, root, cleaned) is None:
        raise _not_found(trees, root, cleaned, label)
    raise not_a_file(cleaned, label)


def get_contents(trees: Trees, root: TreeRoot, paths: Iterable[str], *, label: str) -> dict[str, Content]:
    """The contents of files, by their cleaned paths, those that lie together next to one another.

    Raises:
        NotFoundError: `file-not-found`.
        InvalidError: `not-a-file` for a directory, `path-invalid`.
    """
    wanted = {key_of(clean_path(path)) for path in paths}
    rows = trees.find(root, pa.array(list(wanted), pa.string()))
    found = dict(zip(rows.column("key").to_pylist(), contents_of(rows), strict=True))
    for key in sorted(wanted - found.keys()):
        get_content(trees, root, path_of(key), label=label)  # says what is wrong with it
    return {path_of(key): content for key, content in sorted(found.items(), key=lambda item: _place(item[1]))}


def rows_below(trees: Trees, root: TreeRoot, path: str, *, label: str) -> pa.Table:
    """The file rows of a file, or of everything below a directory; of a glob, of everything that it matches, each once. In key order.

    Raises:
        NotFoundError: `file-not-found`.
        InvalidError: `path-invalid`, `glob-invalid`.
    """
    if is_glob(path):
        return rows_of_matches(trees, root, some_matches(glob_files(trees, root, path), path, label=label))
    info = inspect_file(trees, root, path, label=label)
    if info.type == DIRECTORY:
        return trees.table(root, *directory_range(info.path))
    return trees.find(root, pa.array([key_of(info.path)]))


def is_glob(path: str) -> bool:
    """Whether a path is a pattern: no path holds any of its characters."""
    return any(character in path for character in GLOB_CHARACTERS)


def some_matches(matches: pa.Table, pattern: str, *, label: str) -> pa.Table:
    """What a pattern matches, when that is anything.

    Raises:
        NotFoundError: `file-not-found`.
    """
    if not len(matches):
        raise NotFoundError("file-not-found", f"nothing in {label} matches {shown(pattern)}; `glob file` shows what a pattern matches")
    return matches


def only_match(matches: pa.Table, pattern: str, *, label: str) -> str:
    """The path of what a pattern matches, when that is one.

    Raises:
        NotFoundError: `file-not-found`.
        InvalidError: `multiple-matches`.
    """
    found: list[str] = some_matches(matches, pattern, label=label).column("path").to_pylist()
    if len(found) > 1:
        raise InvalidError(
            "multiple-matches", f"{len(found):,} files and directories of {label} match {shown(pattern)}, one is read at a time; name one, or take all with -r"
        )
    return found[0]


def not_a_file(path: str, label: str) -> InvalidError:
    """The error for a directory where a file is needed."""
    return InvalidError("not-a-file", f"{path!r} in {label} is a directory; name a file in it, or take all of it with -r")


def entry_of(file: FileInfo) -> pa.Table:
    """A table of one entry."""
    return pa.Table.from_pylist([{"path": file.path, "type": file.type, "size": file.size_bytes, "hash": bytes.fromhex(file.hash)}], schema=ENTRIES)


def _place(content: Content) -> tuple[bytes, int]:
    return (content.refs[0].object, content.refs[0].offset) if content.refs else (b"", 0)


def rows_of_matches(trees: Trees, root: TreeRoot, matches: pa.Table) -> pa.Table:
    """The file rows of entries and of everything below them, each once, in key order."""
    is_directory = pc.equal(matches.column("type"), DIRECTORY)
    below = [trees.kind.schema.empty_table()]
    taken = None
    for path in matches.column("path").filter(is_directory).to_pylist():
        # In key order a directory comes before everything below it.
        if taken is None or not path.startswith(taken):
            below.append(trees.table(root, *directory_range(path)))
            taken = path.rstrip("/") + "/"
    rows = pa.concat_tables(below)
    files = keys_of(matches.column("path").filter(pc.invert(is_directory)))
    others = files.filter(pc.invert(pc.is_in(files, value_set=rows.column("key").combine_chunks())))
    return pa.concat_tables([rows, trees.find(root, others.combine_chunks())]).sort_by("key")


def _child_key(directory: str, path: str) -> str:
    """The key of the child of `directory` that `path` is or lies in."""
    key, prefix = key_of(path), directory_prefix(directory)
    return prefix + key.removeprefix(prefix).partition(SEPARATOR)[0] if key.startswith(prefix) else key


def _not_found(trees: Trees, root: TreeRoot, path: str, label: str) -> NotFoundError:
    """The error for a path that is not there, with what is near it."""
    directory, name = _parent(path)
    while (parent := find_entry(trees, root, directory)) is None:
        directory, name = _parent(directory)
    if parent.type != DIRECTORY:
        return _file_not_found(path, label, f"{directory!r} is a file")
    entries = itertools.chain.from_iterable(map(file_infos, children(trees, root, directory)))
    names = [_parent(entry.path)[1] for entry in itertools.islice(entries, _NAMES_COMPARED)]
    near = difflib.get_close_matches(name, names, n=_NAMES_SHOWN)
    if not names:
        return _file_not_found(path, label, "the commit is empty")
    if near:
        return _file_not_found(path, label, f"did you mean {' or '.join(repr(f'{directory.rstrip(ROOT)}/{other}') for other in near)}?")
    shown = ", ".join(map(repr, names[:_NAMES_SHOWN])) + (", ..." if len(names) > _NAMES_SHOWN else "")
    return _file_not_found(path, label, f"{directory!r} has {shown}")


def _file_not_found(path: str, label: str, hint: str) -> NotFoundError:
    return NotFoundError("file-not-found", f"file {path!r} does not exist in {label}; {hint}")


def _parent(path: str) -> tuple[str, str]:
    directory, _, name = path.rpartition("/")
    return directory or ROOT, name
