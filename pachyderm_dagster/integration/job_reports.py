"""What Dagster is told of a job, whoever did it: the commits that it read, its output and how its check went."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.integration.branch_assets import BranchAssets, KeyOf
from pachyderm_dagster.integration.column_lineage import lineage_warning
from pachyderm_dagster.integration.commit_events import ensure_events, has_event, is_awaited, provenance_tags
from pachyderm_dagster.integration.data_versions import version_tags
from pachyderm_dagster.integration.job_events import failure_metadata, output_metadata, recovery_metadata
from pachyderm_dagster.integration.set_partitions import partition_of
from pachyderm_dagster.integration.shown_commits import shown_commit
from pachyderm_dagster.integration.snapshot import code_version
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import BranchName, Commit, RepoType
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.model import Job, JobState
from pachyderm_dagster.workspace import Workspace

HISTORY = 100
"""So many earlier commits of an input branch are reported along with the one that a job reads, when nobody reported them."""


def job_check(job: Job, key: dg.AssetKey, metadata: Mapping[str, dg.MetadataValue] | None = None) -> dg.AssetCheckResult:
    """What the check of a pipeline's asset says of a job that ended."""
    succeeded, recovered = job.state is JobState.SUCCESS, job.counters.data_recovered
    said = f": {job.reason}" if job.reason else ""
    if recovered:
        said += f"; {recovered} datums have no output: their `err_cmd` recovered them"
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=labels.JOB_CHECK,
        passed=succeeded and not recovered,
        severity=dg.AssetCheckSeverity.WARN if succeeded else dg.AssetCheckSeverity.ERROR,
        description=f"{job} {job.state}{said}",
        metadata=metadata,
    )


def ended_check(workspace: Workspace, job: Job, key: dg.AssetKey) -> dg.AssetCheckResult:
    """The same of a job that has just ended, with why it has no output, or some of its datums have none."""
    found = recovery_metadata(workspace, job) if job.state.has_output else failure_metadata(workspace, job)
    return job_check(job, key, found or None)


def report_check(instance: dg.DagsterInstance, found: dg.AssetCheckResult) -> None:
    """Reports the result of a check beside what a step yields."""
    assert found.asset_key is not None and found.check_name is not None
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=found.asset_key,
            check_name=found.check_name,
            passed=found.passed,
            severity=found.severity,
            description=found.description,
            metadata=found.metadata,
        )
    )


def report_unrunnable(instance: dg.DagsterInstance, workspace: Workspace, job: Job, key_of: KeyOf) -> None:
    """Tells why a job that cannot run has no output: no step will, and the check that Dagster planned would say nothing but that its run failed."""
    with workspace.database.read() as txn:
        pipeline = pipelines.get_pipeline(txn, job.pipeline, version=job.version)
    report_check(instance, ended_check(workspace, job, key_of(pipeline.output)))


def find_outputs(workspace: Workspace) -> frozenset[BranchName]:
    """The branches that pipelines write; what a service or a spout writes comes from outside."""
    with workspace.database.read() as txn:
        return frozenset(pipeline.output for pipeline in pipelines.list_pipeline(txn) if not pipeline.spec.runs_on)


def report_inputs(instance: dg.DagsterInstance, workspace: Workspace, job: Job, assets: BranchAssets, outputs: Collection[BranchName]) -> None:
    """Makes sure that Dagster knows the commits which a job reads: without a sensor, or before its tick, nobody has told it.

    Args:
        outputs: the branches that pipelines write, whose commits are told of with their jobs.
    """
    now = workspace.database.clock.now()
    for branch, commit in find_consumed(workspace, job).items():
        if branch not in outputs and commit.error is None:
            key = assets.key_of(branch)
            history = (found for found in _history(workspace, branch, commit) if assets.is_version(key, found) and not is_awaited(instance, found, now))
            ensure_events(instance, key, history, assets.version, lambda found: shown_commit(workspace, found))


@dataclass(frozen=True, slots=True)
class OutputEvent:
    """The materialization that a successful job is: its data version, what is shown of it, and the tags by which Dagster tells what is stale."""

    key: dg.AssetKey
    version: str
    metadata: Mapping[str, dg.MetadataValue]
    tags: Mapping[str, str]

    def as_result(self) -> dg.MaterializeResult[None]:
        """For the step that did the job."""
        return dg.MaterializeResult(asset_key=self.key, data_version=dg.DataVersion(self.version), metadata=self.metadata, tags=self.tags)

    def as_event(self, partition: str | None) -> dg.AssetMaterialization:
        """For whoever else tells of it."""
        return dg.AssetMaterialization(self.key, partition=partition, metadata=self.metadata, tags={**self.tags, **version_tags(self.version)})


def describe_output(instance: dg.DagsterInstance, workspace: Workspace, job: Job, commit: Commit, key: dg.AssetKey, assets: BranchAssets) -> OutputEvent:
    """What Dagster is told of the commit that is a successful job's output: which commits it read, with which version of the code, and how the job went."""
    consumed = find_consumed(workspace, job)
    with workspace.database.read() as txn:
        pipeline = pipelines.get_pipeline(txn, job.pipeline, version=job.version)
    inputs = {assets.key_of(branch): read for branch, read in consumed.items()}
    provenance = provenance_tags(instance, inputs, assets.version, [read for read in inputs if assets.is_by_set(read)])
    metadata = {**output_metadata(workspace, job, commit, consumed), **assets.lineage(key)}
    return OutputEvent(
        key=key,
        version=assets.version(key, commit),
        metadata={**metadata, **lineage_warning(metadata)},
        tags={labels.CODE_VERSION: assets.own_code_version(key) or code_version(pipeline.spec), **provenance},
    )


def find_untold_output(instance: dg.DagsterInstance, workspace: Workspace, job: Job, assets: BranchAssets) -> dg.AssetMaterialization | None:
    """The materialization of a successful job of which Dagster has none; None when it has it, or, of an asset without partitions, one of a later commit."""
    with workspace.database.read() as txn:
        commit = commits.get_commit(txn, job.output_commit)
        pipeline = pipelines.get_pipeline(txn, job.pipeline, version=job.version)
        later = commits.list_commit(txn, job.pipeline, number=HISTORY)
    key = assets.key_of(BranchName(job.pipeline, commit.branch or pipeline.spec.output_branch))
    partition = None
    if assets.is_by_set(key):
        later = [commit]
        with workspace.database.read() as txn:
            partition = partition_of(txn, commit)
    known = [found for found in later if found.key >= commit.key and found.branch == commit.branch and found.finished is not None]
    if any(has_event(instance, key, found, assets.version(key, found)) for found in known):
        return None
    return describe_output(instance, workspace, job, commit, key, assets).as_event(partition)


def find_consumed(workspace: Workspace, job: Job) -> dict[BranchName, Commit]:
    """The commits that a job reads, by the branch through which it reads them."""
    return find_read(workspace, job.output_commit)


def find_read(workspace: Workspace, commit: int) -> dict[BranchName, Commit]:
    """The commits that the one in this row was made from, by the branch through which each was read."""
    with workspace.database.read() as txn:
        read = commits.read_through(txn, commit)
        return {branch: commits.get_commit(txn, key) for branch, key in read.items() if branch.repo.type is RepoType.USER}


def _history(workspace: Workspace, branch: BranchName, commit: Commit) -> Iterator[Commit]:
    """A commit and the readable ones of its branch before it, newest first."""
    yield commit
    with workspace.database.read() as txn:
        earlier = commits.list_commit(txn, up_to=commit.key, number=HISTORY)
    yield from (found for found in earlier if found.key != commit.key and found.branch == branch.name and found.error is None)
