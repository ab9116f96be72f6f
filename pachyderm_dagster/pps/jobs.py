"""Jobs: made with their output commits, claimed by a run, finished together with their commits."""

import dataclasses
import datetime as dt
import functools
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from pachyderm_dagster.errors import NotFoundError, StateError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.commit_records import CommitRecord
from pachyderm_dagster.pfs.model import Origin, RepoName, RepoType
from pachyderm_dagster.pps.model import COUNTER_NAMES, TERMINAL, UNFINISHED, Counters, EgressResult, Job, JobState, PipelineState
from pachyderm_dagster.pps.staying import list_staying


def create_jobs(txn: Transaction) -> None:
    """Makes a job for every output commit that this transaction opened: runs after propagation, inside the transaction."""
    if not txn.new_commits:
        return
    rows = txn.all(_outputs(), new_commits=txn.new_commits)
    for row in rows:
        txn.insert(
            t.job,
            pipeline_id=row.id,
            version=row.version,
            set_id=txn.id,
            output_commit_id=row.output_id,
            meta_commit_id=row.meta_id,
            state=JobState.CREATED,
            created=txn.clock.now(),
        )


def list_job(
    txn: Transaction,
    *,
    project: str | None = None,
    pipeline: RepoName | None = None,
    set_id: str | None = None,
    key: int | None = None,
    unfinished_only: bool = False,
    ended_only: bool = False,
    number: int | None = None,
) -> list[Job]:
    """Jobs, newest first."""
    statement = (
        sa.select(t.job, t.pipeline.c.name, t.project.c.name.label("project"))
        .join_from(t.job, t.pipeline)
        .join(t.project)
        .order_by(t.job.c.id.desc())
        .limit(number)
    )
    if project is not None:
        statement = statement.where(t.project.c.name == project)
    if pipeline is not None:
        statement = statement.where(t.project.c.name == pipeline.project, t.pipeline.c.name == pipeline.name)
    if set_id is not None:
        statement = statement.where(t.job.c.set_id == set_id)
    if key is not None:
        statement = statement.where(t.job.c.id == key)
    if unfinished_only:
        statement = statement.where(t.job.c.state.in_(UNFINISHED))
    if ended_only:
        statement = statement.where(t.job.c.state.in_(TERMINAL))
    return list(map(_job, txn.all(statement)))


def _job(row: sa.Row[Any]) -> Job:
    return Job(
        key=row.id,
        id=row.set_id,
        pipeline=RepoName(row.project, row.name),
        version=row.version,
        state=JobState(row.state),
        reason=row.reason,
        created=row.created,
        started=row.started,
        finished=row.finished,
        counters=Counters(**{name: getattr(row, name) for name in COUNTER_NAMES}),
        restarts=row.restarts,
        run_id=row.run_id,
        output_commit=row.output_commit_id,
        meta_commit=row.meta_commit_id,
        delivered=None if row.delivered is None else msgspec.convert(row.delivered, EgressResult),
    )


def get_job(txn: Transaction, pipeline: RepoName, set_id: str) -> Job:
    """The pipeline's job of a commit set.

    Raises:
        NotFoundError: `job-not-found`.
    """
    found = list_job(txn, pipeline=pipeline, set_id=set_id)
    if not found:
        raise NotFoundError("job-not-found", f"job '{pipeline}@{set_id}' does not exist; `pachctl list job -p {pipeline.name}` shows the jobs there are")
    return found[0]


def refresh(txn: Transaction, job: Job) -> Job:
    """The job as it is now.

    Raises:
        NotFoundError: `job-not-found`, when it was deleted with its pipeline.
    """
    found = list_job(txn, key=job.key)
    if not found:
        raise NotFoundError("job-not-found", f"job '{job}' was deleted, with its pipeline or its commits")
    return found[0]


def list_unfinished_set(txn: Transaction) -> set[tuple[str, str]]:
    """Project and commit set of each unfinished job, for those who look many times a second."""
    statement = sa.select(t.project.c.name, t.job.c.set_id).join_from(t.job, t.pipeline).join(t.project).where(t.job.c.state.in_(UNFINISHED))
    return {(row.name, row.set_id) for row in txn.all(statement)}


