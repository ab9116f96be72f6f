"""The datums that are under way while a job runs, and what is left of them when it is ended: which ones ran, since when, and what they had printed."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.executors.live import find_running
from pachyderm_dagster.executors.recording import ResultRecorder
from pachyderm_dagster.pps.datums import Datums
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.worker.protocol import DatumResult, ResultState
from pachyderm_dagster.worker.results_reader import Bits


@dataclass(frozen=True, slots=True)
class _Running:
    """A datum that ran for longer than a moment; `output` is what it had printed, up to `worker.live.LIVE_BYTES`."""

    datum: str
    started: dt.datetime
    output: bytes


@dataclass(slots=True)
class Underway:
    """The datums that the executor is given and that have no result yet.

    Args:
        datums: those of the job.
        run: the rows of those that are given.
    """

    datums: Datums
    run: pa.Int64Array
    _ended: Bits = field(default_factory=Bits)
    _running: list[_Running] = field(default_factory=list)

    def record(self, result: DatumResult, recorder: ResultRecorder) -> None:
        """Records the result of one, which is not under way any more."""
        recorder.add(result)
        self._ended.add(result.index)

    def note_running(self, home: Path, job: Job) -> None:
        """Remembers which of them run on this machine now: to be called before their workers are ended, with whom that goes. The first call counts."""
        if not self._running:
            self._running = [_Running(one.datum.datum, one.started, one.output(0)) for one in find_running(home, job)]

    def break_off(self, recorder: ResultRecorder, *, now: dt.datetime, reason: str) -> Iterator[DatumResult]:
        """Records as failed those that ran and will have no other result; `reason` is why. Gives those results."""
        for one in self._running:
            index = self._find(one.datum)
            if index is not None and index not in self._ended:
                result = DatumResult(
                    id=one.datum,
                    index=index,
                    state=ResultState.FAILED,
                    reason=f"it ran and was broken off: {reason}",
                    tries=1,
                    process_seconds=max(0.0, (now - one.started).total_seconds()),
                    log=recorder.write_log(one.output),
                    started=one.started.timestamp(),
                )
                self.record(result, recorder)
                yield result

    def _find(self, datum: str) -> int | None:
        """The number in the job of a datum that was given."""
        row = int(pc.index(self.datums.table.column("id"), datum).as_py())
        return row if row >= 0 and pc.index(self.run, row).as_py() >= 0 else None
