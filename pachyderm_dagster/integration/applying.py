"""Applies the pipelines that a Dagster project declares to the record, when work begins."""

import logging
from collections.abc import Iterator, Sequence

from pachyderm_dagster.coordination.leases import hold, wait_for
from pachyderm_dagster.coordination.names import DECLARED_LEASE
from pachyderm_dagster.executors.choosing import check_pods
from pachyderm_dagster.integration.declared import DeclaredPipeline
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, RepoName
from pachyderm_dagster.pfs.requests import CreateRepo
from pachyderm_dagster.pps import defaults, pipelines
from pachyderm_dagster.pps.cycles import writers_first
from pachyderm_dagster.pps.effective import effective_spec
from pachyderm_dagster.pps.inputs import CronInput, leaves
from pachyderm_dagster.pps.requests import CreatePipeline, Request
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.workspace import Workspace

_log = logging.getLogger(__name__)


def apply_declared(workspace: Workspace, declared: Sequence[DeclaredPipeline]) -> list[RepoName]:
    """Makes the record's pipelines what is declared, all of them in one change; input repos that are missing are made. Returns what changed.

    A pipeline that is not declared any more stays: it has data. While another process applies, nothing is done.

    Raises:
        ExistsError, InvalidError, NotFoundError: as `pipelines.create_pipeline`, `SecretStore.check_uses` and `choosing.check_pods`.
    """
    if not _changed(workspace, declared):
        return []
    with hold(workspace.leases, DECLARED_LEASE, workspace.database.clock.new_id()) as held:
        return _apply(workspace, declared) if held is not None else []


def wait_applied(workspace: Workspace, declared: Sequence[DeclaredPipeline]) -> None:
    """As `apply_declared`, and waits while another process applies.

    Raises:
        ConflictError: `requests-busy`.
        ExistsError, InvalidError, NotFoundError: as `apply_declared`.
    """
    if _changed(workspace, declared):
        with wait_for(workspace.leases, DECLARED_LEASE, workspace.database.clock.new_id()):
            _apply(workspace, declared)


def _apply(workspace: Workspace, declared: Sequence[DeclaredPipeline]) -> list[RepoName]:
    changed = _changed(workspace, declared)
    if changed:
        with workspace.database.read() as txn:
            requests: list[Request] = [CreateRepo(repo) for repo in _missing_repos(txn, changed, declared)]
            specs = [_effective(txn, pipeline) for pipeline in changed]
        check_pods(workspace.settings, specs, DEFAULT_PROJECT, tell=_log.warning)
        requests += (CreatePipeline(project=pipeline.project, update=True, user=pipeline.user) for pipeline in changed)
        workspace.pps.apply_all(requests)
    return [pipeline.name for pipeline in changed]


def _changed(workspace: Workspace, declared: Sequence[DeclaredPipeline]) -> list[DeclaredPipeline]:
    """What is missing in the record, or otherwise there; what is read before its readers."""
    with workspace.database.read() as txn:
        return [pipeline for pipeline in _in_order(declared) if _differs(txn, pipeline)]


def _differs(txn: Transaction, declared: DeclaredPipeline) -> bool:
    found = pipelines.find_pipeline(txn, declared.name)
    return found is None or found.spec != _effective(txn, declared)


def _effective(txn: Transaction, declared: DeclaredPipeline) -> PipelineSpec:
    return effective_spec(declared.user, defaults.bodies_for(txn, declared.name.project))


def _in_order(declared: Sequence[DeclaredPipeline]) -> list[DeclaredPipeline]:
    """The same, writers before readers."""
    pipelines_by_name = {pipeline.name: pipeline for pipeline in declared}
    reads = {pipeline.name: [branch.repo for branch in pipeline.loaded.inputs] for pipeline in declared}
    return [pipelines_by_name[name] for name in writers_first(reads)]


def _missing_repos(txn: Transaction, changed: Sequence[DeclaredPipeline], declared: Sequence[DeclaredPipeline]) -> Iterator[RepoName]:
    made = {pipeline.name for pipeline in declared}
    for pipeline in changed:
        for leaf in leaves(pipeline.loaded.spec.input):
            repo = leaf.repo_name(pipeline.name.project)
            if not isinstance(leaf, CronInput) and repo not in made and repos.find_repo(txn, repo) is None:
                made.add(repo)
                yield repo
