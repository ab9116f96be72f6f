"""What a job reads, all from one look at the record."""

from dataclasses import dataclass

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.horizon import release_results
from pachyderm_dagster.pfs.model import BranchName, Commit
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.inputs import Leaf, leaves
from pachyderm_dagster.pps.model import GOOD, Job, Pipeline


@dataclass(frozen=True, slots=True)
class BaseInput:
    """What the base read through its only input; `tree` is an encoded root, None of an empty one."""

    tree: bytes | None


@dataclass(frozen=True, slots=True)
class Base:
    """What the job builds on: encoded roots of the output and the datums of its nearest ancestor that succeeded; None for an empty one.

    Attributes:
        input: set where the difference to what is read now tells which datums changed: every datum of the base is done, by the same code of the same input.
    """

    output: bytes | None
    meta: bytes | None
    input: BaseInput | None = None


@dataclass(frozen=True, slots=True)
class JobInputs:
    """A job's pipeline as of the job's version, its input commits and what it builds on."""

    job: Job
    pipeline: Pipeline
    commits: tuple[tuple[Leaf, Commit], ...]
    """Each leaf of the input with the commit that it reads."""
    spec_commit: str
    base: Base
    results: bytes | None
    """Encoded root of the pipeline's results tree."""

    missing: tuple[BranchName, ...]
    """Branches that the pipeline reads and that were deleted."""

    @property
    def failed_inputs(self) -> list[str]:
        """Why inputs cannot be read, one line each: a commit with an error, a branch that was deleted."""
        failed = [f"{commit}: {commit.error}" for _, commit in self.commits if commit.error is not None]
        return failed + [f"branch {branch} was deleted; update the pipeline to read another" for branch in self.missing]

    @property
    def why_unrunnable(self) -> str:
        """For the job, when there are failed inputs."""
        return f"input with an error: {'; '.join(self.failed_inputs)}"


def load_job_inputs(txn: Transaction, job: Job) -> JobInputs:
    """Collects what `job` reads.

    Raises:
        NotFoundError: `pipeline-not-found`, when it was deleted meanwhile.
    """
    pipeline = pipelines.get_pipeline(txn, job.pipeline, version=job.version)
    read = commits.read_through(txn, job.output_commit)
    found, missing = [], []
    for leaf in leaves(pipeline.spec.input):
        branch = BranchName(leaf.repo_name(job.pipeline.project), leaf.branch)
        if branch in read:
            found.append((leaf, commits.get_commit(txn, read[branch])))
        else:
            missing.append(branch)
    spec_commit = get_spec_commit(txn, pipeline)
    base = find_base(txn, _parent(txn, job.output_commit), pipeline)
    return JobInputs(job, pipeline, tuple(found), spec_commit, base, find_results_root(txn, pipeline), tuple(missing))


def get_spec_commit(txn: Transaction, pipeline: Pipeline) -> str:
    """The id of the commit that made this version of a pipeline."""
    spec = txn.first(
        sa.select(t.pipeline_version.c.set_id).where(t.pipeline_version.c.pipeline_id == pipeline.key, t.pipeline_version.c.version == pipeline.version)
    )
    assert spec is not None
    return str(spec.set_id)


def find_results_root(txn: Transaction, pipeline: Pipeline) -> bytes | None:
    """The encoded root of the results of a pipeline as they are now."""
    row = txn.first(sa.select(t.pipeline.c.results).where(t.pipeline.c.id == pipeline.key))
    return bytes(row.results) if row is not None and row.results is not None else None


def replace_results(txn: Transaction, pipeline: Pipeline, old: bytes | None, new: bytes) -> bool:
    """Sets the results, when they are still the `old` ones; False when another job was faster. Of a pipeline that was deleted nothing is kept."""
    if find_results_root(txn, pipeline) == old:
        release_results(txn, pipeline.key)
        txn.run(sa.update(t.pipeline).where(t.pipeline.c.id == pipeline.key).values(results=new), kept=True)
        return True
    return txn.first(sa.select(t.pipeline.c.id).where(t.pipeline.c.id == pipeline.key)) is None


def find_base(txn: Transaction, above: int | None, pipeline: Pipeline) -> Base:
    """What a job of this version of a pipeline builds on whose output commit comes after the commit `above`."""
    while above is not None:
        row = txn.first(
            sa.select(t.commit.c.tree, t.job.c.meta_commit_id, t.job.c.version, t.job.c.data_failed, t.job.c.data_recovered)
            .join_from(t.job, t.commit, t.job.c.output_commit_id == t.commit.c.id)
            .where(t.job.c.output_commit_id == above, t.job.c.state.in_(GOOD), t.commit.c.error.is_(None), t.commit.c.forgotten.is_(False))
        )
        if row is not None:
            meta = txn.first(sa.select(t.commit.c.tree).where(t.commit.c.id == row.meta_commit_id))
            is_whole = meta is not None and not row.data_failed and not row.data_recovered
            return Base(row.tree, None if meta is None else meta.tree, _base_input(txn, above, row.version, pipeline) if is_whole else None)
        above = _parent(txn, above)
    return Base(None, None)


def _base_input(txn: Transaction, output_commit: int, version: int, pipeline: Pipeline) -> BaseInput | None:
    """What an earlier job read, when it had the code and the input of this version, and that is one branch."""
    spec, before = pipeline.spec, pipeline
    if version != pipeline.version:
        before = pipelines.get_pipeline(txn, pipeline.name, version=version)
    if (before.spec.input, before.spec.datum_salt(before.salt)) != (spec.input, spec.datum_salt(pipeline.salt)):
        return None
    found = list(leaves(spec.input))
    read = commits.read_through(txn, output_commit).get(BranchName(found[0].repo_name(pipeline.name.project), found[0].branch)) if len(found) == 1 else None
    if read is None:
        return None
    commit = commits.get_commit(txn, read)
    return None if commit.forgotten or commit.error is not None else BaseInput(commit.tree)


def _parent(txn: Transaction, commit_id: int) -> int | None:
    row = txn.first(sa.select(t.commit.c.parent_id).where(t.commit.c.id == commit_id))
    return None if row is None else row.parent_id
