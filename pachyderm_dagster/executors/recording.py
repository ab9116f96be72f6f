"""Records what datums gave while their job runs: details in the store, results with the pipeline, checkpoints with the job."""

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.horizon import is_collected
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.datums import DatumState
from pachyderm_dagster.pps.ended_datums import EndedDatums
from pachyderm_dagster.pps.job_inputs import JobInputs, find_results_root, replace_results
from pachyderm_dagster.pps.model import Counters, Job
from pachyderm_dagster.pps.planning import DatumInputs
from pachyderm_dagster.pps.results import RESULT_ROWS, DatumDetails, Done, result_rows
from pachyderm_dagster.storage.content import Content, ContentWriter
from pachyderm_dagster.storage.sorted_rows import SortedRows
from pachyderm_dagster.storage.trees import TreeRoot, Trees
from pachyderm_dagster.worker.protocol import DatumResult, ResultState
from pachyderm_dagster.workspace import Workspace

FIRST_CHECKPOINT_SECONDS = 1.0
# The time between two doubles up to this.
CHECKPOINT_SECONDS = 10.0
# Of the time: a save of some among a million datums touches most nodes of two trees.
SAVING_SHARE = 1 / 8
# Sooner, when no other datum ended for so long: who looks at slow datums should not wait for the next one.
QUIET_SECONDS = 2.0
_NOTED_AT_ONCE = 1000
_STORED_STATES = {ResultState.SUCCESS: DatumState.PROCESSED, ResultState.FAILED: DatumState.FAILED, ResultState.RECOVERED: DatumState.RECOVERED}


