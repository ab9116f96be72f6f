"""What pipelines and jobs look like to a caller."""

import dataclasses
import datetime as dt
import enum
from dataclasses import dataclass

import msgspec

from pachyderm_dagster.pfs.model import BranchName, RepoName
from pachyderm_dagster.pps.spec import PipelineSpec, UserSpec

MAX_KUBERNETES_NAME = 63
"""Characters of the name that the pipeline has on Kubernetes: project, name and version."""


class PipelineState(enum.StrEnum):
    """Whether a pipeline takes new commits."""

    RUNNING = "RUNNING"  # each new commit set upstream makes a job
    CRASHING = "CRASHING"  # as RUNNING, but the process of a service or spout ends again and again
    PAUSED = "PAUSED"  # stopped by a user
    STANDBY = "STANDBY"  # never stored: what a service or spout is shown as whose process nobody keeps


class JobState(enum.StrEnum):
    """Where a job stands."""

    CREATED = "CREATED"  # its output commit exists; its inputs may still be open
    STARTING = "STARTING"  # a run has claimed it
    RUNNING = "RUNNING"  # datums are planned or running
    EGRESSING = "EGRESSING"  # its output is whole and is being copied to where the pipeline's egress says
    FINISHING = "FINISHING"  # the output commit is put together
    SUCCESS = "SUCCESS"
    EGRESS_FAILURE = "EGRESS_FAILURE"  # the output commit is good; its egress failed and can be retried alone
    FAILURE = "FAILURE"  # a datum failed, or the outputs collide
    KILLED = "KILLED"  # stopped by a user, an update, or its time limit
    UNRUNNABLE = "UNRUNNABLE"  # an input commit has an error

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self in TERMINAL

    @property
    def has_output(self) -> bool:
        """Whether the job has ended with a good output commit."""
        return self in GOOD


GOOD = frozenset({JobState.SUCCESS, JobState.EGRESS_FAILURE})
"""States of jobs whose output commit is whole."""
TERMINAL = frozenset({*GOOD, JobState.FAILURE, JobState.KILLED, JobState.UNRUNNABLE})
UNFINISHED = tuple(state for state in JobState if state not in TERMINAL)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline as listed."""

    key: int
    """Its row: only for further calls within this package."""
    name: RepoName
    """Its name is that of its output repo."""
    version: int
    state: PipelineState
    """Now, whichever version this is; so is `reason`."""
    reason: str
    created: dt.datetime
    """When its first version was."""
    spec: PipelineSpec
    """Effective: with defaults, complete."""
    user: UserSpec
    """As it was given."""
    salt: str
    last_job_state: JobState | None
    """Of the jobs of this version, if it is an older one."""
    made: dt.datetime
    """When this version was."""
    is_newest: bool

    @property
    def output(self) -> BranchName:
        """The branch that it writes."""
        return BranchName(self.name, self.spec.output_branch)

    @property
    def inputs(self) -> list[BranchName]:
        """The branches that it reads, each once."""
        return [BranchName(RepoName(project, repo), branch) for project, repo, branch in self.spec.upstream_branches(self.name.project)]


@dataclass(frozen=True, slots=True)
class Counters:
    """What a job has done so far: datums, bytes, and seconds summed over datums."""

    data_total: int = 0
    data_processed: int = 0
    data_skipped: int = 0
    data_failed: int = 0
    data_recovered: int = 0
    download_bytes: int = 0
    upload_bytes: int = 0
    download_seconds: float = 0.0
    process_seconds: float = 0.0
    upload_seconds: float = 0.0


COUNTER_NAMES = tuple(field.name for field in dataclasses.fields(Counters))


class EgressResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the egress of a job wrote.

    Args:
        rows: of each table, when it went to a database.
        bytes: of the files that were read for it.
    """

    files: int
    bytes: int
    tries: int
    finished: dt.datetime
    rows: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as listed. Its id is that of its commit set, so a job is named `pipeline@id`."""

    key: int
    """Its row: only for further calls within this package."""
    id: str
    pipeline: RepoName
    version: int
    state: JobState
    reason: str
    created: dt.datetime
    started: dt.datetime | None
    finished: dt.datetime | None
    counters: Counters
    restarts: int
    run_id: str | None
    """Dagster's run, once one has claimed the job."""
    output_commit: int
    meta_commit: int
    delivered: EgressResult | None = None
    """What its egress wrote, once it is done."""

    def __str__(self) -> str:
        return f"{self.pipeline}@{self.id}"
