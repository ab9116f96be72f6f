"""What of the record becomes Dagster definitions, in one look; two equal snapshots give equal definitions."""

from dataclasses import dataclass

import sqlalchemy as sa

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
    """A pipeline in its newest version."""

    name: RepoName
    version: int
    spec: PipelineSpec

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
        """What Dagster compares to tell a change of code: `v<version>-<12 digits that change with the spec's meaning>`."""
        return code_version(self.version, self.spec)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Projects, input branches and pipelines, by name."""

    projects: tuple[str, ...]
    branches: tuple[InputBranch, ...]
    pipelines: tuple[LoadedPipeline, ...]


def code_version(version: int, spec: PipelineSpec) -> str:
    """The code version of one version of a pipeline."""
    return f"v{version}-{spec.code_version()[:12]}"


def read_snapshot(txn: Transaction) -> Snapshot:
    """The snapshot of the record as it is now."""
    loaded = tuple(LoadedPipeline(pipeline.name, pipeline.version, pipeline.spec) for pipeline in pipelines.list_pipeline(txn))
    outputs = {pipeline.output for pipeline in loaded}
    rows = txn.all(
        sa.select(t.project.c.name.label("project"), t.repo.c.name.label("repo"), t.repo.c.description, t.branch.c.name.label("branch"))
        .join_from(t.branch, t.repo)
        .join(t.project)
        .where(t.repo.c.type == RepoType.USER, t.branch.c.head_id.is_not(None))
        .order_by(t.project.c.name, t.repo.c.name, t.branch.c.name)
    )
    found = (InputBranch(BranchName(RepoName(row.project, row.repo), row.branch), row.description) for row in rows)
    projects = {row.name for row in txn.all(sa.select(t.project.c.name))} | {DEFAULT_PROJECT}
    return Snapshot(tuple(sorted(projects)), tuple(branch for branch in found if branch.name not in outputs), loaded)