class ResultRecorder:
    """Records the results of a job's datums. `save_if_due` may be called by another thread.

    Args:
        ended: what the datums left that do not run; those that run are added.
        describe: gives the hash and what was read of each of some datums, by their numbers in the job.
        assemble: gives the meta tree of the job from the rows of all datums that ended.

    Attributes:
        count: how many there were.
        failed: how many of them failed, and `first_failed`, the first of those.
    """

    def __init__(
        self,
        workspace: Workspace,
        inputs: JobInputs,
        meta_trees: Trees,
        result_trees: Trees,
        ended: EndedDatums,
        describe: Callable[[Sequence[int]], Iterable[tuple[bytes, DatumInputs]]],
        assemble: Callable[[SortedRows], TreeRoot],
    ) -> None:
        self.count = self.failed = 0
        self.first_failed: Done | None = None
        self._workspace, self._inputs = workspace, inputs
        self._meta_trees, self._result_trees = meta_trees, result_trees
        self._writer = ContentWriter(workspace.store)
        self._describe, self._assemble = describe, assemble
        # A result is an object until a thousand have come, and rows from then on.
        self._new: deque[DatumResult] = deque()
        self._unsaved = SortedRows(RESULT_ROWS, workspace.scratch)
        self._ended = ended
        self._checkpoint: TreeRoot | None = None
        self._wait = FIRST_CHECKPOINT_SECONDS
        self._last = time.monotonic()
        self._next = self._last + self._wait
        self._lock = threading.Lock()

    def add(self, result: DatumResult) -> None:
        """Takes a result; saves it with those before it when it is time to."""
        with self._lock:
            self._new.append(result)
            self.count += 1
            if len(self._new) >= _NOTED_AT_ONCE:
                self._note()
            self._last = time.monotonic()
            if self._last >= self._next:
                self._save()

    def save_if_due(self) -> None:
        """Saves what has waited long enough while no other datum ended."""
        with self._lock:
            now = time.monotonic()
            if (self._new or len(self._unsaved)) and (now >= self._next or now - self._last >= QUIET_SECONDS):
                self._save()

    def write_log(self, output: bytes) -> Content | None:
        """Stores what a datum printed whose worker cannot."""
        return self._writer.write(output) if output else None

    def save_all(self) -> TreeRoot:
        """Saves everything, and returns the meta tree that the job would have if it ended now."""
        with self._lock:
            self._save()
            assert self._checkpoint is not None
            return self._checkpoint

    def close(self) -> None:
        """Saves the rest, however the job ends: no later one has to run these datums again."""
        self._note()
        self._writer.close()
        self._save_results()

    def meta(self) -> TreeRoot:
        """The meta tree of the job with all datums that are saved."""
        rows = self._ended.meta
        return self._assemble(rows) if self._checkpoint is None else self._meta_trees.merge(self._checkpoint, rows.read())

    def _note(self) -> None:
        """Stores what is to be known of datums beside their output."""
        job, noted = self._inputs.job, []
        for result, (hash, inputs) in zip(self._new, self._describe([result.index for result in self._new]), strict=True):
            details = self._writer.write(msgspec.json.encode(_details(result, hash, inputs, job)))
            done = Done(result.id, hash, _STORED_STATES[result.state], job.id, result.outputs, details)
            if done.state is DatumState.FAILED:
                self.failed += 1
                self.first_failed = self.first_failed or done
            noted.append(done)
        if noted:
            self._unsaved.add(result_rows(noted))
            self._ended.add(noted)
        self._new.clear()

    def _save(self) -> None:
        began = time.monotonic()
        self._note()
        self._writer.flush()
        self._save_results()
        self._save_checkpoint()
        self._wait = min(2 * self._wait, CHECKPOINT_SECONDS)
        now = time.monotonic()
        self._next = now + max(self._wait, (now - began) / SAVING_SHARE)

    def _save_results(self) -> None:
        """Adds what came since the last time to the results of the pipeline."""
        pipeline, started = self._inputs.pipeline, self._inputs.job.started
        assert started is not None
        while len(self._unsaved):
            with self._workspace.database.read() as txn:
                old = find_results_root(txn, pipeline)
            new = self._result_trees.merge(self._result_trees.decode(old), self._unsaved.read()).encode()

            def change(txn: Transaction, old: bytes | None = old, new: bytes = new) -> bool:
                # Only a job that somebody ended meanwhile can be overtaken by the collector.
                return is_collected(txn, started) or replace_results(txn, pipeline, old, new)

            if self._workspace.database.write(change):
                self._unsaved.clear()

    def _save_checkpoint(self) -> None:
        """Adds datums to those that are known to have ended, for people who look while the job runs."""
        self._checkpoint = self.meta()
        # In the tree now.
        self._ended.meta.clear()
        encoded = self._checkpoint.encode()
        self._workspace.database.write(lambda txn: jobs.save_checkpoint(txn, self._inputs.job, encoded))


def add_result(counters: Counters, result: DatumResult) -> Counters:
    """The counters of a job with one more datum that ended."""
    return dataclasses.replace(
        counters,
        data_processed=counters.data_processed + (result.state is ResultState.SUCCESS),
        data_failed=counters.data_failed + (result.state is ResultState.FAILED),
        data_recovered=counters.data_recovered + (result.state is ResultState.RECOVERED),
        download_bytes=counters.download_bytes + result.download_bytes,
        upload_bytes=counters.upload_bytes + result.upload_bytes,
        download_seconds=counters.download_seconds + result.download_seconds,
        process_seconds=counters.process_seconds + result.process_seconds,
        upload_seconds=counters.upload_seconds + result.upload_seconds,
    )


def _details(result: DatumResult, hash: bytes, inputs: DatumInputs, job: Job) -> DatumDetails:
    return DatumDetails(
        inputs=inputs.references,
        reads=inputs.reads,
        job=str(job),
        state=_STORED_STATES[result.state].name,
        hash=hash.hex(),
        index=result.index,
        reason=result.reason,
        exit_code=result.exit_code,
        tries=result.tries,
        download_seconds=result.download_seconds,
        process_seconds=result.process_seconds,
        upload_seconds=result.upload_seconds,
        download_bytes=result.download_bytes,
        upload_bytes=result.upload_bytes,
        log=result.log,
        log_times=result.log_times if result.log is not None else (),
        started=result.started or None,
    )
