"""Builds Dagster definitions of branches and pipelines: assets, a job and a commit sensor for each project. Every way in ends here."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.integration.commit_sensor import CommitSensor, build_commit_sensor
from pachyderm_dagster.integration.declared import DeclaredPipeline, apply_declared
from pachyderm_dagster.integration.job_step import JobStep, OnJob, StepEvents
from pachyderm_dagster.integration.resource import PachydermResource
from pachyderm_dagster.integration.snapshot import InputBranch, LoadedPipeline, Snapshot, read_snapshot
from pachyderm_dagster.integration.translator import PachydermTranslator, branch_key, keys_elsewhere, lasting_identifier, step_names
from pachyderm_dagster.pfs.model import BranchName
from pachyderm_dagster.pps.spec import UserSpec
from pachyderm_dagster.record import open_record
from pachyderm_dagster.workspace import Workspace, open_workspace

Environ = Mapping[str, str]
# One for all: definitions that are merged may not have two of one name.
_RESOURCE = PachydermResource()
Execute: TypeAlias = Callable[[dg.AssetExecutionContext, JobStep, Workspace, LocalExecutor], StepEvents]
"""What a step does: `JobStep.run`, and what somebody adds to it."""
OpArguments: TypeAlias = Mapping[str, Any]
"""What `dg.multi_asset` is given beside what a pipeline says: `op_tags`, `pool`, `description`, ...; and `name`, which comes before the pipeline's."""


def build_definitions(environ: Environ, *, translator: PachydermTranslator | None = None) -> dg.Definitions:
    """The definitions of the workspace that `environ` names, as it is now; `dg.Definitions.merge` adds them to your own.

    Raises:
        InvalidError: `config-invalid`.
        StateError: `home-version`.
    """
    return define(look(environ), environ, translator or PachydermTranslator())


def look(environ: Environ) -> Snapshot:
    """The snapshot of the workspace that `environ` names. Errors as `build_definitions`."""
    record = open_record(environ)
    try:
        with record.database.read() as txn:
            return read_snapshot(txn)
    finally:
        record.database.close()


def job_name(project: str) -> str:
    """The job that runs the pipelines of a project."""
    return lasting_identifier("pipelines", project)


def run_job_step(context: dg.AssetExecutionContext, step: JobStep, workspace: Workspace, executor: LocalExecutor) -> StepEvents:
    """What a step does when nobody wants it otherwise."""
    return step.run(context, workspace, executor)


def define(
    snapshot: Snapshot,
    environ: Environ,
    translator: PachydermTranslator,
    *,
    on_job: OnJob = lambda _job, _state, _counters: None,
    execute: Execute = run_job_step,
    op: OpArguments | None = None,
) -> dg.Definitions:
    """The definitions of a snapshot; their steps and sensors open the workspace that `environ` names, and steps tell `on_job` how far they are."""
    specs = {branch.name: translator.get_asset_spec(branch) for branch in snapshot.branches}
    specs |= {pipeline.output: translator.get_asset_spec(pipeline) for pipeline in snapshot.pipelines}
    keys = {branch: spec.key for branch, spec in specs.items()} | keys_elsewhere(snapshot)
    location = Location(snapshot, dict(environ), translator, keys, on_job, execute, op or {})
    names = step_names([specs[pipeline.output] for pipeline in snapshot.pipelines], prefix=str((op or {}).get("name") or ""))
    assets: list[dg.AssetSpec | dg.AssetsDefinition] = [
        *(specs[branch.name] for branch in snapshot.branches),
        *(location.pipeline_asset(pipeline, specs[pipeline.output], names[specs[pipeline.output].key]) for pipeline in snapshot.pipelines),
    ]
    return dg.Definitions.merge(
        dg.Definitions(
            assets=assets,
            resources={"pachyderm": _RESOURCE},
            # The process of a run does the run's jobs itself: the work is in the executor's workers, and a process a step would only cost a start each.
            executor=dg.in_process_executor,
        ),
        location.automation(),
    )


@dataclass(frozen=True, slots=True)
class Location:
    """What is built for a code location; `keys` are the assets of its branches, outputs and those that are assets of other code included."""

    snapshot: Snapshot
    environ: Environ
    translator: PachydermTranslator
    keys: Mapping[BranchName, dg.AssetKey]
    on_job: OnJob = lambda _job, _state, _counters: None
    execute: Execute = run_job_step
    op: OpArguments = field(default_factory=dict)

    def pipeline_asset(self, pipeline: LoadedPipeline, spec: dg.AssetSpec, name: str) -> dg.AssetsDefinition:
        """A pipeline as an asset that runs its jobs, in a step of this name."""
        keys = {branch_key(branch): self.key_of(branch) for branch in pipeline.inputs}
        deps = [dep._replace(asset_key=keys.get(dep.asset_key, dep.asset_key)) for dep in spec.deps]
        found_by = {labels.PIPELINE: str(pipeline.name), labels.BRANCH: pipeline.output.name}
        found_by |= {labels.DECLARED: pipeline.declared} if pipeline.declared else {}
        version = spec.code_version or pipeline.code_version
        whole = spec.replace_attributes(deps=deps, code_version=version, skippable=True).merge_attributes(metadata=found_by)
        step = JobStep(pipeline, spec.key, self.key_of, self.on_job, spec.code_version)
        check = dg.AssetCheckSpec(labels.JOB_CHECK, asset=spec.key, description="Whether the newest job succeeded: every datum, and no two wrote one file.")

        # A subset is allowed for the sake of sets without a job of this pipeline: only then may the check stay away too.
        @dg.multi_asset(**{**self.op, "name": name}, specs=[whole], check_specs=[check], can_subset=True)
        def run_pipeline(context: dg.AssetExecutionContext) -> StepEvents:
            with self.open(context.log.warning) as (workspace, executor):
                yield from self.execute(context, step, workspace, executor)

        return run_pipeline

    def automation(self) -> dg.Definitions:
        """A job and a sensor for each project."""
        jobs = {project: self._job(project) for project in self.snapshot.projects}
        return dg.Definitions(
            jobs=[job for found in jobs.values() for job in found],
            sensors=[self._sensor(project, found) for project, found in jobs.items()],
        )

    def _job(self, project: str) -> list[UnresolvedAssetJobDefinition]:
        """The job that runs a project's pipelines, if there are any."""
        keys = [self.keys[pipeline.output] for pipeline in self.snapshot.pipelines if pipeline.name.project == project]
        if not keys:
            return []
        description = f"Runs pipelines of project {project}: those of the commit set that the commit sensor asks for, or again on the current heads."
        return [dg.define_asset_job(job_name(project), dg.AssetSelection.assets(*keys), description=description, executor_def=dg.in_process_executor)]

    def _sensor(self, project: str, jobs: Sequence[UnresolvedAssetJobDefinition]) -> dg.SensorDefinition:
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
        """The workspace, in which the declared pipelines are as declared, and what runs its datums."""
        workspace = open_workspace(self.environ)
        try:
            apply_declared(workspace, [declared_of(pipeline) for pipeline in self.snapshot.pipelines if pipeline.declared])
            with LocalExecutor(self.environ, warn=warn) as executor:
                yield workspace, executor
        finally:
            workspace.close()


def declared_of(pipeline: LoadedPipeline) -> DeclaredPipeline:
    """What a project declared a pipeline with."""
    return DeclaredPipeline(UserSpec(pipeline.declared), pipeline.name.project, pipeline)
