"""Components for `dg`: pipeline files as assets, and a whole workspace as it is."""

import dataclasses
import importlib
import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeAlias

import dagster as dg
from dagster.components import DefsStateConfig, DefsStateConfigArgs, ResolvedDefsStateConfig
from dagster.components.resolved.core_models import OpSpec
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver
from pydantic import Field

from pachyderm_dagster.integration.building import PartitionBy, define
from pachyderm_dagster.integration.declared import declared_snapshot, read_declared
from pachyderm_dagster.integration.snapshot import LoadedPipeline, Snapshot, decode_snapshot, encode_snapshot
from pachyderm_dagster.integration.translator import AssetProps, PachydermTranslator
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT
from pachyderm_dagster.settings import HOME

if TYPE_CHECKING:
    from pachyderm_dagster.executors.run_job import Executor
    from pachyderm_dagster.integration.job_step import JobStep, StepEvents
    from pachyderm_dagster.workspace import Workspace

EXAMPLE = """\
# Two pipelines: each counts or adds up what the one before it left. `pachctl put file books@master:/FILE` starts them.
pipeline: {name: count}
description: The words of each book.
input: {pfs: {repo: books, glob: /*}}
transform:
  cmd: [sh]
  stdin: ["for book in /pfs/books/*; do wc -w < $book > /pfs/out/$(basename $book); done"]
---
pipeline: {name: total}
description: The words of all books.
input: {pfs: {repo: count, glob: /}}
transform:
  cmd: [sh]
  stdin: ["cat /pfs/count/* | awk '{ words += $1 } END { print words + 0 }' > /pfs/out/words"]
"""


def _template_variables(props: AssetProps) -> Mapping[str, Any]:
    branch = props.output if isinstance(props, LoadedPipeline) else props.name
    return {"props": props, "project": branch.repo.project, "repo": branch.repo.name, "branch": branch.name}


Translation: TypeAlias = Annotated[TranslationFn[AssetProps], TranslationFnResolver[AssetProps](_template_variables)]


class _Translator(PachydermTranslator):
    """Asks a component."""

    def __init__(self, component: "PachydermPipelines | PachydermWorkspace") -> None:
        self._component = component

    def get_asset_spec(self, props: AssetProps) -> dg.AssetSpec:
        return self._component.get_asset_spec(props)


class _Translated(Protocol):
    """What a component is told of assets."""

    translation: TranslationFn[AssetProps] | None
    branch_translation: TranslationFn[AssetProps] | None


class _Customized:
    """What users override of each of the components."""

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """How `dg` lists it."""
        made: dict[str, Any] = {"produces": ["asset", "asset_check", "sensor", "job", "schedule"]}
        # Dagster 1.12 takes nothing of what is produced.
        known = inspect.signature(dg.ComponentTypeSpec).parameters
        return dg.ComponentTypeSpec(tags=["pachyderm"], **{name: value for name, value in made.items() if name in known})

    def get_asset_spec(self: _Translated, props: AssetProps) -> dg.AssetSpec:
        """The asset of a pipeline, or of a branch: override it to have it otherwise."""
        spec = PachydermTranslator().get_asset_spec(props)
        translation = self.translation if isinstance(props, LoadedPipeline) else self.branch_translation
        return spec if translation is None else translation(spec, props)

    def execute(self, context: dg.AssetExecutionContext, step: "JobStep", workspace: "Workspace", executor: "Executor") -> "StepEvents":
        """What the step of a pipeline does: override it to do something before or after."""
        yield from step.run(context, workspace, executor)


def _op_arguments(op: OpSpec | None) -> dict[str, Any]:
    if op is None:
        return {}
    given = {"name": op.name, "op_tags": op.tags, "description": op.description, "pool": op.pool, "backfill_policy": op.backfill_policy}
    return {name: value for name, value in given.items() if value}


def _environ(home: str | None) -> dict[str, str]:
    return {**os.environ, HOME: home} if home else dict(os.environ)


def _define(component: "PachydermPipelines | PachydermWorkspace", snapshot: Snapshot) -> dg.Definitions:
    """The definitions of a component, as users set and override it."""
    return define(
        snapshot,
        _environ(component.home),
        _Translator(component),
        execute=component.execute,
        op=_op_arguments(component.op),
        version_by=component.version_by,
        partition_by=component.partition_by,
        is_component=True,
    )


