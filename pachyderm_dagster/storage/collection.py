"""Sweeping: what a store holds, sorted by whether anything reaches it, and the removal of what nothing does.

Three kinds of objects are left alone: what was marked, what is younger than `before`, and what the caller rescues.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.storage.folder_store import INCOMING
from pachyderm_dagster.storage.objects import OBJECT_ID_BYTES, OBJECTS, ObjectInfo, ObjectStore, find_object_id, object_key
from pachyderm_dagster.storage.reachable import Reachable

_OBJECTS_AT_ONCE = 100_000
SPARSE = 0.3


@dataclass(slots=True)
class Tally:
    """A number of objects and their size in bytes."""

    objects: int = 0
    size_bytes: int = 0

    def add(self, objects: int, size_bytes: int) -> None:
        """Counts some more."""
        self.objects += objects
        self.size_bytes += size_bytes


@dataclass(slots=True)
class Inventory:
    """What a store holds.

    Attributes:
        kept: objects that something reaches, or that the caller rescued.
        young: objects that nothing reaches yet; a write under way may.
        garbage: objects that can go, largest tally of a dry run.
        leftovers: files of killed writes, old enough to go.
        live_bytes: of `kept` how many bytes something reaches; None when that was not measured.
        sparse: packs among `kept` of which less than 30 % is reached.
        sparse_live_bytes: how many bytes of those are reached.
    """

    kept: Tally = field(default_factory=Tally)
    young: Tally = field(default_factory=Tally)
    garbage: Tally = field(default_factory=Tally)
    leftovers: Tally = field(default_factory=Tally)
    live_bytes: int | None = None
    sparse: Tally = field(default_factory=Tally)
    sparse_live_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """An object that nothing reaches and that is old enough to go."""

    id: bytes
    size_bytes: int


def take_inventory(store: ObjectStore, reached: Reachable, before: dt.datetime, *, measure: bool = False) -> tuple[Inventory, list[Candidate]]:
    """Sorts the objects of a store; returns what there is, and what can go: objects that nothing reaches and that were last stored before `before`.

    `leftovers` are counted, and are found again by `sweep_leftovers`.
    """
    inventory, candidates = Inventory(), list[Candidate]()
    limit = before - store.time_slack
    marked = reached.objects()
    live = reached.live_bytes() if measure else None
    inventory.live_bytes = 0 if measure else None
    listed = _objects(store)
    while batch := list(islice(listed, _OBJECTS_AT_ONCE)):
        ids = pa.array([object_id for object_id, _ in batch], pa.binary(OBJECT_ID_BYTES))
        sizes = pa.array([found.size for _, found in batch], pa.int64())
        is_kept = pc.is_in(ids, value_set=marked)
        inventory.kept.add(pc.sum(is_kept).as_py(), pc.sum(sizes.filter(is_kept)).as_py() or 0)
        if live is not None:
            _measure(inventory, live, ids.filter(is_kept), sizes.filter(is_kept))
        for position in pc.indices_nonzero(pc.invert(is_kept)).to_pylist():
            object_id, found = batch[position]
            if found.modified < limit:
                candidates.append(Candidate(object_id, found.size))
            else:
                inventory.young.add(1, found.size)
    for found in _leftovers(store, limit):
        inventory.leftovers.add(1, found.size)
    return inventory, candidates


def sweep(store: ObjectStore, candidates: list[Candidate], before: dt.datetime, check: Callable[[], None]) -> Tally:
    """Removes candidates that are still old, and says what went. `check` is called before each one and may raise to end the sweep."""
    removed = Tally()
    limit = before - store.time_slack
    for candidate in candidates:
        check()
        if store.remove_older(object_key(candidate.id), limit):
            removed.add(1, candidate.size_bytes)
    return removed


def sweep_leftovers(store: ObjectStore, before: dt.datetime) -> Tally:
    """Removes what killed writes left, and says what went."""
    removed = Tally()
    for found in _leftovers(store, before - store.time_slack):
        store.delete(found.key)
        removed.add(1, found.size)
    return removed


def _objects(store: ObjectStore) -> Iterator[tuple[bytes, ObjectInfo]]:
    for found in store.list(OBJECTS):
        object_id = find_object_id(found.key)
        if object_id is not None:
            yield object_id, found


def _leftovers(store: ObjectStore, limit: dt.datetime) -> list[ObjectInfo]:
    return [found for found in store.list(INCOMING) if found.modified < limit]


def _measure(inventory: Inventory, live: pa.Table, ids: pa.Array, sizes: pa.Array) -> None:
    """Adds the live bytes of kept objects, and which of them are sparse."""
    lengths = live.column("length").take(pc.index_in(ids, value_set=live.column("object").combine_chunks()))
    assert inventory.live_bytes is not None
    inventory.live_bytes += pc.sum(lengths).as_py() or 0
    is_sparse = pc.less(pc.cast(lengths, pa.float64()), pc.multiply(sizes, SPARSE))
    inventory.sparse.add(pc.sum(is_sparse).as_py() or 0, pc.sum(sizes.filter(is_sparse)).as_py() or 0)
    inventory.sparse_live_bytes += pc.sum(lengths.filter(is_sparse)).as_py() or 0
