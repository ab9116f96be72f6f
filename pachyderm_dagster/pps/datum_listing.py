"""The datums of a job as people look at them: of one that has ended, of one that still runs, of one that would be."""

import datetime as dt
import enum
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.pps.datums import Datums, DatumState, hex_strings
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.pps.plan import Plan
from pachyderm_dagster.pps.planning import Sources, inputs_of
from pachyderm_dagster.pps.results import DatumDetails
from pachyderm_dagster.storage.content import Content, ContentReader
from pachyderm_dagster.storage.rows import KEY, contents_of
from pachyderm_dagster.storage.trees import TreeRoot, Trees

_BLOCK = 4096
_SAMPLE_BLOCK = 256
_SAMPLED_LEAVES = 50
_COMPARED_ROWS = 50_000


class ShownState(enum.StrEnum):
    """What people see of a datum in a job."""

    SUCCESS = "SUCCESS"  # the job ran it, well
    FAILED = "FAILED"  # the job ran it, and no try was good
    RECOVERED = "RECOVERED"  # no try was good, and the error command was
    SKIPPED = "SKIPPED"  # the result of an earlier job counts
    STARTING = "STARTING"  # of an unfinished job: it runs, or waits to run
    UNKNOWN = "UNKNOWN"  # of a job that does not exist: it would run


RAN = (ShownState.SUCCESS, ShownState.FAILED, ShownState.RECOVERED)
"""A job ran the datum itself."""
_SHOWN = {DatumState.PROCESSED: ShownState.SUCCESS, DatumState.FAILED: ShownState.FAILED, DatumState.RECOVERED: ShownState.RECOVERED}


@dataclass(frozen=True, slots=True)
class DatumInfo:
    """A datum of a job as listed.

    Attributes:
        job: None of a job that does not exist.
        ran_in: id of the job that ran it; None while none has.
        started: when its user code was started; None while it was not, and of datums that an older release ran.
    """

    id: str
    job: Job | None
    state: ShownState
    ran_in: str | None
    details: DatumDetails
    started: dt.datetime | None


@dataclass(frozen=True, slots=True)
class PlannedDatums:
    """The datums of a job that has not ended, or of one that would be, and what is known of each.

    Attributes:
        plan: what becomes of each; `base` and `results` hold those that do not run.
        base: a meta tree.
        results: a results tree.
        ended: a meta tree of those that the job has run.
        running: when those that run now were started, by id.
    """

    datums: Datums
    sources: Sources
    plan: Plan
    base: TreeRoot
    results: TreeRoot
    ended: TreeRoot
    job: Job | None = None
    running: Mapping[str, dt.datetime] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.datums)


@dataclass(frozen=True, slots=True)
class _Found:
    """Of a datum that some job ran: how it is shown, that job's id, and where its details lie."""

    state: ShownState
    ran_in: str
    details: Content


