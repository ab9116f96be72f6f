"""Deletes several pipelines, or all that a project holds."""

import graphlib
from collections.abc import Sequence

from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.inputs import CronInput, leaves
from pachyderm_dagster.pps.model import Pipeline


def delete_pipelines(txn: Transaction, names: Sequence[RepoName], *, force: bool = False, keep_repo: bool = False) -> list[Pipeline]:
    """Deletes pipelines, readers before what they read, and returns them as they were, in the order of `names`. Errors as `pipelines.delete_pipeline`."""
    doomed = [pipelines.get_pipeline(txn, name) for name in names]
    for name in _readers_first(txn, doomed):
        pipelines.delete_pipeline(txn, name, force=force, keep_repo=keep_repo)
    return doomed


def empty_project(txn: Transaction, project: str) -> None:
    """Deletes every pipeline and repo of a project, whoever reads them.

    Raises:
        NotFoundError: `project-not-found`.
    """
    delete_pipelines(txn, [pipeline.name for pipeline in pipelines.list_pipeline(txn, project=project)], force=True)
    for repo in repos.list_repo(txn, project=project, type=None):
        repos.delete_repo(txn, repo.name, force=True)


def _readers_first(txn: Transaction, doomed: Sequence[Pipeline]) -> list[RepoName]:
    owners = {repo: pipeline.name for pipeline in doomed for repo in _own_repos(txn, pipeline)}
    readers: dict[RepoName, set[RepoName]] = {pipeline.name: set() for pipeline in doomed}
    for pipeline in doomed:
        for project, repo, _ in pipeline.spec.upstream_branches(pipeline.name.project):
            owner = owners.get(RepoName(project, repo), pipeline.name)
            if owner != pipeline.name:
                readers[owner].add(pipeline.name)
    try:
        return list(graphlib.TopologicalSorter(readers).static_order())
    except graphlib.CycleError:
        # Only stopped pipelines can name each other in a loop; they are connected to nothing, so any order does.
        return list(readers)


def _own_repos(txn: Transaction, pipeline: Pipeline) -> list[RepoName]:
    """The repos that go with a pipeline and that others may read: its output, and the ticks of its cron inputs, old ones too."""
    inputs = [leaf for version in pipelines.list_version(txn, pipeline.name) for leaf in leaves(version.spec.input)]
    return [pipeline.name, *(leaf.repo_name(pipeline.name.project) for leaf in inputs if isinstance(leaf, CronInput))]
