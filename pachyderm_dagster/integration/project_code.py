"""The code locations of a user's own Dagster project, as what reacts to commits sees them."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration.automation import job_name, sensor_name
from pachyderm_dagster.integration.branch_assets import BranchAssets
from pachyderm_dagster.integration.dagster_code import CodeLocations, LoadedRepository
from pachyderm_dagster.integration.loaded_projects import find_project, pipelines_in
from pachyderm_dagster.integration.sensor_limits import SensorLimits
from pachyderm_dagster.integration.served_projects import ServedProject
from pachyderm_dagster.integration.snapshot import AssetBranch, InputBranch, Snapshot
from pachyderm_dagster.integration.translator import PachydermTranslator, keys_elsewhere
from pachyderm_dagster.integration.web_api import launch_run
from pachyderm_dagster.pfs.model import BranchName, RepoName


@dataclass(frozen=True, slots=True)
class _Found:
    """A project where it was found."""

    repository: LoadedRepository
    served: ServedProject
    versions: Mapping[RepoName, str]
    """The code version that each pipeline's specification has there."""


@dataclass(slots=True)
class ProjectCode:
    """The code locations that these have loaded.

    A code location is loaded again, once, when the record has a pipeline that it lacks or has otherwise: somebody loaded newer code elsewhere.

    Args:
        tell: takes lines for people.
    """

    locations: CodeLocations
    tell: Callable[[str], None]
    _seen: object = None
    _projects: Mapping[str, _Found] = field(default_factory=dict)
    _tried: frozenset[tuple[RepoName, str]] = frozenset()
    """Pipelines of the record for whose sake code was loaded again."""

    def serve(self, snapshot: Snapshot) -> Mapping[str, ServedProject]:
        """The projects that have pipelines.

        Raises:
            InvalidError: `project-twice`, when two code locations load pipelines of one project.
        """
        self._find(snapshot.assets)
        other = self._other(snapshot)
        if not other <= self._tried:
            self._tried |= other
            for name in sorted({self._projects[pipeline.project].repository.location for pipeline, _ in other}):
                self.locations.reload(name)
                for location, problem in self.locations.problems().items():
                    self.tell(f"code location {location} cannot be loaded again: {problem}")
            self._find(snapshot.assets)
            other = self._other(snapshot)
        otherwise = frozenset(pipeline for pipeline, _ in other)
        return {project: _with_runs(found.served, otherwise) for project, found in self._projects.items()}

    def launch(self, project: str, keys: Sequence[dg.AssetKey], tags: Mapping[str, str]) -> None:
        """Has these assets run. Errors as `web_api.launch_run`."""
        found = self._projects[project].repository
        launch_run(self.locations.ask, found.location, job_name(project), [key.path for key in keys], tags, repository=found.name)

    def _find(self, assets: Sequence[AssetBranch]) -> None:
        seen = (self.locations.versions(), tuple(assets))
        if seen == self._seen:
            return
        found: dict[str, _Found] = {}
        for repository in self.locations.repositories():
            for project, one in _projects_in(repository, assets):
                if project in found:
                    places = f"code locations {found[project].repository.location} and {repository.location}"
                    raise InvalidError("project-twice", f"pipelines of project '{project}' are in {places}; a project belongs to one: remove it from the other")
                found[project] = one
        # Where newer code cannot be loaded, the daemon may still have the older: so does this.
        self._projects = found or self._projects
        self._seen = seen

    def _other(self, snapshot: Snapshot) -> frozenset[tuple[RepoName, str]]:
        """The pipelines that the record has otherwise than they are loaded, with their code versions."""
        here = ((one.name, one.code_version) for one in snapshot.pipelines if one.name.project in self._projects)
        return frozenset((name, version) for name, version in here if self._projects[name.project].versions.get(name) != version)


def _projects_in(repository: LoadedRepository, assets: Sequence[AssetBranch]) -> Iterator[tuple[str, _Found]]:
    graph = repository.graph
    keys, translator = keys_elsewhere(assets), PachydermTranslator()

    def usual(branch: BranchName) -> dg.AssetKey:
        return keys[branch] if branch in keys else translator.get_asset_spec(InputBranch(branch, "")).key

    loaded = BranchAssets.loaded(graph, usual)
    for project in sorted({name.project for name, _ in pipelines_in(graph)}):
        found = find_project(project, loaded)
        custom = frozenset(name for name, key in found.pipelines.items() if _text(graph, key, labels.EXECUTES))
        limits = SensorLimits.of_tags(repository.sensors.get(sensor_name(project), {}))
        versions = {name: _text(graph, key, labels.SPEC_CODE_VERSION) for name, key in found.pipelines.items()}
        yield project, _Found(repository, ServedProject(found.pipelines, loaded, found.by_set, custom, limits), versions)


def _with_runs(served: ServedProject, otherwise: frozenset[RepoName]) -> ServedProject:
    """The step of a pipeline that is declared otherwise makes it what is declared, before its jobs."""
    return dataclasses.replace(served, by_run=served.by_run | (otherwise & served.pipelines.keys()))


def _text(graph: Any, key: dg.AssetKey, label: str) -> str:
    return labels.text(graph.get(key).metadata, label) or ""
