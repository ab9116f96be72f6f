"""Changes of pipelines as data, and all requests together: what a transaction of a user may hold."""

import importlib
import json
from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import repos, requests
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, RepoName
from pachyderm_dagster.pfs.requests import Contents, FileRequest, Shown, SpecContent
from pachyderm_dagster.pps import defaults, jobs, pipelines
from pachyderm_dagster.pps.defaults import Defaults
from pachyderm_dagster.pps.deletion import delete_pipelines, empty_project
from pachyderm_dagster.pps.model import Job, Pipeline
from pachyderm_dagster.pps.pins import Pin, run_pipelines
from pachyderm_dagster.pps.source_code import Source, with_source
from pachyderm_dagster.pps.spec import PipelineSpec, UserSpec


class DeleteProject(msgspec.Struct, frozen=True, omit_defaults=True, tag="delete project", tag_field="request"):
    """As `repos.delete_project`; with `force` its pipelines and repos go first."""

    project: str
    force: bool = False


class CreatePipeline(msgspec.Struct, frozen=True, omit_defaults=True, tag="create pipeline", tag_field="request"):
    """As `pipelines.create_pipeline`.

    Args:
        spec: complete, as canonical JSON; empty when `user` is there.
        project: of what the spec names without one.
        user: what is laid upon the defaults of that time.
        source: files of `transform.build`; None for those of the version before. No transaction of a user takes it.
    """

    spec: str = ""
    project: str = DEFAULT_PROJECT
    update: bool = False
    reprocess: bool = False
    user: UserSpec | None = None
    source: Source | None = None


class StartPipeline(msgspec.Struct, frozen=True, omit_defaults=True, tag="start pipeline", tag_field="request"):
    """As `pipelines.start_pipeline`."""

    pipeline: RepoName


class StopPipeline(msgspec.Struct, frozen=True, omit_defaults=True, tag="stop pipeline", tag_field="request"):
    """As `pipelines.stop_pipeline`."""

    pipeline: RepoName


class RerunPipeline(msgspec.Struct, frozen=True, omit_defaults=True, tag="rerun pipeline", tag_field="request"):
    """As `pins.run_pipelines`."""

    pipeline: RepoName
    reprocess: bool = False
    pins: tuple[Pin, ...] = ()


class DeletePipeline(msgspec.Struct, frozen=True, omit_defaults=True, tag="delete pipeline", tag_field="request"):
    """As `deletion.delete_pipelines`; without a pipeline, of every one in a project."""

    pipeline: RepoName | None = None
    every_one_in: str = DEFAULT_PROJECT
    force: bool = False
    keep_repo: bool = False
    others: tuple[RepoName, ...] = ()
    """More pipelines beside that one."""


class StopJob(msgspec.Struct, frozen=True, omit_defaults=True, tag="stop job", tag_field="request"):
    """As `jobs.stop`; without a pipeline, every unfinished job of the set."""

    id: str
    pipeline: RepoName | None = None


class ChangeDefaults(msgspec.Struct, frozen=True, omit_defaults=True, tag="change defaults", tag_field="request"):
    """As `defaults.set_defaults` and `delete_defaults`, and of the pipelines that have other specifications then.

    Args:
        project: None for those of the cluster.
        body: JSON of the new ones; None removes those that are there.
        update: replaces those that are there.
        regenerate: each pipeline whose effective specification changes gets its next version.
        reprocess: so that these run every datum again.
    """

    project: str | None = None
    body: str | None = None
    update: bool = False
    regenerate: bool = False
    reprocess: bool = False


PipelineRequest: TypeAlias = DeleteProject | CreatePipeline | StartPipeline | StopPipeline | RerunPipeline | DeletePipeline | StopJob | ChangeDefaults
Request: TypeAlias = FileRequest | PipelineRequest
Made: TypeAlias = Shown | Pipeline | Job | Defaults


def apply(txn: Transaction, request: Request, contents: Contents) -> list[Made]:
    """Does what was asked for and returns what was made, changed or removed. Errors as the operation that the request names."""
    match request:
        case DeleteProject():
            project = repos.inspect_project(txn, request.project)
            if request.force:
                empty_project(txn, request.project)
            repos.delete_project(txn, request.project)
            return [project]
        case CreatePipeline():
            return [_create_pipeline(txn, request, contents)]
        case StartPipeline():
            pipelines.start_pipeline(txn, request.pipeline)
            return [pipelines.get_pipeline(txn, request.pipeline)]
        case StopPipeline():
            pipelines.stop_pipeline(txn, request.pipeline)
            return [pipelines.get_pipeline(txn, request.pipeline)]
        case RerunPipeline():
            run_pipelines(txn, [request.pipeline], pins=request.pins, reprocess=[request.pipeline] if request.reprocess else [])
            return [pipelines.get_pipeline(txn, request.pipeline)]
        case DeletePipeline():
            return [*_delete_pipeline(txn, request)]
        case StopJob():
            return [*_stop_job(txn, request)]
        case ChangeDefaults():
            return [*_change_defaults(txn, request, contents)]
        case _:
            return [*requests.apply(txn, request, contents)]