def list_due_set(txn: Transaction, project: str, *, without: Collection[RepoName] = ()) -> list[tuple[str, list[Job]]]:
    """The commit sets with unfinished jobs in `project` that can run to their end now, oldest first, with those jobs in an order in which they can.

    A job can run when every commit that it reads is finished, or will be by one of the jobs before it. Those of services have no end of their own, and are
    left to who runs the services.

    Args:
        without: pipelines that nobody runs now. What reads their open outputs waits too, and whatever of its pipeline comes later, so that order is kept.
    """
    sets: dict[str, list[Job]] = {}
    unfinished = list_job(txn, project=project, unfinished_only=True)
    services = find_services(txn, {job.pipeline for job in unfinished})
    for job in reversed(unfinished):
        if job.pipeline not in services:
            sets.setdefault(job.id, []).append(job)
    waiting = _open_inputs(txn)
    stuck, never = set(without), set[int]()
    due = []
    for set_id, members in sets.items():
        outputs: set[int] = set()
        runnable = []
        # Jobs are made with their output commits, sources first.
        for job in members:
            reads = waiting.get(job.output_commit, set())
            if job.pipeline in stuck or reads & never:
                stuck.add(job.pipeline)
                never.add(job.output_commit)
            elif reads <= outputs:
                runnable.append(job)
                outputs.add(job.output_commit)
        if runnable:
            due.append((set_id, runnable))
    return due


def find_services(txn: Transaction, names: Collection[RepoName]) -> set[RepoName]:
    """Those of the pipelines that are services, whose jobs last until the next one comes."""
    staying = list_staying(txn, t.pipeline.c.name.in_({name.name for name in names}))
    return {name for name, spec in staying.items() if spec.service is not None} & set(names)


def list_service_commit(txn: Transaction, set_id: str) -> set[int]:
    """The rows of the commits of a set that end when the next one comes: those of services."""
    found = list_job(txn, set_id=set_id)
    services = find_services(txn, {job.pipeline for job in found})
    return {key for job in found if job.pipeline in services for key in (job.output_commit, job.meta_commit)}


def waits_for(txn: Transaction, job: Job) -> list[str]:
    """The open commits (`repo@id`) that the job reads."""
    return [str(commit) for commit in commits.upstream_commits(txn, job.output_commit) if commit.finished is None]


def claim(txn: Transaction, job: Job, run_id: str | None) -> Job:
    """Takes a job for a run; one that a dead run left half done starts over, with the counters and the checkpoint that it had. The caller holds its lease.

    Raises:
        StateError: `job-finished`; `job-waiting`, when an input commit is open.
    """
    now = refresh(txn, job)
    if now.state.is_terminal:
        raise StateError("job-finished", f"job '{job}' is {now.state} already")
    open_inputs = waits_for(txn, now)
    if open_inputs:
        raise StateError("job-waiting", f"job '{job}' waits for {', '.join(open_inputs)}; finish that commit first")
    restarts = now.restarts + (now.state is not JobState.CREATED)
    started = now.started or txn.clock.now()
    values = {"state": JobState.STARTING, "run_id": run_id, "restarts": restarts, "started": started}
    txn.run(sa.update(t.job).where(t.job.c.id == job.key).values(**values))
    return refresh(txn, job)


def report(txn: Transaction, job: Job, state: JobState, counters: Counters) -> bool:
    """Records how far a job is; False when it was stopped meanwhile."""
    values = {"state": state, **dataclasses.asdict(counters)}
    return txn.run(sa.update(t.job).where(t.job.c.id == job.key, t.job.c.state.not_in(TERMINAL)).values(**values)) == 1


def note_interruption(txn: Transaction, job: Job, reason: str) -> None:
    """Says of an unfinished job why the last attempt at it ended; its end says something else."""
    txn.run(sa.update(t.job).where(t.job.c.id == job.key, t.job.c.state.not_in(TERMINAL)).values(reason=reason))


def add_restarts(txn: Transaction, job: Job, count: int) -> None:
    """Counts datums of an unfinished job that were begun anew because somebody asked for that."""
    txn.run(sa.update(t.job).where(t.job.c.id == job.key, t.job.c.state.not_in(TERMINAL)).values(restarts=t.job.c.restarts + count))


def find_checkpoint(txn: Transaction, job: Job) -> bytes | None:
    """The encoded root of a meta tree of those datums of an unfinished job that have ended; None when none was written down."""
    row = txn.first(sa.select(t.job.c.checkpoint).where(t.job.c.id == job.key))
    return None if row is None or row.checkpoint is None else bytes(row.checkpoint)


