"""Whether new files fit among those of a tree: no path twice, and none both a file and a directory."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.pfs.path_columns import directory_keys
from pachyderm_dagster.pfs.paths import AFTER_SEPARATOR, SEPARATOR
from pachyderm_dagster.storage.trees import TreeRoot, Trees

_COLUMNS = ["key", "datum"]
_FEW = 8
# About how many rows are read one after another in the time of one search.
_ROWS_PER_SEEK = 100


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two files that cannot both be.

    Attributes:
        key, datum: the one, and the id of the datum that wrote it, empty for a user's.
        other_key, other_datum: the other: the same key again, or one below it, as if `key` were a directory.
    """

    key: str
    datum: bytes
    other_key: str
    other_datum: bytes


def find_conflict(trees: Trees, root: TreeRoot, new: pa.Table, deleted: pa.StringArray) -> Conflict | None:
    """The first conflict found in a tree without the keys `deleted` and with the file rows `new`.

    A key that comes as new, exists and is not deleted is a conflict too. Only what is around the new keys is read; the tree itself is taken to be in order.
    """
    new = new.select(_COLUMNS)
    if len(new) <= _FEW and _plainly_fit(trees, root, new.column("key").to_pylist(), deleted):
        return None
    keys = pc.unique(new.column("key"))
    if len(keys) < len(new):
        twice = pc.value_counts(new.column("key"))
        return _pair(new, pc.min(twice.field("values").filter(pc.greater(twice.field("counts"), 1))).as_py(), new)
    directories = directory_keys(keys)
    found = _first_of(directories, new)
    if found is not None:
        return _pair(new, found, new)
    if not root.count:
        return None
    files = trees.find(root, pc.unique(pa.concat_arrays([directories, keys]))).select(_COLUMNS)
    remaining = _without(files, deleted)
    if len(remaining):
        return _pair(remaining, pc.min(remaining.column("key")).as_py(), new)
    fresh = new.filter(pc.invert(pc.is_in(new.column("key"), value_set=files.column("key").combine_chunks())))
    return _find_below(trees, root, fresh, deleted) if len(fresh) else None


def _plainly_fit(trees: Trees, root: TreeRoot, keys: Sequence[str], deleted: pa.StringArray) -> bool:
    """Whether few keys fit for sure; false when it takes more to know. Some searches take a fraction of what work on columns does."""
    directories = {key[:end] for key in keys for end in range(len(key)) if key[end] == SEPARATOR}
    if len(set(keys)) < len(keys) or not directories.isdisjoint(keys):
        return False
    if not root.count:
        return True
    if any(trees.seek(root, directory) == directory for directory in directories):
        return False
    gone: set[str] | None = None
    for key in keys:
        following = trees.seek(root, key)
        if following == key:
            gone = set(deleted.to_pylist()) if gone is None else gone
            if key not in gone:
                return False
        elif following is not None and (trees.seek(root, key + SEPARATOR) or "").startswith(key + SEPARATOR):
            return False
    return True


def _find_below(trees: Trees, root: TreeRoot, fresh: pa.Table, deleted: pa.StringArray) -> Conflict | None:
    """A new file that is a directory of the tree."""
    bounds = pc.min_max(fresh.column("key")).as_py()
    start, stop = bounds["min"] + SEPARATOR, bounds["max"] + AFTER_SEPARATOR
    rows, _ = trees.sums(root, start, stop)
    ranges = [(start, stop)] if rows <= len(fresh) * _ROWS_PER_SEEK else _directories_among(trees, root, fresh.column("key").to_pylist())
    for first, last in ranges:
        remaining = _without(trees.table(root, first, last).select(_COLUMNS), deleted)
        found = _first_of(directory_keys(remaining.column("key").combine_chunks()), fresh)
        if found is not None:
            return _pair(fresh, found, remaining)
    return None


def _directories_among(trees: Trees, root: TreeRoot, keys: list[str]) -> list[tuple[str, str]]:
    """The ranges of those keys that have something below them in the tree."""
    ranges = [(key + SEPARATOR, key + AFTER_SEPARATOR) for key in keys]
    return [(start, stop) for start, stop in ranges if (trees.seek(root, start) or stop) < stop]


def _first_of(directories: pa.StringArray, files: pa.Table) -> str | None:
    """The first key that is among both."""
    found: str | None = pc.min(directories.filter(pc.is_in(directories, value_set=files.column("key").combine_chunks()))).as_py()
    return found


def _pair(files: pa.Table, key: str, others: pa.Table) -> Conflict:
    """The file `key`, and of `others` the first that is another file of that key or lies below it."""
    is_same = pc.equal(others.column("key"), key)
    same = others.filter(is_same).slice(1 if others is files else 0)
    below = others.filter(pc.starts_with(others.column("key"), key + SEPARATOR))
    other = pa.concat_tables([same, below]).slice(0, 1)
    datum = files.filter(pc.equal(files.column("key"), key)).column("datum")[0].as_py()
    return Conflict(key, datum, other.column("key")[0].as_py(), other.column("datum")[0].as_py())


def _without(rows: pa.Table, keys: pa.StringArray) -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(rows.column("key"), value_set=keys)))
