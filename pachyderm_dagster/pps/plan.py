"""What a job does with each datum: carry its result over, restore it, or run it. Design: docs/design/0003."""

import dataclasses
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.pps.datums import Datums, DatumState
from pachyderm_dagster.storage.rows import one_array


@dataclass(frozen=True, slots=True)
class Plan:
    """The datums of a job and of its base, each with what becomes of it.

    Attributes:
        run: rows (int64) of the job's datums that run, ascending.
        restored: rows (int64) of those whose result an earlier job of the pipeline left, ascending.
        carry: rows (int64) of those whose result stays as it is in the base, ascending.
        drop: ids of the datums of the base whose result leaves: gone, changed, or to be made again. `carry` and `drop` together are the base.
        datums: of the job.
        may_restore: whether results of earlier jobs count.
    """

    run: pa.Int64Array
    restored: pa.Int64Array
    carry: pa.Int64Array
    drop: pa.StringArray
    datums: Datums
    may_restore: bool

    def hashes(self, rows: pa.Int64Array) -> pa.FixedSizeBinaryArray:
        """The hashes of some of the job's datums, as `run` or `restored`."""
        return one_array(self.datums.table.column("hash").take(rows))

    def restore(self, known: pa.BooleanArray) -> "Plan":
        """The plan when of the datums that run these (beside `run`) have a result: they are restored. Not under `every_job`."""
        if not self.may_restore:
            return self
        restored = pa.concat_arrays([self.restored, self.run.filter(known)])
        return dataclasses.replace(self, run=self.run.filter(pc.invert(known)), restored=restored.take(pc.sort_indices(restored)))

    def ids(self, rows: pa.Int64Array) -> pa.StringArray:
        """The ids of some of the job's datums, as `run` or `restored`."""
        return one_array(self.datums.table.column("id").take(rows))


def plan(now: Datums, base: pa.Table, *, every_job: bool = False) -> Plan:
    """Compares a job's datums with those of its base.

    Args:
        now: the datums of the job.
        base: rows of the base job's meta tree: `key` (datum id), `hash`, `state` (a `DatumState`); no rows when there is no base.
        every_job: nothing counts that was done before.
    """
    # A hash covers its datum's id, so equal hashes are equal datums with equal content.
    counts = pc.and_(pc.equal(base.column("state"), DatumState.PROCESSED.value), not every_job)
    carried = pc.is_in(now.table.column("hash"), value_set=one_array(base.column("hash").filter(counts)))
    stays = pc.and_(counts, pc.is_in(base.column("hash"), value_set=one_array(now.table.column("hash").filter(carried))))
    return Plan(
        run=one_array(pc.indices_nonzero(pc.invert(carried))).cast(pa.int64()),
        restored=pa.array([], pa.int64()),
        carry=one_array(pc.indices_nonzero(carried)).cast(pa.int64()),
        drop=one_array(base.column("key").filter(pc.invert(stays))),
        datums=now,
        may_restore=not every_job,
    )
