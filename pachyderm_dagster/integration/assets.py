"""Branches and pipelines as assets of a Dagster project that declares them in Python, one by one or by the folder of their files."""

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration.automation import Environ, automate
from pachyderm_dagster.integration.building import Location, OpArguments, PartitionBy, branch_spec, define
from pachyderm_dagster.integration.code_places import place_of_caller
from pachyderm_dagster.integration.declared import declare, declared_as, declared_snapshot, read_declared
from pachyderm_dagster.integration.sensor_limits import SensorLimits
from pachyderm_dagster.integration.snapshot import InputBranch, LoadedPipeline, Snapshot
from pachyderm_dagster.integration.translator import PachydermTranslator, step_names, versioned
from pachyderm_dagster.pfs.model import DEFAULT_BRANCH, DEFAULT_PROJECT
from pachyderm_dagster.pfs.reference_texts import parse_reference, parse_repo
from pachyderm_dagster.pps.cycles import refuse_cycles
from pachyderm_dagster.pps.spec import UserSpec

if TYPE_CHECKING:
    from pachyderm_dagster.integration.work import Execute

# What the pipeline says itself is not among them.
_OP_ARGUMENTS = inspect.signature(dg.multi_asset).parameters.keys() - {"outs", "ins", "deps", "specs", "check_specs", "can_subset", "partitions_def"}
VersionBy: TypeAlias = Literal["commit", "content"]


def repo_asset(name: str, *, version_by: VersionBy | None = None, translator: PachydermTranslator | None = None) -> dg.AssetSpec:
    """A branch that others write, `[project/]repo[@branch]`, as an external asset: for the `deps` of your own assets, or to say more of it.

    ```python
    images = repo_asset("images").replace_attributes(description="Photos as the camera took them", owners=["team:vision"])
    ```

    Args:
        version_by: what Dagster compares to tell what is stale: `commit`, which is the default, or `content`, for which a commit that holds what the one
            before it held is no news.

    Raises:
        InvalidError: `name-invalid`, `asset-invalid`.
    """
    check_type("the name of a branch", name, str)
    branch = parse_reference(name if "@" in name else f"{name}@{DEFAULT_BRANCH}").branch()
    return branch_spec(InputBranch(branch, ""), translator or PachydermTranslator(), version_by)


def pipeline_asset(
    spec: Mapping[str, Any] | str,
    *,
    project: str = DEFAULT_PROJECT,
    version_by: VersionBy | None = None,
    partition_by: PartitionBy | None = None,
    translator: PachydermTranslator | None = None,
    environ: Environ | None = None,
    execute: "Execute | None" = None,
    **op: Any,
) -> dg.AssetsDefinition:
    """A pipeline as an asset. Its step makes the pipeline what is declared here, if it is not, and runs its jobs.

    ```python
    edges = pipeline_asset({"pipeline": {"name": "edges"}, "transform": {"cmd": ["python3", "edges.py"]}, "input": {"pfs": {"repo": "images", "glob": "/*"}}})
    defs = dg.Definitions.merge(dg.Definitions(assets=[repo_asset("images"), edges]), commit_automation([edges]))
    ```

    Args:
        spec: a pipeline specification as a mapping, or as one document of JSON or YAML.
        project: the Pachyderm project of what the specification names without one.
        version_by: as for `repo_asset`.
        partition_by: "commit" makes each commit set a partition of the asset.
        environ: names the workspace, as the environment variables do; None takes those of the process.
        execute: what the step does, `execute(context, step, workspace, executor)`, in place of `yield from step.run(context, workspace, executor)`.
        op: for `dg.multi_asset`: `op_tags`, `pool`, `retry_policy`, ...

    Raises:
        InvalidError: `spec-invalid`, `spec-unsupported`.
    """
    place = place_of_caller(1)
    declared = declare(spec, *([] if place is None else [place]), project=project)
    return asset_of(declared.loaded, op, version_by=version_by, partition_by=partition_by, translator=translator, environ=environ, execute=execute)


def asset_of(
    loaded: LoadedPipeline,
    op: OpArguments,
    *,
    version_by: VersionBy | None,
    partition_by: PartitionBy | None,
    translator: PachydermTranslator | None,
    environ: Environ | None,
    execute: "Execute | None",
) -> dg.AssetsDefinition:
    """The asset of one declared pipeline. Arguments as of `pipeline_asset`."""
    unknown = [name for name in op if name not in _OP_ARGUMENTS]
    if unknown:
        known = ", ".join(sorted(_OP_ARGUMENTS))
        raise InvalidError("asset-invalid", f"pipeline '{loaded.name}' is given {unknown[0]!r}, which is no argument of its asset; those are {known}")
    refuse_cycles({loaded.name: [branch.repo for branch in loaded.inputs]})
    using = translator or PachydermTranslator()
    found = versioned(using.get_asset_spec(loaded), version_by)
    location = Location(
        Snapshot((), (), (loaded,)), environ or os.environ, using, {loaded.output: found.key}, execute=execute, op=op, partition_by=partition_by
    )
    return location.pipeline_asset(loaded, found, op.get("name") or step_names([found])[found.key])


