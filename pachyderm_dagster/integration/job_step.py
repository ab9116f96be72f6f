"""A step of a Dagster run: does one pipeline's job of the run's commit set and tells Dagster how it ended."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import ConflictError, InvalidError, NotFoundError, PachydermError, StateError
from pachyderm_dagster.executors.run_job import Executor, run_job
from pachyderm_dagster.executors.unrunnable import end_unrunnable_jobs
from pachyderm_dagster.integration.branch_assets import BranchAssets, KeyOf
from pachyderm_dagster.integration.dagster_inner import graph_of_run
from pachyderm_dagster.integration.job_events import counter_metadata, describe_progress, failure_metadata, recovery_metadata
from pachyderm_dagster.integration.job_reports import (
    describe_output,
    ended_check,
    find_outputs,
    find_untold_output,
    job_check,
    report_check,
    report_inputs,
    report_unrunnable,
)
from pachyderm_dagster.integration.run_sets import sets_of_run
from pachyderm_dagster.integration.set_partitions import partition_of
from pachyderm_dagster.integration.snapshot import LoadedPipeline
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Counters, Job, JobState
from pachyderm_dagster.workspace import Workspace

PROGRESS_TIME = dt.timedelta(seconds=5)
PROGRESS_SHARE = 0.02
"""Progress is written every so many seconds, or after this share of the job's time so far: a long job does not fill the log."""
CHECKED_JOBS = 100
"""Among so many newest jobs the check, run alone, looks for one that has ended."""

OnJob: TypeAlias = Callable[[Job, JobState, Counters], None]
StepEvents: TypeAlias = Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]


def tell_nobody(_job: Job, _state: JobState, _counters: Counters) -> None:
    """The `OnJob` of a step whose process nobody looks at."""


