"""Files put together into bundles, as columns of numbers: what cross, union, join and group do, whatever the files are. Design: docs/design/0009."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pachyderm_dagster.codec import DIGEST_BYTES
from pachyderm_dagster.errors import InvalidError

MAX_BUNDLES = (2**31 - 1) // (2 * DIGEST_BYTES)
"""What one Arrow array of ids holds: 2 GiB of text."""
MAX_FILES = 1 << 28
"""In all bundles together: a gigabyte of numbers."""

Files = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
_MISSING = np.int32(2**31 - 1)


@dataclass(frozen=True, slots=True)
class Bundles:
    """Bundle `i` has the files `files[offsets[i] : offsets[i + 1]]`, ascending."""

    offsets: Offsets
    files: Files

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Offsets:
        """How many files each has."""
        return np.diff(self.offsets)

    @property
    def width(self) -> int | None:
        """How many files every one has, or None if they differ."""
        if not len(self):
            return None
        width = len(self.files) // len(self)
        return width if bool(np.all(self.lengths == width)) else None

    def take(self, rows: npt.NDArray[np.integer]) -> "Bundles":
        """These bundles, in this order."""
        lengths = self.lengths[rows]
        offsets = _offsets(lengths)
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Bundles(offsets, self.files[places])


@dataclass(frozen=True, slots=True)
class Keyed:
    """Files of one member of a join: each with the number of its key, and whether it stays when another member lacks the key."""

    files: Files
    keys: Files
    outer: Flags

    def only(self, chosen: Flags) -> "Keyed":
        """Some of them."""
        return Keyed(self.files[chosen], self.keys[chosen], self.outer[chosen])


def singles(first: int, count: int) -> Bundles:
    """A bundle for each of the files from `first` on."""
    return Bundles(np.arange(count + 1, dtype=np.int64), np.arange(first, first + count, dtype=np.int32))


def cut(first: int, ends: Offsets) -> Bundles:
    """The files from `first` on, cut behind the places in `ends`."""
    offsets = np.concatenate([np.zeros(1, np.int64), ends])
    return Bundles(offsets, np.arange(first, first + int(offsets[-1]), dtype=np.int32))


def cross(members: Sequence[Bundles]) -> Bundles:
    """A bundle for every choice of one from each member; the last member changes fastest.

    Raises:
        InvalidError: `datums-too-many`, and so for all that make more than they are given.
    """
    counts = [len(member) for member in members]
    total = math.prod(counts)
    _check(total, sum(len(member.files) * (total // len(member)) for member in members if len(member)))
    chosen = []
    for place, member in enumerate(members):
        before, after = math.prod(counts[:place]), math.prod(counts[place + 1 :])
        chosen.append((member, np.tile(np.repeat(np.arange(len(member), dtype=np.int32), after), before)))
    widths = [member.width for member in members]
    if all(widths):
        matrix = np.concatenate([member.files.reshape(len(member), -1)[rows] for member, rows in chosen], axis=1)
        matrix.sort(axis=1)
        return Bundles(np.arange(total + 1, dtype=np.int64) * matrix.shape[1], matrix.reshape(-1))
    return _merged([member.take(rows) for member, rows in chosen], total)


def concatenate(members: Sequence[Bundles]) -> Bundles:
    """The bundles of one member after those of the other. Errors as `cross`."""
    lengths = np.concatenate([np.zeros(0, np.int64), *(member.lengths for member in members)])
    _check(len(lengths), sum(len(member.files) for member in members))
    return Bundles(_offsets(lengths), np.concatenate([np.zeros(0, np.int32), *(member.files for member in members)]))


def join(members: Sequence[Keyed]) -> Bundles:
    """For each key, ascending, a bundle for every choice of one file with it from each member. Errors as `cross`.

    Where a member has none, only the files count that are `outer`, and a member without such a file has no share.
    """
    keys = 1 + max((int(member.keys.max(initial=-1)) for member in members), default=-1)
    complete = np.ones(keys, np.bool_)
    for member in members:
        complete &= np.bincount(member.keys, minlength=keys) > 0
    kept = [member.only(complete[member.keys] | member.outer) for member in members]
    counts = [np.bincount(member.keys, minlength=keys) for member in kept]
    per_key = np.where(sum(counts) > 0, np.prod([np.maximum(count, 1) for count in counts], axis=0, dtype=np.float64), 0)
    total = int(per_key.sum())
    _check(total, total * len(members))
    key_of = np.repeat(np.arange(keys), per_key.astype(np.int64))
    # Within its key a bundle's number says, digit by digit, which file of each member it has.
    rest = np.arange(total) - np.repeat(_offsets(per_key.astype(np.int64))[:-1], per_key.astype(np.int64))
    columns = []
    for member, count in zip(reversed(kept), reversed(counts), strict=True):
        rest, digit = np.divmod(rest, np.maximum(count, 1)[key_of])
        ordered = np.append(member.files[np.lexsort((member.files, member.keys))], _MISSING)
        columns.append(ordered[np.where(count[key_of] > 0, _offsets(count)[key_of] + digit, len(ordered) - 1)])
    matrix = np.stack(columns, axis=1)
    matrix.sort(axis=1)
    present = matrix != _MISSING
    return Bundles(_offsets(np.count_nonzero(present, axis=1)), matrix[present])


def group(files: Files, keys: Files, same: Files | None = None) -> Bundles:
    """For each key, ascending, one bundle of all files with it.

    Args:
        same: for each file the number of the file that it is; of those that are one file a bundle has the first. None: all differ.
    """
    if same is not None:
        order = np.lexsort((files, same, keys))
        again = (np.diff(keys[order], prepend=-1) == 0) & (np.diff(same[order], prepend=-1) == 0)
        files, keys = files[order][~again], keys[order][~again]
    order = np.lexsort((files, keys))
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    return Bundles(np.append(starts, len(files)).astype(np.int64), files[order])


def blocks(lengths: Offsets, *, files: int, bundles: int) -> Iterator[tuple[int, int]]:
    """Start and end of stretches of bundles with these lengths, each with at most so many files (unless one alone has more) and bundles."""
    ends = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        before = int(ends[start - 1]) if start else 0
        end = max(start + 1, min(int(np.searchsorted(ends, before + files, side="right")), start + bundles))
        yield start, end
        start = end


def _merged(parts: Sequence[Bundles], count: int) -> Bundles:
    """Bundle `i` of all parts as one, for each of `count`."""
    rows = np.concatenate([np.repeat(np.arange(count), part.lengths) for part in parts])
    files = np.concatenate([part.files for part in parts])
    lengths = np.stack([part.lengths for part in parts])
    return Bundles(_offsets(lengths.sum(axis=0)), files[np.lexsort((files, rows))])


def _offsets(lengths: npt.NDArray[np.integer]) -> Offsets:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def _check(count: int, files: int) -> None:
    if count > MAX_BUNDLES:
        raise InvalidError(
            "datums-too-many", f"the input makes {count:,} datums; at most {MAX_BUNDLES:,} are possible: let its globs match fewer, larger units"
        )
    if files > MAX_FILES:
        raise InvalidError(
            "datums-too-many", f"the input's datums have {files:,} files together; at most {MAX_FILES:,} are possible: let its globs match fewer, larger units"
        )
