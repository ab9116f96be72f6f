"""Records what datums gave while their job runs: details in the store, results with the pipeline, checkpoints with the job."""

import dataclasses
import threading
import time
from collections.abc import Callable

import msgspec

from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.horizon import is_collected
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.datums import DatumState
from pachyderm_dagster.pps.job_inputs import JobInputs, find_results_root, replace_results
from pachyderm_dagster.pps.model import Counters, Job
from pachyderm_dagster.pps.planning import DatumInputs
from pachyderm_dagster.pps.results import DatumDetails, Done, meta_rows, result_rows
from pachyderm_dagster.storage.content import Content, ContentWriter
from pachyderm_dagster.storage.trees import TreeRoot, Trees
from pachyderm_dagster.worker.protocol import DatumResult, ResultState
from pachyderm_dagster.workspace import Workspace

FIRST_CHECKPOINT_SECONDS = 1.0
# The time between two doubles up to this.
CHECKPOINT_SECONDS = 10.0
# Sooner, when no other datum ended for so long: who looks at slow datums should not wait for the next one.
QUIET_SECONDS = 2.0
_STORED_STATES = {ResultState.SUCCESS: DatumState.PROCESSED, ResultState.FAILED: DatumState.FAILED, ResultState.RECOVERED: DatumState.RECOVERED}


class ResultRecorder:
    """Records the results of a job's datums. `save_if_due` may be called by another thread.

    Args:
        begin: gives the meta tree that the job would have if it ended now: its datums that need not run.

    Attributes:
        done: all of them.
    """

    def __init__(self, workspace: Workspace, inputs: JobInputs, meta_trees: Trees, result_trees: Trees, begin: Callable[[], TreeRoot]) -> None:
        self.done: list[Done] = []
        self._workspace, self._inputs = workspace, inputs
        self._meta_trees, self._result_trees = meta_trees, result_trees
        self._writer = ContentWriter(workspace.store)
        self._begin = begin
        self._checkpoint: TreeRoot | None = None
        self._saved = 0
        self._wait = FIRST_CHECKPOINT_SECONDS
        self._last = time.monotonic()
        self._next = self._last + self._wait
        self._lock = threading.Lock()

    def add(self, result: DatumResult, hash: bytes, inputs: DatumInputs) -> None:
        """Takes a result; saves it with those before it when it is time to."""
        with self._lock:
            self._note(result, hash, inputs)
            self._last = time.monotonic()
            if self._last >= self._next:
                self._save()

    def save_if_due(self) -> None:
        """Saves what has waited long enough while no other datum ended."""
        with self._lock:
            now = time.monotonic()
            if len(self.done) > self._saved and (now >= self._next or now - self._last >= QUIET_SECONDS):
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
        self._writer.close()
        self._save_results()

    def _note(self, result: DatumResult, hash: bytes, inputs: DatumInputs) -> None:
        job = self._inputs.job
        details = self._writer.write(msgspec.json.encode(_details(result, hash, inputs, job)))
        self.done.append(Done(result.id, hash, _STORED_STATES[result.state], job.id, result.outputs, details))

    def _save(self) -> None:
        self._writer.flush()
        self._save_checkpoint(self._save_results())
        self._wait = min(2 * self._wait, CHECKPOINT_SECONDS)
        self._next = time.monotonic() + self._wait

    def _save_results(self) -> list[Done]:
        """Adds what came since the last time to the results of the pipeline, and returns it."""
        done = self.done[self._saved :]
        self._saved = len(self.done)
        pipeline, started = self._inputs.pipeline, self._inputs.job.started
        assert started is not None
        rows = result_rows(done)
        while len(rows):
            with self._workspace.database.read() as txn:
                old = find_results_root(txn, pipeline)
            new = self._result_trees.apply(self._result_trees.decode(old), rows).encode()

            def change(txn: Transaction, old: bytes | None = old, new: bytes = new) -> bool:
                # Only a job that somebody ended meanwhile can be overtaken by the collector.
                return is_collected(txn, started) or replace_results(txn, pipeline, old, new)

            if self._workspace.database.write(change):
                break
        return done

    def _save_checkpoint(self, done: list[Done]) -> None:
        """Adds datums to those that are known to have ended, for people who look while the job runs."""
        before = self._begin() if self._checkpoint is None else self._checkpoint
        self._checkpoint = self._meta_trees.apply(before, meta_rows(done))
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