def effective_spec(txn: Transaction, request: CreatePipeline) -> PipelineSpec:
    """The effective specification of a pipeline that is to be made, with the defaults there are, as far as it is known without the source folder.

    Raises:
        InvalidError: `spec-invalid`, `spec-unsupported`.
    """
    return PipelineSpec.from_json(request.spec) if request.user is None else _upon_defaults(txn, request.user, _name(request).project)


def spec_of(txn: Transaction, request: CreatePipeline) -> tuple[PipelineSpec, SpecContent]:
    """The effective specification of a pipeline that is to be made, and what the commit of its version holds.

    Raises:
        InvalidError: as `effective_spec`; `source-missing`.
    """
    return with_source(txn, effective_spec(txn, request), request.source, pipelines.find_pipeline(txn, _name(request)))


def describe(request: Request) -> str:
    """What is asked for, in a line, as on the command line."""
    match request:
        case DeleteProject():
            named = request.project
        case CreatePipeline():
            verb = "update" if request.update else "create"
            return f"{verb} pipeline {_name(request)}"
        case RerunPipeline() if request.pins:
            return f"run pipeline {request.pipeline} {' '.join(map(str, request.pins))}"
        case StartPipeline() | StopPipeline() | RerunPipeline():
            named = str(request.pipeline)
        case DeletePipeline():
            named = f"--all --project {request.every_one_in}" if request.pipeline is None else " ".join(map(str, (request.pipeline, *request.others)))
        case StopJob():
            named = request.id if request.pipeline is None else f"{request.pipeline}@{request.id}"
        case ChangeDefaults():
            verb = "delete" if request.body is None else "update" if request.update else "create"
            return f"{verb} defaults {'--cluster' if request.project is None else f'--project {request.project}'}"
        case _:
            return requests.describe(request)
    return f"{request.__struct_config__.tag} {named}"


def _name(request: CreatePipeline) -> RepoName:
    named = PipelineSpec.from_json(request.spec).pipeline if request.user is None else request.user.pipeline
    return named.in_project(request.project)


def _create_pipeline(txn: Transaction, request: CreatePipeline, contents: Contents) -> Pipeline:
    spec, content = spec_of(txn, request)
    return pipelines.create_pipeline(
        txn,
        spec,
        spec_tree=contents.of_spec(txn, content),
        user=request.user,
        update=request.update,
        reprocess=request.reprocess,
        default_project=request.project,
    )


def _upon_defaults(txn: Transaction, user: UserSpec, project: str) -> PipelineSpec:
    # Imported by name because what reads specifications knows globs, and with them columns, which takes longer than most commands.
    found: PipelineSpec = importlib.import_module("pachyderm_dagster.pps.effective").effective_spec(user, defaults.bodies_for(txn, project))
    return found


def _change_defaults(txn: Transaction, request: ChangeDefaults, contents: Contents) -> Iterator[Defaults | Pipeline]:
    """Changes them and returns them, and what pipelines became of it."""
    if request.body is None:
        yield defaults.delete_defaults(txn, request.project)
    else:
        changed = Defaults(request.project, json.loads(request.body))
        defaults.set_defaults(txn, changed, update=request.update)
        yield changed
    if not request.regenerate and not request.reprocess:
        return
    for pipeline in pipelines.list_pipeline(txn, project=request.project):
        spec, content = with_source(txn, _upon_defaults(txn, pipeline.user, pipeline.name.project), None, pipeline)
        if spec != pipeline.spec:
            yield pipelines.create_pipeline(
                txn,
                spec,
                spec_tree=contents.of_spec(txn, content),
                user=pipeline.user,
                update=True,
                reprocess=request.reprocess,
                default_project=pipeline.name.project,
            )


def _delete_pipeline(txn: Transaction, request: DeletePipeline) -> list[Pipeline]:
    if request.pipeline is not None:
        named = [request.pipeline, *request.others]
    else:
        named = [pipeline.name for pipeline in pipelines.list_pipeline(txn, project=request.every_one_in)]
    return delete_pipelines(txn, named, force=request.force, keep_repo=request.keep_repo)


def _stop_job(txn: Transaction, request: StopJob) -> list[Job]:
    if request.pipeline is not None:
        found = [jobs.get_job(txn, request.pipeline, request.id)]
    else:
        found = jobs.list_job(txn, set_id=request.id, unfinished_only=True)
    for job in found:
        jobs.stop(txn, job, reason="a user stopped it")
    return [jobs.refresh(txn, job) for job in found]
