"""Builds the Dagster definitions of a workspace: its branches and pipelines as assets, a job and a commit sensor for each project."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.integration.commit_sensor import CommitSensor, build_commit_sensor
from pachyderm_dagster.integration.job_step import JobStep, OnJob, StepEvents
from pachyderm_dagster.integration.resource import PachydermResource
from pachyderm_dagster.integration.snapshot import InputBranch, LoadedPipeline, Snapshot, read_snapshot
from pachyderm_dagster.integration.translator import PachydermTranslator, lasting_identifier, step_names
from pachyderm_dagster.pfs.model import BranchName
from pachyderm_dagster.record import open_record
from pachyderm_dagster.workspace import Workspace, open_workspace

Environ = Mapping[str, str]


def build_definitions(environ: Environ, *, translator: PachydermTranslator | None = None) -> dg.Definitions:
    """The definitions of the workspace that `environ` names, as it is now; `dg.Definitions.merge` adds them to your own.

    Raises:
        InvalidError: `config-invalid`.
        StateError: `home-version`.
    """
    record = open_record(environ)
    try:
        with record.database.read() as txn:
            snapshot = read_snapshot(txn)
    finally:
        record.database.close()
    return define(snapshot, environ, translator or PachydermTranslator())


def job_name(project: str) -> str:
    """The job that runs the pipelines of a project."""
    return lasting_identifier("pipelines", project)


def define(snapshot: Snapshot, environ: Environ, translator: PachydermTranslator, *, on_job: OnJob = lambda _job, _state, _counters: None) -> dg.Definitions:
    """The definitions of a snapshot; their steps and sensors open the workspace that `environ` names, and steps tell `on_job` how far they are."""
    specs = {branch.name: translator.get_asset_spec(branch) for branch in snapshot.branches}
    specs |= {pipeline.output: translator.get_asset_spec(pipeline) for pipeline in snapshot.pipelines}
    location = _Location(snapshot, dict(environ), translator, on_job, {branch: spec.key for branch, spec in specs.items()})
    names = step_names([specs[pipeline.output] for pipeline in snapshot.pipelines])
    jobs = {project: location.job(project) for project in snapshot.projects}
    return dg.Definitions(
        assets=[
            *(specs[branch.name] for branch in snapshot.branches),
            *(location.pipeline_asset(pipeline, specs[pipeline.output], names) for pipeline in snapshot.pipelines),
        ],
        jobs=[job for found in jobs.values() for job in found],
        sensors=[location.sensor(project, found) for project, found in jobs.items()],
        resources={"pachyderm": PachydermResource()},
        # The process of a run does the run's jobs itself: the work is in the executor's workers, and a process a step would only cost a start each.
        executor=dg.in_process_executor,
    )


@dataclass(frozen=True, slots=True)
class _Location:
    """A code location being built; `keys` are the assets of its branches, outputs included."""

    snapshot: Snapshot
    environ: Environ
    translator: PachydermTranslator
    on_job: OnJob
    keys: Mapping[BranchName, dg.AssetKey]

    def pipeline_asset(self, pipeline: LoadedPipeline, spec: dg.AssetSpec, names: Mapping[dg.AssetKey, str]) -> dg.AssetsDefinition:
        """A pipeline as an asset that runs its jobs."""
        deps: list[dg.AssetDep | dg.AssetKey] = [*spec.deps, *(self.key_of(branch) for branch in pipeline.inputs)]
        whole = spec.replace_attributes(deps=deps, code_version=pipeline.code_version, skippable=True)
        pipeline_keys = {self.keys[other.output]: other.name for other in self.snapshot.pipelines}
        step = JobStep(pipeline, spec.key, self.key_of, pipeline_keys, self.on_job)
        check = dg.AssetCheckSpec(labels.JOB_CHECK, asset=spec.key, description="Whether the newest job succeeded: every datum, and no two wrote one file.")

        # A subset is allowed for the sake of sets without a job of this pipeline: only then may the check stay away too.
        @dg.multi_asset(name=names[spec.key], specs=[whole], check_specs=[check], can_subset=True)
        def run_pipeline(context: dg.AssetExecutionContext) -> StepEvents:
            with self.open(context.log.warning) as (workspace, executor):
                yield from step.run(context, workspace, executor)

        return run_pipeline

    def job(self, project: str) -> list[UnresolvedAssetJobDefinition]:
        """The job that runs a project's pipelines, if there are any."""
        keys = [self.keys[pipeline.output] for pipeline in self.snapshot.pipelines if pipeline.name.project == project]
        if not keys:
            return []
        description = f"Runs pipelines of project {project}: those of the commit set that the commit sensor asks for, or again on the current heads."
        return [dg.define_asset_job(job_name(project), dg.AssetSelection.assets(*keys), description=description, executor_def=dg.in_process_executor)]

    def sensor(self, project: str, jobs: Sequence[UnresolvedAssetJobDefinition]) -> dg.SensorDefinition:
        """The commit sensor of a project."""
        sensor = CommitSensor(
            project=project,
            pipelines={pipeline.name: self.keys[pipeline.output] for pipeline in self.snapshot.pipelines if pipeline.name.project == project},
            heads={branch.name: self.keys[branch.name] for branch in self.snapshot.branches if branch.name.repo.project == project},
            key_of=self.key_of,
            job_name=job_name(project),
        )

        def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
            with self.open(context.log.warning) as (workspace, executor):
                return sensor.tick(context, workspace, executor)

        return build_commit_sensor(sensor, jobs, tick)

    def key_of(self, branch: BranchName) -> dg.AssetKey:
        """The asset of a branch; of one that is not loaded yet, the one that it will be."""
        return self.keys[branch] if branch in self.keys else self.translator.get_asset_spec(InputBranch(branch, "")).key

    @contextlib.contextmanager
    def open(self, warn: Callable[[str], None]) -> Iterator[tuple[Workspace, LocalExecutor]]:
        """The workspace and what runs its datums."""
        workspace = open_workspace(self.environ)
        try:
            with LocalExecutor(self.environ, warn=warn) as executor:
                yield workspace, executor
        finally:
            workspace.close()