def commit_automation(
    assets: Sequence[dg.AssetsDefinition],
    *,
    translator: PachydermTranslator | None = None,
    environ: Environ | None = None,
    limits: SensorLimits | None = None,
) -> dg.Definitions:
    """What runs pipelines when commits come: a job and a commit sensor for each project of these assets, as `pipeline_asset` makes them,
    and a schedule for each with cron inputs.

    They run all pipelines of these projects that the code location has, whoever makes them; schedules of cron inputs are for these assets.

    Args:
        limits: how much a sensor takes at once; whoever else makes the sensor of one of these projects has to say the same.

    Raises:
        InvalidError: `asset-invalid`, for an asset that is no pipeline, or when there is none; `pipeline-twice`, when two assets are the same one.
        InvalidError: `provenance-cycle`.
    """
    loaded = list(_loaded_of(assets).values())
    projects = sorted({pipeline.name.project for pipeline in loaded})
    return automate(projects, loaded, os.environ if environ is None else environ, translator, limits)


def pachyderm_assets(
    source: str | Path | Sequence[str | Path],
    *,
    project: str = DEFAULT_PROJECT,
    own_assets: Sequence[str] = (),
    version_by: VersionBy | None = None,
    partition_by: PartitionBy | None = None,
    translator: PachydermTranslator | None = None,
    environ: Environ | None = None,
    execute: "Execute | None" = None,
    op: Mapping[str, Any] | None = None,
    limits: SensorLimits | None = None,
) -> dg.Definitions:
    """The pipelines of pipeline files as assets, with the branches that they read, and the jobs, sensors and schedules that run them.

    ```python
    @dg.definitions
    def defs() -> dg.Definitions:
        return pachyderm_assets(Path(__file__).parent / "pipelines")
    ```

    Nothing is read but these files while the code location loads. When the sensor ticks, or a step runs, the workspace's pipelines become what the files say.

    Args:
        source: a pipeline file, a folder of them, or several of both.
        project, translator, environ, execute: as for `pipeline_asset`.
        op: of the steps of all of them, for `dg.multi_asset`: `{"pool": "gpu", "op_tags": {...}}`; a `name` comes before that of each pipeline.
        version_by: as for `repo_asset`, of all of them.
        partition_by: "commit" makes each commit set a partition of these assets, which Dagster shows in a grid and runs again one by one.
        limits: as for `commit_automation`.
        own_assets: keys, `project/repo`, of branches that pipelines read and assets of your own code write, with `PachydermIOManager`.

    Raises:
        NotFoundError: `source-not-found`.
        InvalidError: `spec-invalid`, `spec-unsupported`, `pipeline-twice`; `asset-invalid`, for an own asset that no pipeline reads.
    """
    sources = [source] if isinstance(source, str | Path) else source
    declared = read_declared([Path(each) for each in sources], project=project)
    using = translator or PachydermTranslator()
    return define(
        declared_snapshot(declared, own_assets),
        environ or os.environ,
        using,
        execute=execute,
        op=op,
        version_by=version_by,
        partition_by=partition_by,
        limits=limits,
    )


def check_type(what: str, found: object, kind: type) -> None:
    """Does nothing with what is of this type. Raises InvalidError `asset-invalid`."""
    if not isinstance(found, kind):
        raise InvalidError("asset-invalid", f"{what} is {found!r}; it is to be a {kind.__name__}")


def _check_no_branch(asset: object) -> None:
    if isinstance(asset, dg.AssetSpec):
        raise InvalidError("asset-invalid", f"asset {asset.key.to_user_string()!r} is no pipeline; give what `pipeline_asset` returns, without branches")


def _loaded_of(assets: Sequence[dg.AssetsDefinition]) -> dict[dg.AssetKey, LoadedPipeline]:
    """The pipelines that assets are."""
    loaded: dict[dg.AssetKey, LoadedPipeline] = {}
    for asset in assets:
        _check_no_branch(asset)
        check_type("an asset", asset, dg.AssetsDefinition)
        for key in asset.keys:
            found = _loaded(asset, key)
            if any(found.name == other.name for other in loaded.values()):
                raise InvalidError("pipeline-twice", f"pipeline '{found.name}' is among the assets twice; remove one, or give it another name")
            loaded[key] = found
    if not loaded:
        raise InvalidError("asset-invalid", "there are no assets, so nothing would run; give what `pipeline_asset` returns")
    refuse_cycles({pipeline.name: [branch.repo for branch in pipeline.inputs] for pipeline in loaded.values()})
    return loaded


def _loaded(asset: dg.AssetsDefinition, key: dg.AssetKey) -> LoadedPipeline:
    metadata = asset.metadata_by_key[key]
    name, declared = labels.text(metadata, labels.PIPELINE), labels.text(metadata, labels.DECLARED)
    if name is None or declared is None:
        raise InvalidError("asset-invalid", f"asset {key.to_user_string()!r} is no pipeline; give what `pipeline_asset` returns")
    return declared_as(UserSpec(declared), parse_repo(name).project).loaded