class DatumListing:
    """Reads what jobs left of their datums. Memory follows a block of datums, not all of them, beside the columns of a plan."""

    def __init__(self, reader: ContentReader, meta_trees: Trees, result_trees: Trees) -> None:
        self._reader = reader
        self._meta_trees = meta_trees
        self._result_trees = result_trees

    def ended(self, job: Job, root: TreeRoot, *, states: Collection[ShownState] = (), begun: str = "") -> Iterator[DatumInfo]:
        """The datums in the meta tree of a job, by id.

        Args:
            states: only these, if any.
            begun: how the id begins.
        """
        for table in self._meta_trees.read(root, begun, begun + "g"):
            yield from self.of_rows(job, table, states=states)

    def sample_ran(self, job: Job, before: TreeRoot, root: TreeRoot) -> Iterator[DatumInfo]:
        """Datums that a job which has ended ran itself, by id, read as they are asked for: all, or of too many to look for those among the first.

        Args:
            before: the meta tree that the job went on from.
            root: the one that it left.
        """
        changed = self._meta_trees.find_diff(before, root, most_rows=_COMPARED_ROWS) if before.count else None
        tables = itertools.islice(self._meta_trees.read(root), _SAMPLED_LEAVES) if changed is None else [changed.new_rows]
        for table in tables:
            for start in range(0, len(table), _SAMPLE_BLOCK):
                yield from self.of_rows(job, table.slice(start, _SAMPLE_BLOCK), states=RAN)

    def of_rows(self, job: Job, rows: pa.Table, *, states: Collection[ShownState] = ()) -> Iterator[DatumInfo]:
        """The same of some rows of a meta tree."""
        chosen = {id: one for id, one in self._found(rows, job.id).items() if not states or one.state in states}
        for (id, one), details in zip(chosen.items(), self._details(list(chosen.values())), strict=True):
            yield DatumInfo(id, job, one.state, one.ran_in, details, _time(details.started))

    def planned(self, planned: PlannedDatums, *, states: Collection[ShownState] = (), begun: str = "") -> Iterator[DatumInfo]:
        """The same of a job that has not ended."""
        ids = planned.datums.table.column("id").combine_chunks()
        kinds = _kinds(planned)
        begin = pc.indices_nonzero(pc.starts_with(ids, begun))
        rows = begin.take(pc.sort_indices(ids.take(begin))).to_numpy()
        for start in range(0, len(rows), _BLOCK):
            yield from self._block(planned, ids, kinds, rows[start : start + _BLOCK], states)

    def _block(self, planned: PlannedDatums, ids: pa.StringArray, kinds: np.ndarray, rows: np.ndarray, states: Collection[ShownState]) -> Iterator[DatumInfo]:
        names = ids.take(pa.array(rows)).to_pylist()
        known = self._known(planned, names, kinds[rows], rows)
        open_state = ShownState.STARTING if planned.job is not None else ShownState.UNKNOWN
        chosen = [(row, id) for row, id in zip(rows.tolist(), names, strict=True) if not states or (known[id].state if id in known else open_state) in states]
        details = iter(self._details([known[id] for _, id in chosen if id in known]))
        files = planned.datums.files_of([row for row, id in chosen if id not in known])
        for _, id in chosen:
            if id in known:
                found = next(details)
                yield DatumInfo(id, planned.job, known[id].state, known[id].ran_in, found, _time(found.started))
            else:
                inputs = inputs_of(next(files), planned.sources)
                yield DatumInfo(id, planned.job, open_state, None, DatumDetails(inputs=inputs.references, reads=inputs.reads), planned.running.get(id))

    def _known(self, planned: PlannedDatums, ids: Sequence[str], kinds: np.ndarray, rows: np.ndarray) -> dict[str, _Found]:
        """Those of a block that some job ran."""
        own = "" if planned.job is None else planned.job.id
        carried = [id for id, kind in zip(ids, kinds.tolist(), strict=True) if kind == _CARRIED]
        found = {id: _Found(ShownState.SKIPPED, one.ran_in, one.details) for id, one in self._look_up(planned.base, carried, own).items()}
        restored = rows[kinds == _RESTORED]
        if len(restored):
            table = self._result_trees.find(planned.results, hex_strings(planned.plan.hashes(pa.array(restored, pa.int64()))))
            for datum, job, content in zip(table.column("datum").to_pylist(), table.column("job").to_pylist(), contents_of(table), strict=True):
                found[datum.hex()] = _Found(ShownState.SUCCESS if job == own else ShownState.SKIPPED, job, content)
        return found | (self._look_up(planned.ended, ids, own) if planned.ended.count else {})

    def _look_up(self, root: TreeRoot, ids: Sequence[str], own: str) -> dict[str, _Found]:
        return self._found(self._meta_trees.find(root, pa.array(ids, pa.string())), own) if ids else {}

    def _found(self, table: pa.Table, own: str) -> dict[str, _Found]:
        """Rows of a meta tree, by id, as they are shown in the job `own`."""
        columns = (table.column(name).to_pylist() for name in (KEY, "state", "job"))
        contents = contents_of(table.column("details").combine_chunks())
        return {
            id: _Found(_SHOWN[DatumState(state)] if job == own else ShownState.SKIPPED, job, content)
            for id, state, job, content in zip(*columns, contents, strict=True)
        }

    def _details(self, found: Sequence[_Found]) -> Iterator[DatumDetails]:
        for body in self._reader.read_many([one.details for one in found]):
            yield msgspec.json.decode(body, type=DatumDetails)


_CARRIED, _RESTORED, _RUN = range(3)


def _kinds(planned: PlannedDatums) -> np.ndarray:
    kinds = np.full(len(planned), _CARRIED, np.uint8)
    kinds[planned.plan.run.to_numpy()] = _RUN
    kinds[planned.plan.restored.to_numpy()] = _RESTORED
    return kinds


def _time(seconds: float | None) -> dt.datetime | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC)
