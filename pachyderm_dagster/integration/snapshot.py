"""What of the record becomes Dagster definitions, in one look; two equal snapshots give equal definitions."""

from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, BranchName, RepoName, RepoType
from pachyderm_dagster.pps import pipelines
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
    """

    name: RepoName
    version: int | None
    spec: PipelineSpec
    declared: str = ""

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


def read_snapshot(txn: Transaction) -> Snapshot:
    """The snapshot of the record as it is now."""
    # A service or a spout is no step that Dagster runs: what it writes is a branch from outside.
    found = [pipeline for pipeline in pipelines.list_pipeline(txn) if not pipeline.spec.runs_on]
    loaded = tuple(LoadedPipeline(pipeline.name, pipeline.version, pipeline.spec) for pipeline in found)
    outputs = {pipeline.output for pipeline in loaded}
    rows = txn.all(
        sa.select(t.project.c.name.label("project"), t.repo.c.name.label("repo"), t.repo.c.description, t.branch.c.name.label("branch"), t.branch.c.metadata)
        .join_from(t.branch, t.repo)
        .join(t.project)
        .where(t.repo.c.type == RepoType.USER, t.branch.c.head_id.is_not(None))
        .order_by(t.project.c.name, t.repo.c.name, t.branch.c.name)
    )
    branches = [(InputBranch(BranchName(RepoName(row.project, row.repo), row.branch), row.description), row.metadata.get(labels.WRITING_ASSET)) for row in rows]
    projects = {row.name for row in txn.all(sa.select(t.project.c.name))} | {DEFAULT_PROJECT}
    return Snapshot(
        projects=tuple(sorted(projects)),
        branches=tuple(branch for branch, asset in branches if asset is None and branch.name not in outputs),
        pipelines=loaded,
        assets=tuple(AssetBranch(branch.name, asset) for branch, asset in branches if asset is not None and branch.name not in outputs),
    )


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
