"""What of a record, or of pipeline files, becomes Dagster definitions; two equal snapshots give equal definitions."""

from dataclasses import dataclass

import msgspec

from pachyderm_dagster.integration.code_places import CodePlace
from pachyderm_dagster.pfs.model import BranchName, RepoName
from pachyderm_dagster.pps.spec import PipelineSpec


@dataclass(frozen=True, slots=True)
class InputBranch:
    """A branch that users write, or that nobody writes any more."""

    name: BranchName
    description: str
    """Its repo's."""


@dataclass(frozen=True, slots=True)
class LoadedPipeline:
    """A pipeline in its newest version.

    Attributes:
        version: None of one that a Dagster project declares, as only the record counts them.
        spec: effective, as far as it is known.
        declared: JSON of what a Dagster project declares; empty when the record is what says how it is.
        places: where that is written.
    """

    name: RepoName
    version: int | None
    spec: PipelineSpec
    declared: str = ""
    places: tuple[CodePlace, ...] = ()

    @property
    def output(self) -> BranchName:
        """The branch that it writes."""
        return BranchName(self.name, self.spec.output_branch)

    @property
    def inputs(self) -> list[BranchName]:
        """The branches that it reads, each once."""
        return [BranchName(RepoName(project, repo), branch) for project, repo, branch in self.spec.upstream_branches(self.name.project)]

    @property
    def code_version(self) -> str:
        """What Dagster compares to tell a change of code: 12 digits that change with the spec's meaning."""
        return code_version(self.spec)


@dataclass(frozen=True, slots=True)
class AssetBranch:
    """A branch in which an asset of somebody else's code is kept (`PachydermIOManager`), with that asset's key, `project/repo`."""

    name: BranchName
    asset: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Projects, input branches, pipelines, and branches that are assets defined elsewhere, by name."""

    projects: tuple[str, ...]
    branches: tuple[InputBranch, ...]
    pipelines: tuple[LoadedPipeline, ...]
    assets: tuple[AssetBranch, ...] = ()


def code_version(spec: PipelineSpec) -> str:
    """The code version of a pipeline with this specification."""
    return spec.code_version()[:12]


class _StoredPipeline(msgspec.Struct, frozen=True):
    project: str
    name: str
    version: int | None
    spec: str


class _StoredSnapshot(msgspec.Struct, frozen=True):
    projects: tuple[str, ...]
    branches: tuple[tuple[str, str, str, str], ...]
    pipelines: tuple[_StoredPipeline, ...]
    assets: tuple[tuple[str, str, str, str], ...] = ()


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """A snapshot of a record as JSON."""
    return msgspec.json.encode(
        _StoredSnapshot(
            snapshot.projects,
            tuple((branch.name.repo.project, branch.name.repo.name, branch.name.name, branch.description) for branch in snapshot.branches),
            tuple(_StoredPipeline(found.name.project, found.name.name, found.version, found.spec.to_json()) for found in snapshot.pipelines),
            tuple((branch.name.repo.project, branch.name.repo.name, branch.name.name, branch.asset) for branch in snapshot.assets),
        )
    )


def decode_snapshot(data: bytes) -> Snapshot:
    """The snapshot that `encode_snapshot` wrote.

    Raises:
        msgspec.DecodeError: it did not.
    """
    found = msgspec.json.decode(data, type=_StoredSnapshot)
    return Snapshot(
        found.projects,
        tuple(InputBranch(BranchName(RepoName(project, repo), branch), description) for project, repo, branch, description in found.branches),
        tuple(LoadedPipeline(RepoName(each.project, each.name), each.version, PipelineSpec.from_json(each.spec)) for each in found.pipelines),
        tuple(AssetBranch(BranchName(RepoName(project, repo), branch), asset) for project, repo, branch, asset in found.assets),
    )