def save_checkpoint(txn: Transaction, job: Job, checkpoint: bytes) -> None:
    """Writes down which datums of a job have ended, unless the job has."""
    txn.run(sa.update(t.job).where(t.job.c.id == job.key, t.job.c.state.not_in(TERMINAL)).values(checkpoint=checkpoint))


@dataclass(frozen=True, slots=True)
class JobRecords:
    """The records of the commits of a job."""

    output: CommitRecord
    meta: CommitRecord


def finish(
    txn: Transaction,
    job: Job,
    state: JobState,
    *,
    reason: str = "",
    counters: Counters | None = None,
    delivered: EgressResult | None = None,
    records: JobRecords | None = None,
) -> None:
    """Ends a job and closes its commits, with an error unless their content is good.

    Args:
        records: those of its commits, which the store holds; None when the output has no content and the meta commit holds what the checkpoint knew,
            and they are recorded after this transaction.

    Raises:
        StateError: `job-finished`, when somebody ended it first.
    """
    checkpoint = find_checkpoint(txn, job)
    values: dict[str, object] = {"state": state, "reason": reason, "finished": txn.clock.now() if records is None else records.output.finished}
    values |= {"checkpoint": None} if counters is None else {"checkpoint": None, **dataclasses.asdict(counters)}
    values |= {} if delivered is None else {"delivered": msgspec.to_builtins(delivered)}
    if txn.run(sa.update(t.job).where(t.job.c.id == job.key, t.job.c.state.not_in(TERMINAL)).values(**values)) != 1:
        raise StateError("job-finished", f"job '{job}' was ended by somebody else")
    _forget_crash(txn, job)
    if records is not None:
        commits.close_recorded(txn, job.output_commit, records.output)
        commits.close_recorded(txn, job.meta_commit, records.meta)
        return
    # A meta tree counts no bytes.
    for commit_id, tree in ((job.output_commit, None), (job.meta_commit, checkpoint)):
        commits.close_commit(txn, commit_id, tree=tree, size_bytes=0, error=error_of(state, reason))


def _forget_crash(txn: Transaction, job: Job) -> None:
    """What kept an ended job from running is over with it. The process of a service goes on, and whoever keeps it says how it does."""
    if not find_services(txn, {job.pipeline}):
        found = sa.and_(t.pipeline.c.id == sa.select(t.job.c.pipeline_id).where(t.job.c.id == job.key).scalar_subquery(), t.pipeline.c.version == job.version)
        crashing = sa.update(t.pipeline).where(found, t.pipeline.c.state == PipelineState.CRASHING)
        txn.run(crashing.values(state=PipelineState.RUNNING, reason=""))


def complete_killed(txn: Transaction, job: Job, meta: bytes, counters: Counters) -> bool:
    """Replaces what the checkpoint knew of a job that was killed by what whoever ran it knew; False when it did not end like that, or is gone.

    Only its meta commit changes, which ended with an error, so nothing was made from it; the caller holds the job's lease.
    """
    killed = sa.update(t.job).where(t.job.c.id == job.key, t.job.c.state == JobState.KILLED)
    if txn.run(killed.values(**dataclasses.asdict(counters))) != 1:
        return False
    commits.replace_failed(txn, job.meta_commit, meta)
    # Its record tells of the job.
    txn.run(sa.update(t.commit).where(t.commit.c.id == job.output_commit).values(recorded=False))
    return True


def find_reason(txn: Transaction, job: Job) -> str:
    """Why a job ended; of one that was deleted with its pipeline, that."""
    row = txn.first(sa.select(t.job.c.reason).where(t.job.c.id == job.key))
    return "the job was deleted" if row is None else str(row.reason)


def error_of(state: JobState, reason: str) -> str | None:
    """The error of the commits of a job that ended like this."""
    return None if state.has_output else f"job {state}: {reason}"


