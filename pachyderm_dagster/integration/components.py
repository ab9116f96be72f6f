"""Components for `dg`: pipeline files as assets, and a whole workspace as it is."""

import dataclasses
import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, Self, TypeAlias

import dagster as dg
from dagster.components import DefsStateConfig, DefsStateConfigArgs, ResolvedDefsStateConfig
from dagster.components.resolved.core_models import OpSpec
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver
from pydantic import BaseModel, Field, PrivateAttr

from pachyderm_dagster.integration.building import PartitionBy, define
from pachyderm_dagster.integration.component_types import component_type
from pachyderm_dagster.integration.declared import declared_snapshot, read_declared
from pachyderm_dagster.integration.sensor_limits import SensorLimits
from pachyderm_dagster.integration.snapshot import LoadedPipeline, Snapshot, decode_snapshot, encode_snapshot
from pachyderm_dagster.integration.translator import AssetProps, PachydermTranslator
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, RepoName
from pachyderm_dagster.pfs.reference_texts import parse_repo
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


class _TranslationResolver(TranslationFnResolver[AssetProps]):
    """Dagster's, with what a form says of it, for which its constructor has no argument."""

    def __init__(self, description: str, examples: Sequence[Mapping[str, object]]) -> None:
        super().__init__(_template_variables)
        self.description, self.examples = description, list(examples)


def _said(description: str, *examples: object) -> Any:
    """What forms and editors say of a field. A description that pydantic is given is lost where there is a default."""
    return dg.Resolver.default(description=description, examples=list(examples))


_SCOPE = "Templates have `project`, `repo`, `branch` and `props`."
PipelineTranslation: TypeAlias = Annotated[
    TranslationFn[AssetProps] | None,
    _TranslationResolver(
        f"Changes the assets of pipelines: key, group_name, tags, owners, metadata, ... {_SCOPE}",
        [{"group_name": "images", "owners": ["team:vision"]}, {"key": "raw/{{ repo }}"}],
    ),
]
BranchTranslation: TypeAlias = Annotated[
    TranslationFn[AssetProps] | None,
    _TranslationResolver(f"Changes the assets of the branches that pipelines read and others write. {_SCOPE}", [{"group_name": "sources"}]),
]
Home: TypeAlias = Annotated[str | None, _said("The workspace's folder, as PACHYDERM_HOME, which is the default.", "{{ env.PACHYDERM_HOME }}")]
Step: TypeAlias = Annotated[
    OpSpec | None,
    _said("Name, tags, description and pool of the steps that run pipelines.", {"pool": "images", "tags": {"team": "vision"}}),
]
VersionedBy: TypeAlias = Annotated[
    Literal["commit", "content"],
    _said(
        "What Dagster compares to tell what is stale: `commit`, or `content`, so that a commit which holds what the one before it held is no news.",
        "commit",
        "content",
    ),
]
Limits: TypeAlias = Annotated[
    SensorLimits | None, _said("How much the commit sensor takes at once; the same in all components of a project.", {"active_runs": 10, "runs_per_tick": 5})
]
PartitionedBy: TypeAlias = Annotated[PartitionBy | None, _said("`commit` makes each commit set a partition of the assets of pipelines.", "commit")]


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
        return component_type("pachyderm", "asset", "asset_check", "sensor", "job", "schedule")

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
        execute=component.execute if type(component).execute is not _Customized.execute else None,
        op=_op_arguments(component.op),
        version_by=component.version_by,
        partition_by=component.partition_by,
        is_component=True,
        limits=component.limits,
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

    specs: Annotated[
        str | list[str],
        _said("A pipeline file (JSON or YAML), a folder of them, or a list; beside defs.yaml.", "pipelines.yaml", "pipelines", ["edges.json", "montage.json"]),
    ]
    project: Annotated[str, _said("The Pachyderm project of what the files name without one.", "default", "vision")] = DEFAULT_PROJECT
    home: Home = None
    translation: PipelineTranslation = None
    branch_translation: BranchTranslation = None
    op: Step = None
    version_by: VersionedBy = "commit"
    # Not a factory: Dagster 1.12 cannot take one here with pydantic from 2.12 on. pydantic copies what it is given.
    own_assets: Annotated[
        list[str],
        _said("Keys, project/repo, of branches that assets of your own code write, with PachydermIOManager.", ["default/cars"]),
    ] = Field(default=[])
    partition_by: PartitionedBy = None
    limits: Limits = None

    _folder: Path | None = PrivateAttr(default=None)

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> Self:
        """As Dagster does, and remembers where the files are, for a `PachydermWorkspace` beside it."""
        made = super().load(attributes, context)
        made._folder = Path(context.path)  # noqa: SLF001  of this class
        return made

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Assets, jobs, sensors and schedules; only the files are read."""
        return _define(self, self.read_snapshot(Path(context.path)))

    def read_snapshot(self, folder: Path | None = None) -> Snapshot:
        """What the files in the component's folder declare; nothing before it is known."""
        found = folder or self._folder
        if found is None:
            return Snapshot((), (), ())
        sources = [self.specs] if isinstance(self.specs, str) else self.specs
        return declared_snapshot(read_declared([found / source for source in sources], project=self.project), self.own_assets)


@dataclass
class PachydermWorkspace(_Customized, dg.StateBackedComponent, dg.Resolvable):
    """Every branch and pipeline of a workspace as it is: what `pachctl` makes is here after `dg utils refresh-defs-state`, in `dg dev` at each load."""

    home: Home = None
    projects: Annotated[list[str] | None, _said("Only these Pachyderm projects; all when left out.", ["default", "vision"])] = None
    translation: PipelineTranslation = None
    branch_translation: BranchTranslation = None
    op: Step = None
    version_by: VersionedBy = "commit"
    partition_by: PartitionedBy = None
    leave_out: Annotated[
        list[str],
        _said("Pipelines, project/name, that Python of this project declares. Those of PachydermPipelines are left out by themselves.", ["default/longest"]),
    ] = field(default_factory=list)
    limits: Limits = None
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
        declared = [component.read_snapshot() for component in context.component_tree.get_all_components(of_type=PachydermPipelines)]
        return _define(self, self._narrowed(decode_snapshot(state_path.read_bytes()), declared))

    def _narrowed(self, snapshot: Snapshot, declared: Sequence[Snapshot]) -> Snapshot:
        """The projects that are wanted, without the assets that the project has already: pipelines that it declares are in the workspace too once they ran."""
        made = {pipeline.name for one in declared for pipeline in one.pipelines}
        made.update(parse_repo(name) for name in self.leave_out)
        known = {branch.name for one in declared for branch in one.branches}

        def is_wanted(repo: RepoName) -> bool:
            return self.projects is None or repo.project in self.projects

        return dataclasses.replace(
            snapshot,
            projects=tuple(name for name in snapshot.projects if self.projects is None or name in self.projects),
            branches=tuple(branch for branch in snapshot.branches if is_wanted(branch.name.repo) and branch.name not in known),
            pipelines=tuple(pipeline for pipeline in snapshot.pipelines if is_wanted(pipeline.name) and pipeline.name not in made),
        )