class PipelinesScaffolder(dg.Scaffolder[Any]):
    """Writes `defs.yaml` and a pipeline file to start from."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """As `dg scaffold defs` asks for it."""
        dg.scaffold_component(request, {"specs": "pipelines.yaml"})
        (Path(request.target_path) / "pipelines.yaml").write_text(EXAMPLE)


@dg.scaffold_with(PipelinesScaffolder)
class PachydermPipelines(_Customized, dg.Component, dg.Model, dg.Resolvable):
    """Pachyderm pipelines from pipeline files: versioned assets that run in containers or processes, datum by datum, when commits come.

    The workspace's pipelines become what the files say when the commit sensor ticks or a step runs; input repos that are missing are made.
    """

    specs: str | list[str] = Field(
        description="A pipeline file (JSON or YAML), a folder of them, or a list; beside defs.yaml.", examples=["pipelines.yaml", "pipelines"]
    )
    project: str = Field(default=DEFAULT_PROJECT, description="The Pachyderm project of what the files name without one.")
    home: str | None = Field(default=None, description="As PACHYDERM_HOME, which is the default.")
    translation: Translation | None = Field(default=None, description="Changes the assets of pipelines: key, group_name, tags, owners, ...")
    branch_translation: Translation | None = Field(default=None, description="Changes the assets of the branches that pipelines read and others write.")
    op: OpSpec | None = Field(default=None, description="Name, tags, pool of the steps that run pipelines.")
    version_by: Literal["commit", "content"] = Field(
        default="commit", description="What Dagster compares to tell what is stale: commits, or what they hold, so that one which changes nothing is no news."
    )
    own_assets: list[str] = Field(
        # Not a factory: Dagster 1.12 cannot take one here with pydantic from 2.12 on. pydantic copies what it is given.
        default=[],
        description="Keys, project/repo, of branches that assets of your own code write, with PachydermIOManager.",
        examples=[["default/cars"]],
    )
    partition_by: PartitionBy | None = Field(default=None, description="`commit` makes each commit set a partition of the assets of pipelines.")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Assets, jobs, sensors and schedules; only the files are read."""
        sources = [self.specs] if isinstance(self.specs, str) else self.specs
        declared = read_declared([Path(context.path) / source for source in sources], project=self.project)
        return _define(self, declared_snapshot(declared, self.own_assets))


@dataclass
class PachydermWorkspace(_Customized, dg.StateBackedComponent, dg.Resolvable):
    """Every branch and pipeline of a workspace as it is: what `pachctl` makes is here after `dg utils refresh-defs-state`, in `dg dev` at each load.

    Attributes:
        home: as PACHYDERM_HOME, which is the default.
        projects: only these; None for all.
        version_by: what Dagster compares to tell what is stale: commits, or what they hold (`content`).
        partition_by: `commit` makes each commit set a partition of the assets of pipelines.
    """

    home: str | None = None
    projects: list[str] | None = None
    translation: Translation | None = None
    branch_translation: Translation | None = None
    op: OpSpec | None = None
    version_by: Literal["commit", "content"] = "commit"
    partition_by: PartitionBy | None = None
    defs_state: ResolvedDefsStateConfig = field(default_factory=DefsStateConfigArgs.local_filesystem)

    @property
    def defs_state_config(self) -> DefsStateConfig:
        """Where the state is kept."""
        return DefsStateConfig.from_args(self.defs_state, default_key=f"PachydermWorkspace[{self.home or 'environment'}]")

    def write_state_to_path(self, state_path: Path) -> None:
        """Looks at the workspace. Errors as `build_definitions`."""
        snapshot: Snapshot = importlib.import_module("pachyderm_dagster.integration.record_snapshot").look(_environ(self.home))
        state_path.write_bytes(encode_snapshot(snapshot))

    def build_defs_from_state(self, context: dg.ComponentLoadContext, state_path: Path | None) -> dg.Definitions:
        """What was there at that look."""
        if state_path is None:
            return dg.Definitions()
        snapshot = decode_snapshot(state_path.read_bytes())
        if self.projects is not None:
            snapshot = dataclasses.replace(
                snapshot,
                projects=tuple(name for name in snapshot.projects if name in self.projects),
                branches=tuple(branch for branch in snapshot.branches if branch.name.repo.project in self.projects),
                pipelines=tuple(pipeline for pipeline in snapshot.pipelines if pipeline.name.project in self.projects),
            )
        return _define(self, snapshot)
