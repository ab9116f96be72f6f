"""Gives the pipelines of a file their next version when it or a source folder says something else than the newest one."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from pachyderm_dagster.cli.pod_checks import check_pods
from pachyderm_dagster.cli.source_folders import SourceFolders, look_at
from pachyderm_dagster.cli.spec_files import read_text, user_specs
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.model import Job, Pipeline
from pachyderm_dagster.pps.one_file import check_together
from pachyderm_dagster.pps.requests import CreatePipeline, effective_spec
from pachyderm_dagster.pps.source_code import Source
from pachyderm_dagster.pps.spec import UserSpec
from pachyderm_dagster.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Step:
    """What a look at the file and its source folders led to.

    Attributes:
        folders: the source folders.
        made: pipelines that got a version.
        unfinished: jobs of the newest commit sets of the pipelines that have yet to end and do so by themselves, the newest first.
    """

    folders: frozenset[str]
    made: tuple[Pipeline, ...]
    unfinished: tuple[Job, ...]


def is_changed(newest: Pipeline | None, user: UserSpec, source: Source | None) -> bool:
    """Whether a pipeline is another one than its newest version; comments and the order of fields do not count."""
    if newest is None or json.loads(newest.user.document) != json.loads(user.document):
        return True
    build = newest.spec.transform.build
    return source is not None and (build is None or build.source != source.digest)


def take_over(workspace: Workspace, file: str, project: str, claim: Callable[[Collection[RepoName]], None]) -> Step:
    """Makes the versions that are to be made, as one change. Before it is looked what there is, `claim` keeps others from changing these pipelines.

    Raises:
        PachydermError: as `create pipeline` and `claim`; nothing was made.
    """
    given = read_text(file)
    sources = SourceFolders.of(given)
    requests = [CreatePipeline("", project, update=True, user=user) for user in user_specs(given)]
    names = [_name(request, project) for request in requests]
    claim(names)
    with workspace.database.read() as txn:
        specs = [effective_spec(txn, request) for request in requests]
        check_together(txn, specs, project)
        found = [sources.find(spec) for spec in specs]
        newest = [pipelines.find_pipeline(txn, name) for name in names]
    looked = {folder: look_at(folder, file) for folder in found if folder is not None}
    changed = [
        (request, folder, spec)
        for request, folder, pipeline, spec in zip(requests, found, newest, specs, strict=True)
        if is_changed(pipeline, _user(request), _of(looked, folder))
    ]
    check_pods(workspace.settings, [spec for _, _, spec in changed], project)
    asked = [_with_stored(workspace, request, folder, file) for request, folder, _ in changed]
    made = [one for each in workspace.pps.apply_all(asked) for one in each if isinstance(one, Pipeline)] if asked else []
    with workspace.database.read() as txn:
        return Step(frozenset(looked), tuple(made), tuple(_unfinished(txn, names)))


def _user(request: CreatePipeline) -> UserSpec:
    assert request.user is not None
    return request.user


def _name(request: CreatePipeline, project: str) -> RepoName:
    named = _user(request).pipeline
    return named.in_project(project)


def _of(looked: Mapping[str, Source], folder: str | None) -> Source | None:
    return None if folder is None else looked[folder]


def _with_stored(workspace: Workspace, request: CreatePipeline, folder: str | None, file: str) -> CreatePipeline:
    return request if folder is None else msgspec.structs.replace(request, source=workspace.pps.store_source(folder, but=file))


def _unfinished(txn: Transaction, names: Iterable[RepoName]) -> Iterator[Job]:
    last = [job for name in names for job in jobs.list_job(txn, pipeline=name, number=1) if not job.state.is_terminal]
    for set_id in dict.fromkeys(job.id for job in last):
        found = jobs.list_job(txn, set_id=set_id, unfinished_only=True)
        services = jobs.find_services(txn, {job.pipeline for job in found})
        yield from (job for job in found if job.pipeline not in services)