@dataclass(frozen=True, slots=True)
class JobStep:
    """What the step of one pipeline needs to know.

    Args:
        key_of: the asset of a branch.
        on_job: is told how far a job is, in the process of the run.
    """

    pipeline: LoadedPipeline
    key: dg.AssetKey
    key_of: KeyOf
    on_job: OnJob = tell_nobody

    def run(self, context: dg.AssetExecutionContext, workspace: Workspace, executor: Executor) -> StepEvents:
        """Does the job, unless the set has none for this pipeline: then it yields nothing, and Dagster skips what is downstream.

        Raises:
            dg.Failure: when the job did not succeed; Dagster is not to retry, since it would fail again.
        """
        if self.key not in context.selected_asset_keys:
            yield self._newest_check(workspace)
            return
        if self._assets(context).is_by_set(self.key) and not context.has_partition_key:
            step = f"choose one, or make a new commit set with `pachctl rerun pipeline {self.pipeline.name}`"
            problem = f"the partitions of asset {self.key.to_user_string()!r} are commit sets, and this run has no partition; {step}"
            raise dg.Failure(str(InvalidError("partition-unset", problem)), allow_retries=False)
        try:
            yield from self._run(context, workspace, executor)
        except dg.DagsterExecutionInterruptedError:
            if not _is_cancelled(context):
                context.instance.add_run_tags(context.run.run_id, {labels.INTERRUPTED: "true"})
            raise

    def _run(self, context: dg.AssetExecutionContext, workspace: Workspace, executor: Executor) -> StepEvents:
        outputs = find_outputs(workspace)
        found = self._find_jobs(context, workspace)
        last: Job | None = None
        problems: list[dg.Failure] = []
        for job in found:
            report_inputs(context.instance, workspace, job, self._assets(context), outputs)
            try:
                last = job if job.state.is_terminal else self._do(context, workspace, executor, job)
            except NotFoundError as error:
                context.log.warning("job %s is gone: %s", job, error)
                continue
            except dg.Failure as error:
                # The jobs behind it do not wait for it.
                problems.append(error)
                continue
            if job is not found[-1]:
                self._tell_along(context, workspace, last)
            if not last.state.has_output:
                problems.append(self._failed(context, workspace, executor, last))
        if last is not None:
            # When the last of them is gone, the one before it was told already.
            is_told = last.key != found[-1].key
            yield from self._tell_last(context, workspace, last, is_logged=is_told or bool(problems))
        if problems:
            raise problems[-1]

    def _failed(self, context: dg.AssetExecutionContext, workspace: Workspace, executor: Executor, job: Job) -> dg.Failure:
        """What is raised for a job without output; the jobs that wait for its output are ended."""
        for unrunnable in end_unrunnable_jobs(workspace, executor, job.id, context.run.run_id):
            self.on_job(unrunnable, unrunnable.state, unrunnable.counters)
            report_unrunnable(context.instance, workspace, unrunnable, self.key_of)
        said = f"; what the code printed: `pachctl logs {job}`" if job.counters.data_failed else ""
        return dg.Failure(f"job {job} ended as {job.state}: {job.reason}{said}", metadata=failure_metadata(workspace, job), allow_retries=False)

    def _tell_last(self, context: dg.AssetExecutionContext, workspace: Workspace, job: Job, *, is_logged: bool) -> StepEvents:
        """The events of the step.

        Args:
            is_logged: the materialization is logged, if it was not before, and not the step's: a step that is about to fail has none.
        """
        # An egress that failed is for the check to tell: the asset is there, and what is downstream can run.
        yield ended_check(workspace, job, self.key)
        if not job.state.has_output:
            return
        if is_logged or not self._is_of_partition(context, workspace, job):
            self._tell_along(context, workspace, job)
        else:
            yield self._materialized(context, workspace, job)

    def _is_of_partition(self, context: dg.AssetExecutionContext, workspace: Workspace, job: Job) -> bool:
        """Whether the step's own materialization, which is of the run's partition, can be this job's."""
        if not context.has_partition_key:
            return True
        with workspace.database.read() as txn:
            return partition_of(txn, commits.get_commit(txn, job.output_commit)) == str(context.partition_key)

    def _tell_along(self, context: dg.AssetExecutionContext, workspace: Workspace, job: Job) -> None:
        """What a run tells of a job that is not its last of this pipeline: the last one's events are the step's."""
        if job.state.has_output:
            made = find_untold_output(context.instance, workspace, job, self._assets(context))
            if made is not None:
                context.log_event(made)
        else:
            report_check(context.instance, ended_check(workspace, job, self.key))

    def _find_jobs(self, context: dg.AssetExecutionContext, workspace: Workspace) -> list[Job]:
        """The jobs of the run's sets, oldest first."""
        try:
            set_ids = sets_of_run(workspace, context, self.key_of)
        except PachydermError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        with workspace.database.read() as txn:
            found = [job for set_id in set_ids for job in jobs.list_job(txn, pipeline=self.pipeline.name, set_id=set_id)]
        if not found:
            context.log.info("pipeline %s has no job in commit set %s: nothing to do", self.pipeline.name, ", ".join(sorted(set_ids)))
        return sorted(found, key=lambda job: job.key)

    def _do(self, context: dg.AssetExecutionContext, workspace: Workspace, executor: Executor, job: Job) -> Job:
        log = _ProgressLog(context, workspace.database.clock)

        def on_progress(state: JobState, counters: Counters) -> None:
            log.write(state, counters)
            self.on_job(job, state, counters)

        self.on_job(job, job.state, job.counters)
        try:
            ended = run_job(workspace, job, executor=executor, run_id=context.run.run_id, on_progress=on_progress)
        except dg.DagsterExecutionInterruptedError:
            if _is_cancelled(context):
                _stop(workspace, job, f"Dagster run {context.run.run_id} was cancelled")
            raise
        except StateError as error:
            if error.code != "job-finished":
                raise dg.Failure(str(error), allow_retries=False) from error
            with workspace.database.read() as txn:
                return jobs.refresh(txn, job)
        except ConflictError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        log.write(ended.state, ended.counters)
        self.on_job(ended, ended.state, ended.counters)
        return ended

    def _materialized(self, context: dg.AssetExecutionContext, workspace: Workspace, job: Job) -> dg.MaterializeResult[None]:
        with workspace.database.read() as txn:
            commit = commits.get_commit(txn, job.output_commit)
        return describe_output(context.instance, workspace, job, commit, self.key, self._assets(context)).as_result()

    def _assets(self, context: dg.AssetExecutionContext) -> BranchAssets:
        return BranchAssets(self.key_of, graph_of_run(context))

    def _newest_check(self, workspace: Workspace) -> dg.AssetCheckResult:
        with workspace.database.read() as txn:
            ended = [job for job in jobs.list_job(txn, pipeline=self.pipeline.name, number=CHECKED_JOBS) if job.state.is_terminal]
        if not ended:
            raise dg.Failure(f"no job of pipeline {self.pipeline.name} has ended yet; materialize its asset, and check it then", allow_retries=False)
        return job_check(ended[0], self.key, {**counter_metadata(ended[0]), **recovery_metadata(workspace, ended[0])})


def _is_cancelled(context: dg.AssetExecutionContext) -> bool:
    """Whether a user cancelled the run; a machine that shuts down interrupts it too."""
    run = context.instance.get_run_by_id(context.run.run_id)
    return run is not None and run.status is dg.DagsterRunStatus.CANCELING


def _stop(workspace: Workspace, job: Job, reason: str) -> None:
    def change(txn: Transaction) -> None:
        if not jobs.refresh(txn, job).state.is_terminal:
            jobs.stop(txn, job, reason=reason)

    workspace.database.write(change)


@dataclass(slots=True)
class _ProgressLog:
    """Writes how far a job is to the run's log, now and then."""

    context: dg.AssetExecutionContext
    clock: Clock
    _begun: dt.datetime = field(init=False)
    _last: dt.datetime = field(init=False)
    _state: JobState | None = None

    def __post_init__(self) -> None:
        self._begun = self._last = self.clock.now()

    def write(self, state: JobState, counters: Counters) -> None:
        now = self.clock.now()
        if state is self._state and now - self._last < max(PROGRESS_TIME, PROGRESS_SHARE * (now - self._begun)):
            return
        self._state, self._last = state, now
        self.context.instance.report_engine_event(f"{state}, {describe_progress(counters)}", self.context.run, step_key=self.context.op_def.name)
