"""What a loaded code location has of a project, whoever made it: found among its assets by their metadata."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.integration.branch_assets import BranchAssets
from pachyderm_dagster.integration.declared import DeclaredPipeline, declared_as
from pachyderm_dagster.pfs.model import BranchName, RepoName
from pachyderm_dagster.pfs.reference_texts import parse_repo
from pachyderm_dagster.pps.spec import UserSpec


@dataclass(frozen=True, slots=True)
class LoadedProject:
    """The assets of a project.

    Args:
        pipelines: the asset of each pipeline.
        heads: the asset of each branch that others write.
        by_set: pipelines whose partitions are commit sets.
        declared: the pipelines that code declares, and those of other projects that they read.
    """

    pipelines: Mapping[RepoName, dg.AssetKey]
    heads: Mapping[BranchName, dg.AssetKey]
    by_set: frozenset[RepoName]
    declared: tuple[DeclaredPipeline, ...]


def find_project(project: str, assets: BranchAssets) -> LoadedProject:
    """What is loaded of a project."""
    pipelines = dict(pipelines_in(assets.graph))
    own = {name: key for name, key in pipelines.items() if name.project == project}
    heads = {
        branch: key
        for branch, key in assets.keys.items()
        if branch.repo.project == project and not assets.graph.get(key).is_executable and labels.text(assets.metadata(key), labels.REPO)
    }
    texts = {name: labels.text(assets.metadata(key), labels.DECLARED) for name, key in pipelines.items()}
    declared = {name: _declared(text, name.project) for name, text in texts.items() if text is not None}
    by_set = frozenset(name for name, key in own.items() if assets.is_by_set(key))
    return LoadedProject(own, heads, by_set, tuple(_with_what_they_read(declared, own)))


def pipelines_in(graph: Any) -> Iterator[tuple[RepoName, dg.AssetKey]]:
    """The pipelines among the assets of a graph."""
    for node in graph.asset_nodes:
        name = labels.text(node.metadata, labels.PIPELINE)
        if name is not None and node.is_executable:
            yield parse_repo(name), node.key


def _with_what_they_read(declared: Mapping[RepoName, DeclaredPipeline], names: Iterable[RepoName]) -> Iterator[DeclaredPipeline]:
    """Those of the names that are declared, and the pipelines before them: one must be there when what reads it is made."""
    writers = {pipeline.loaded.output: name for name, pipeline in declared.items()}
    found: dict[RepoName, DeclaredPipeline] = {}
    frontier = [name for name in names if name in declared]
    while frontier:
        name = frontier.pop()
        if name not in found:
            found[name] = declared[name]
            frontier += (writers[branch] for branch in found[name].loaded.inputs if branch in writers)
    yield from found.values()


# A tick comes every five seconds.
@functools.lru_cache(10_000)
def _declared(text: str, project: str) -> DeclaredPipeline:
    return declared_as(UserSpec(text), project)
