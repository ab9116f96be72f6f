"""Builds Dagster definitions of branches and pipelines: assets, and what runs them. Every way in ends here."""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.integration.automation import Environ, automate
from pachyderm_dagster.integration.column_lineage import declared_lineage
from pachyderm_dagster.integration.dagster_inner import shared
from pachyderm_dagster.integration.launch_config import PipelineConfig
from pachyderm_dagster.integration.sensor_limits import SensorLimits
from pachyderm_dagster.integration.snapshot import InputBranch, LoadedPipeline, Snapshot
from pachyderm_dagster.integration.translator import PachydermTranslator, branch_key, keys_elsewhere, of_branch, step_names, versioned
from pachyderm_dagster.pfs.model import BranchName

if TYPE_CHECKING:
    from pachyderm_dagster.integration.job_step import OnJob
    from pachyderm_dagster.integration.work import Execute

PartitionBy: TypeAlias = Literal["commit"]
OpArguments: TypeAlias = Mapping[str, Any]
"""What `dg.multi_asset` is given beside what a pipeline says: `op_tags`, `pool`, `description`, ...; and `name`, which comes before the pipeline's."""


def build_definitions(environ: Environ, *, translator: PachydermTranslator | None = None, limits: SensorLimits | None = None) -> dg.Definitions:
    """The definitions of the workspace that `environ` names, as it is now; `dg.Definitions.merge` adds them to your own.

    Args:
        limits: how much the sensor of a project takes at once.

    Raises:
        InvalidError: `config-invalid`.
        StateError: `home-version`.
    """
    snapshot = importlib.import_module("pachyderm_dagster.integration.record_snapshot").look(environ)
    return define(snapshot, environ, translator or PachydermTranslator(), limits=limits)


def define(
    snapshot: Snapshot,
    environ: Environ,
    translator: PachydermTranslator,
    *,
    on_job: "OnJob | None" = None,
    on_warning: Callable[[str], None] | None = None,
    execute: "Execute | None" = None,
    op: OpArguments | None = None,
    version_by: str | None = None,
    partition_by: PartitionBy | None = None,
    is_component: bool = False,
    limits: SensorLimits | None = None,
) -> dg.Definitions:
    """The definitions of a snapshot; their steps and sensors open the workspace that `environ` names.

    Args:
        on_job: is told by steps how far they are.
        on_warning: takes what steps have for people, beside their runs' logs.
        execute: what a step does; None for `JobStep.run`.
        op: of all steps.
        version_by: `commit` or `content`, of assets that do not say it themselves.
        partition_by: "commit" makes each commit set a partition of the pipelines' assets.
        is_component: the translator is for this component's assets only.
        limits: of the sensors.

    Raises:
        InvalidError: `asset-invalid`.
    """
    specs = {branch.name: branch_spec(branch, translator, version_by) for branch in snapshot.branches}
    specs |= {pipeline.output: versioned(translator.get_asset_spec(pipeline), version_by) for pipeline in snapshot.pipelines}
    keys = {branch: spec.key for branch, spec in specs.items()} | keys_elsewhere(snapshot.assets)
    location = Location(snapshot, dict(environ), translator, keys, on_job, execute, op or {}, partition_by, on_warning)
    names = step_names([specs[pipeline.output] for pipeline in snapshot.pipelines], prefix=str((op or {}).get("name") or ""))
    assets: list[dg.AssetSpec | dg.AssetsDefinition] = [
        *(specs[branch.name] for branch in snapshot.branches),
        *(location.pipeline_asset(pipeline, specs[pipeline.output], names[specs[pipeline.output].key]) for pipeline in snapshot.pipelines),
    ]
    # No executor and no resources: those of a code location are its owner's.
    unknown = None if is_component else translator
    return dg.Definitions.merge(dg.Definitions(assets=assets), automate(snapshot.projects, snapshot.pipelines, environ, unknown, limits))


def branch_spec(branch: InputBranch, translator: PachydermTranslator, version_by: str | None) -> dg.AssetSpec:
    """The asset of a branch that others write, with what it is found by whatever the translator says."""
    return shared(versioned(translator.get_asset_spec(branch), version_by).merge_attributes(metadata=of_branch(branch.name)))


@dataclass(frozen=True, slots=True)
class Location:
    """What is built for a code location; `keys` are the assets of its branches, outputs and those that are assets of other code included."""

    snapshot: Snapshot
    environ: Environ
    translator: PachydermTranslator
    keys: Mapping[BranchName, dg.AssetKey]
    on_job: "OnJob | None" = None
    execute: "Execute | None" = None
    op: OpArguments = field(default_factory=dict)
    partition_by: PartitionBy | None = None
    on_warning: Callable[[str], None] | None = None

    def pipeline_asset(self, pipeline: LoadedPipeline, spec: dg.AssetSpec, name: str) -> dg.AssetsDefinition:
        """A pipeline as an asset that runs its jobs, in a step of this name."""
        keys = {branch_key(branch): self.key_of(branch) for branch in pipeline.inputs}
        deps = [dep._replace(asset_key=keys.get(dep.asset_key, dep.asset_key)) for dep in spec.deps]
        found_by: dict[str, Any] = {labels.PIPELINE: str(pipeline.name), **of_branch(pipeline.output)}
        found_by |= {labels.DECLARED: pipeline.declared} if pipeline.declared else {}
        found_by |= {labels.SPEC_CODE_VERSION: pipeline.code_version, **declared_lineage(spec.key, spec.metadata)}
        found_by |= {labels.EXECUTES: "user"} if self.execute else {}
        version = spec.code_version or pipeline.code_version
        whole = spec.replace_attributes(deps=deps, code_version=version, skippable=True)
        whole = whole.merge_attributes(metadata=found_by, tags={labels.PROJECT: pipeline.name.project})
        if self.partition_by:
            whole = whole.replace_attributes(partitions_def=dg.DynamicPartitionsDefinition(name=labels.COMMIT_SETS))
        check = dg.AssetCheckSpec(labels.JOB_CHECK, asset=spec.key, description="Whether the newest job succeeded: every datum, and no two wrote one file.")

        # A subset is allowed for the sake of sets without a job of this pipeline: only then may the check stay away too. The configuration of all steps is read
        # together, from the run, when one of them makes the set.
        @dg.multi_asset(**{**self.op, "name": name}, specs=[whole], check_specs=[check], can_subset=True)
        def run_pipeline(context: dg.AssetExecutionContext, config: PipelineConfig) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
            yield from _work().run_step(self, pipeline, context)

        return run_pipeline

    def key_of(self, branch: BranchName) -> dg.AssetKey:
        """The asset of a branch; of one that is not loaded yet, the one that it will be."""
        return self.keys[branch] if branch in self.keys else self.translator.get_asset_spec(InputBranch(branch, "")).key


def _work() -> Any:
    """What steps and sensors do (`integration.work`), imported with the first that does something: it takes longer than a whole code location should."""
    return importlib.import_module("pachyderm_dagster.integration.work")