def record_egress(txn: Transaction, job: Job, state: JobState, *, reason: str = "", delivered: EgressResult | None = None) -> None:
    """Records how another egress of a job with a good output went. Everything else about the job stays as it was.

    Raises:
        NotFoundError: `job-not-found`, when it was deleted meanwhile.
    """
    refresh(txn, job)
    values = {"state": state, "reason": reason} | ({} if delivered is None else {"delivered": msgspec.to_builtins(delivered)})
    txn.run(sa.update(t.job).where(t.job.c.id == job.key).values(**values))
    # The record of its output commit tells of the job.
    txn.run(sa.update(t.commit).where(t.commit.c.id == job.output_commit).values(recorded=False))


def stop(txn: Transaction, job: Job, *, reason: str) -> None:
    """Ends an unfinished job as KILLED; whoever runs it notices at its next report.

    Raises:
        StateError: `job-finished`.
    """
    now = refresh(txn, job)
    if now.state.is_terminal:
        raise StateError("job-finished", f"job '{job}' is {now.state} already; there is nothing to stop")
    finish(txn, job, JobState.KILLED, reason=reason)


def delete(txn: Transaction, job: Job) -> None:
    """Removes a job from the lists, and ends it first when it is unfinished. Its commits stay."""
    if not refresh(txn, job).state.is_terminal:
        stop(txn, job, reason="the job was deleted")
    # The record of its output commit tells of the job.
    txn.run(sa.update(t.commit).where(t.commit.c.id == job.output_commit).values(recorded=False))
    txn.run(sa.delete(t.job).where(t.job.c.id == job.key))


def stop_all(txn: Transaction, pipeline: RepoName, *, reason: str) -> None:
    """Ends every unfinished job of a pipeline, except those that this transaction made."""
    for job in list_job(txn, pipeline=pipeline, unfinished_only=True):
        if job.id != txn.id:
            stop(txn, job, reason=reason)


def sets_fed_since(txn: Transaction, time: dt.datetime) -> set[str]:
    """The commit sets with unfinished jobs that read a commit which was finished after `time`."""
    rows = txn.all(
        sa.select(t.job.c.set_id)
        .distinct()
        .join_from(t.job, t.commit_provenance, t.job.c.output_commit_id == t.commit_provenance.c.commit_id)
        .join(t.commit, t.commit_provenance.c.upstream_id == t.commit.c.id)
        .where(t.job.c.state.in_(UNFINISHED), t.commit.c.finished > time)
    )
    return {row.set_id for row in rows}


def _open_inputs(txn: Transaction) -> dict[int, set[int]]:
    """For the output commit of each unfinished job the open commits that it reads, if any."""
    rows = txn.all(
        sa.select(t.commit_provenance.c.commit_id, t.commit_provenance.c.upstream_id)
        .join_from(t.job, t.commit_provenance, t.job.c.output_commit_id == t.commit_provenance.c.commit_id)
        .join(t.commit, t.commit_provenance.c.upstream_id == t.commit.c.id)
        .where(t.job.c.state.in_(UNFINISHED), t.commit.c.finished.is_(None))
    )
    found: dict[int, set[int]] = {}
    for row in rows:
        found.setdefault(row.commit_id, set()).add(row.upstream_id)
    return found


@functools.cache
def _outputs() -> sa.Select[Any]:
    """Open commits that a job is to write. Made once, because every transaction asks it and making a statement takes longer than running it."""
    meta_repo, meta_commit = t.repo.alias("meta_repo"), t.commit.alias("meta_commit")
    return (
        sa.select(t.pipeline.c.id, t.pipeline.c.version, t.commit.c.id.label("output_id"), meta_commit.c.id.label("meta_id"))
        .join_from(t.commit, t.repo, t.commit.c.repo_id == t.repo.c.id)
        .join(t.pipeline, sa.and_(t.pipeline.c.project_id == t.repo.c.project_id, t.pipeline.c.name == t.repo.c.name))
        .join(meta_repo, sa.and_(meta_repo.c.project_id == t.repo.c.project_id, meta_repo.c.name == t.repo.c.name, meta_repo.c.type == RepoType.META))
        .join(meta_commit, sa.and_(meta_commit.c.repo_id == meta_repo.c.id, meta_commit.c.set_id == t.commit.c.set_id))
        .where(
            t.commit.c.id.in_(sa.bindparam("new_commits", expanding=True)),
            t.commit.c.origin == Origin.AUTO,
            t.commit.c.finished.is_(None),
            t.repo.c.type == RepoType.USER,
            t.pipeline.c.state != PipelineState.PAUSED,
        )
        .order_by(t.commit.c.id)
    )
