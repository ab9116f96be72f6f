"""The datums that are under way while a job runs, and what is left of them when it is ended: which ones ran, since when, and what they had printed."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pachyderm_dagster.executors.live import find_running
from pachyderm_dagster.executors.recording import ResultRecorder
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.pps.planning import DatumInputs
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, ResultState


@dataclass(frozen=True, slots=True)
class _Given:
    """A datum that was given to the executor: its number in the job, and what it reads."""

    index: int
    inputs: DatumInputs


@dataclass(frozen=True, slots=True)
class _Running:
    """A datum that ran for longer than a moment; `output` is what it had printed, up to `worker.live.LIVE_BYTES`."""

    datum: str
    started: dt.datetime
    output: bytes


@dataclass(slots=True)
class Underway:
    """The datums that the executor was given and that have no result yet.

    Args:
        hashes: of all that are to run, by id.
    """

    hashes: Mapping[str, bytes]
    _given: dict[str, _Given] = field(default_factory=dict)
    _running: list[_Running] = field(default_factory=list)

    def give(self, tasks: Iterable[tuple[DatumTask, DatumInputs]]) -> Iterator[DatumTask]:
        """The tasks; each is under way from when it is taken."""
        for task, inputs in tasks:
            self._given[task.id] = _Given(task.index, inputs)
            yield task

    def record(self, result: DatumResult, recorder: ResultRecorder) -> None:
        """Records the result of one, which is not under way any more."""
        recorder.add(result, self.hashes[result.id], self._given.pop(result.id).inputs)

    def note_running(self, home: Path, job: Job) -> None:
        """Remembers which of them run on this machine now: to be called before their workers are ended, with whom that goes. The first call counts."""
        if not self._running:
            self._running = [_Running(one.datum.datum, one.started, one.output(0)) for one in find_running(home, job)]

    def break_off(self, recorder: ResultRecorder, *, now: dt.datetime, reason: str) -> Iterator[DatumResult]:
        """Records as failed those that ran and will have no other result; `reason` is why. Gives those results."""
        for one in self._running:
            if one.datum in self._given:
                result = DatumResult(
                    id=one.datum,
                    index=self._given[one.datum].index,
                    state=ResultState.FAILED,
                    reason=f"it ran and was broken off: {reason}",
                    tries=1,
                    process_seconds=max(0.0, (now - one.started).total_seconds()),
                    log=recorder.write_log(one.output),
                    started=one.started.timestamp(),
                )
                self.record(result, recorder)
                yield result
