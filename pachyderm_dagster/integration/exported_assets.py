"""Which assets of a Dagster project are exported as pipelines of another system: those of a job, or of a selection, and what they are made by."""

import importlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
import msgspec

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.integration import labels
from pachyderm_dagster.integration.dagster_inner import selected_assets
from pachyderm_dagster.integration.loaded_projects import pipelines_in
from pachyderm_dagster.kubeflow.functions import installed_in
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.spec import PipelineName, PipelineSpec
from pachyderm_dagster.pps.spec_reading import parse_specs

# What `@dg.definitions` makes of a function; its class has no public name.
_LAZY = type(dg.definitions(lambda: dg.Definitions()))


@dataclass(frozen=True, slots=True)
class ChosenPipelines:
    """Pipelines of assets.

    Attributes:
        titles: of each the key of its asset, as people write it.
    """

    specs: list[PipelineSpec]
    titles: Mapping[RepoName, str]


def import_definitions(module: str) -> dg.Definitions:
    """The `Definitions` of a module, which has to have one.

    Raises:
        NotFoundError: `definitions-not-found`.
    """
    try:
        names = vars(importlib.import_module(module))
    except ModuleNotFoundError as error:
        raise NotFoundError("definitions-not-found", f"module {module!r} cannot be imported: {error}; name it as `dagster -m` does") from error
    found = [value for value in names.values() if isinstance(value, dg.Definitions | _LAZY)]
    if len(found) != 1:
        raise NotFoundError("definitions-not-found", f"module {module!r} has {len(found)} Definitions; name a module that has one")
    return found[0] if isinstance(found[0], dg.Definitions) else found[0]()


def choose_pipelines(definitions: dg.Definitions, *, job: str | None, selection: str | None, image: str | None, python: str) -> ChosenPipelines:
    """The pipelines of a job or a selection, or all; what no step makes is read by them, and left out.

    Args:
        image: which has those functions installed that were loaded from a folder of this machine, with `python` as its interpreter.

    Raises:
        NotFoundError: `dagster-job-not-found`, `assets-not-found`.
        InvalidError: `selection-invalid`; `export-unsupported`, for an asset that is no pipeline.
    """
    graph = definitions.resolve_asset_graph()
    pipelines = {key: name for name, key in pipelines_in(graph)}
    chosen = [key for key in _chosen(definitions, graph, job, selection, pipelines) if graph.get(key).is_executable]
    others = sorted(key.to_user_string() for key in chosen if key not in pipelines)
    if others:
        problem = f"{', '.join(others)}: no pipeline makes that, and Kubeflow runs nothing of Dagster itself"
        raise InvalidError("export-unsupported", f"{problem}; make it a `datum_asset`, or leave it out of the selection")
    if not chosen:
        raise NotFoundError("assets-not-found", "there is no asset of a pipeline to export; choose others, or declare some")
    specs = [_spec(graph.get(key).metadata, pipelines[key]) for key in chosen]
    return ChosenPipelines(
        [spec if image is None else installed_in(spec, image, python) for spec in specs], {pipelines[key]: key.to_user_string() for key in chosen}
    )


def _chosen(definitions: dg.Definitions, graph: Any, job: str | None, selection: str | None, pipelines: Collection[dg.AssetKey]) -> list[dg.AssetKey]:
    if selection is not None:
        try:
            return sorted(dg.AssetSelection.from_string(selection).resolve(graph))
        except dg.DagsterError as error:
            raise InvalidError("selection-invalid", f"{selection!r} selects nothing: {error}; write it as in Dagster's UI") from error
    if job is None:
        return sorted(pipelines)
    names = {one.name for one in definitions.resolve_all_job_defs()}
    if job not in names:
        known = ", ".join(sorted(name for name in names if not name.startswith("__"))) or "none"
        raise NotFoundError("dagster-job-not-found", f"there is no job {job!r}; there are: {known}")
    return sorted(selected_assets(definitions.resolve_job_def(job)))


def _spec(metadata: Mapping[str, Any], name: RepoName) -> PipelineSpec:
    found = metadata[labels.SPEC]
    (spec,) = parse_specs(json.dumps(found.value if isinstance(found, dg.JsonMetadataValue) else found), source=f"the asset of '{name}'", notes=[])
    return msgspec.structs.replace(spec, pipeline=PipelineName(name.name, name.project))
