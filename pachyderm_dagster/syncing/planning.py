"""From what is declared to what has to be done: everything is checked here, against what there is, and nothing is changed."""

import contextlib
import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from pachyderm_dagster.argo.checking import check_object
from pachyderm_dagster.argo.kept_objects import KeptObject, KeptObjects, read_all
from pachyderm_dagster.argo.library import library_of
from pachyderm_dagster.codec import digest
from pachyderm_dagster.errors import NotFoundError, PachydermError
from pachyderm_dagster.executors.choosing import check_pods
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pfs.local_sources import files_in
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.reference_texts import parse_repo
from pachyderm_dagster.pfs.requests import Contents, CreateRepo, UpdateRepo
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.cycles import refuse_cycle_of, writers_first
from pachyderm_dagster.pps.inputs import CronInput, leaves
from pachyderm_dagster.pps.requests import CreatePipeline, DeletePipeline, Request, apply, effective_spec, spec_of
from pachyderm_dagster.pps.source_folder import look_at_folder
from pachyderm_dagster.pps.spec import PipelineSpec, to_document
from pachyderm_dagster.pps.strict import Place
from pachyderm_dagster.syncing.declaring import Declared, DeclaredPipeline
from pachyderm_dagster.syncing.differences import PIPELINE, REPO, Action, Change, Thing, Wanted, changes_of, object_name
from pachyderm_dagster.workspace import Workspace


@dataclass(frozen=True, slots=True)
class PlannedPipeline:
    """A pipeline that is declared.

    Attributes:
        request: makes it; its source folder was looked at and is not stored.
        spec: what comes of it.
        folder: of its source, if it has one.
    """

    declared: DeclaredPipeline
    request: CreatePipeline
    spec: PipelineSpec
    folder: Path | None

    @property
    def reads(self) -> list[RepoName]:
        """The repos that others fill."""
        project = self.spec.pipeline.in_project(self.request.project).project
        return [leaf.repo_name(project) for leaf in leaves(self.spec.input) if not isinstance(leaf, CronInput)]


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be done.

    Attributes:
        things: all that is declared.
        pipelines: all that are declared.
    """

    declared: Declared
    things: tuple[Thing, ...]
    pipelines: Mapping[RepoName, PlannedPipeline]
    changes: tuple[Change, ...]


def plan(workspace: Workspace, declared: Declared, owned: Iterable[Thing], root: Path, *, project: str, prune: bool) -> Plan:
    """What has to be done for a home to be as declared.

    Args:
        owned: what was declared the time before.
        root: the files of the repository; source folders are within it.

    Raises:
        PachydermError: as `check_object`, `choosing.check_pods` and what makes pipelines, with the file and line of what is declared.
    """
    objects = KeptObjects(Path(workspace.settings.home))
    _check_objects(objects, declared)
    now = workspace.database.clock.now()
    with workspace.database.read() as txn:
        planned: dict[RepoName, PlannedPipeline] = {}
        _check_projects(txn, {name: one.place.field("repo") for name, one in declared.repos.items()})
        for name, one in declared.pipelines.items():
            with _told_at(one.place):
                _check_projects(txn, {name: one.place.field("pipeline")})
                planned[name] = _planned(txn, one, root, project, now)
                _check_projects(txn, dict.fromkeys(planned[name].reads, one.place.field("input")))
                workspace.secrets.check_uses(planned[name].spec)
        ordered = {name: planned[name] for name in _in_order(planned)}
        wanted = _wanted(txn, declared, ordered)
        there = _there(txn, objects, {*wanted, *owned})
        found = Plan(declared, tuple(_explicit(declared)), ordered, tuple(changes_of(wanted, there, set(owned), prune=prune)))
        _try(txn, found)
    for name in changed_pipelines(found):
        with _told_at(found.pipelines[name].declared.place):
            check_pods(workspace.settings, [found.pipelines[name].spec], project, tell=declared.notes.append)
    return found


def requests_of(found: Plan, pipeline_requests: Mapping[RepoName, CreatePipeline]) -> list[Request]:
    """What is asked of the record, in its order: repos, pipelines after what they read, and what goes."""
    asked: list[Request] = []
    doomed: list[RepoName] = []
    for change in found.changes:
        if change.thing.kind not in (REPO, PIPELINE):
            continue
        name = parse_repo(change.thing.name)
        match change.thing.kind, change.action:
            case kind, Action.CREATE if kind == REPO:
                asked.append(CreateRepo(name, _description(found.declared, name)))
            case kind, Action.UPDATE if kind == REPO:
                asked.append(UpdateRepo(name, _description(found.declared, name)))
            case _, Action.CREATE | Action.UPDATE:
                asked.append(pipeline_requests[name])
            case _, Action.REMOVE:
                doomed.append(name)
            case _:
                pass
    return [*asked, DeletePipeline(doomed[0], others=tuple(doomed[1:]))] if doomed else asked


@contextlib.contextmanager
def _told_at(place: Place) -> Iterator[None]:
    """Has what is refused in a block begin with where it is declared."""
    try:
        yield
    except PachydermError as error:
        if error.message.startswith(f"{place.source}:"):
            raise
        raise type(error)(error.code, f"{place}: {error.message}") from error


def _check_objects(objects: KeptObjects, declared: Declared) -> None:
    """Whether all that workflows name is there, in what is declared or in what the home keeps."""
    others = [kept for kept in objects.list() if kept.name not in declared.objects]
    library = library_of([*read_all(others), *declared.reads.values()])
    for read in declared.reads.values():
        check_object(read, library)


def _check_projects(txn: Transaction, named: Mapping[RepoName, Place]) -> None:
    known = repos.project_names(txn)
    for name, place in named.items():
        if name.project not in known:
            problem = f"project {name.project!r} does not exist; projects: {', '.join(map(repr, known))}"
            raise NotFoundError("project-not-found", f"{place}: {problem}; `pachctl create project {name.project}` makes it")


def _in_order(planned: Mapping[RepoName, PlannedPipeline]) -> list[RepoName]:
    """Pipelines after those that they read."""
    reads = {name: one.reads for name, one in planned.items()}
    for name, one in planned.items():
        with _told_at(one.declared.place):
            refuse_cycle_of(reads, name)
    return writers_first(reads)


def _planned(txn: Transaction, one: DeclaredPipeline, root: Path, project: str, now: Any) -> PlannedPipeline:
    request = CreatePipeline("", project, update=True, user=one.user)
    build = effective_spec(txn, request).transform.build
    folder = None
    if build is not None:
        place = one.place.field("transform").field("build").field("path")
        folder = Path(os.path.normpath(one.file.parent / build.path))
        if not folder.is_relative_to(root):
            raise place.invalid(f"{build.path!r} is outside of the repository; name a folder in it")
        if not folder.is_dir():
            problem = "is a file" if folder.exists() else "is not in the repository"
            raise place.invalid(f"{build.path!r} {problem}; name a folder from where this file stands")
        _check_links(folder, root, place)
        request = msgspec.structs.replace(request, source=look_at_folder(str(folder), now, but=str(one.file)))
    spec, _ = spec_of(txn, request)
    return PlannedPipeline(one, request, spec, folder)


def _check_links(folder: Path, root: Path, place: Place) -> None:
    """Whether all that a source folder leads to is of the repository: links are followed, and whoever writes it is not whoever syncs."""
    real = root.resolve()
    is_ours = functools.cache(lambda path: Path(path).resolve().is_relative_to(real))
    for location, name in files_in(str(folder)):
        # Of files that are no links the folder says it, for all of them at once: finding where a path leads takes as long as reading a small file.
        if not is_ours(location if os.path.islink(location) else os.path.dirname(location)):
            raise place.invalid(f"{name!r} in it is a link to what is outside of the repository; remove it")


def _explicit(declared: Declared) -> list[Thing]:
    """What is declared by name, without the repos that are only read."""
    of_record = [Thing(REPO, str(name)) for name in declared.repos] + [Thing(PIPELINE, str(name)) for name in declared.pipelines]
    return of_record + [Thing(name.kind, name.name) for name in declared.objects]


def _wanted(txn: Transaction, declared: Declared, ordered: Mapping[RepoName, PlannedPipeline]) -> dict[Thing, Wanted]:
    found = {Thing(REPO, str(name)): Wanted(one.description or None, one.place.source) for name, one in declared.repos.items()}
    for one in ordered.values():
        for repo in one.reads:
            if repo not in ordered and repos.find_repo(txn, repo) is None:
                found.setdefault(Thing(REPO, str(repo)), Wanted(None, one.declared.place.source))
    found |= {Thing(PIPELINE, str(name)): Wanted(_text(to_document(one.spec)), one.declared.place.source) for name, one in ordered.items()}
    return found | {Thing(name.kind, name.name): Wanted(_object_text(kept), kept.source) for name, kept in declared.objects.items()}


def _there(txn: Transaction, objects: KeptObjects, things: Iterable[Thing]) -> dict[Thing, str]:
    """What there is of things."""
    found = {}
    for thing in things:
        name = object_name(thing)
        if name is not None:
            kept = objects.find(name)
            now = None if kept is None else _object_text(kept)
        elif thing.kind == PIPELINE:
            pipeline = pipelines.find_pipeline(txn, parse_repo(thing.name))
            now = None if pipeline is None else _text(to_document(pipeline.spec))
        else:
            repo = parse_repo(thing.name)
            now = None if repos.find_repo(txn, repo) is None else repos.inspect_repo(txn, repo).description
        if now is not None:
            found[thing] = now
    return found


def _text(document: Any) -> str:
    return yaml.safe_dump(document, allow_unicode=True, width=120)


def _object_text(kept: KeptObject) -> str:
    """An object for people; what a Secret says shows only whether it is another."""
    if kept.name.kind != "Secret":
        return _text(kept.document)
    hidden = {key: _hidden(value) for key, value in kept.document.items() if key in ("data", "stringData")}
    return _text({**kept.document, **hidden})


def _hidden(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {key: f"({digest('secret', [str(value).encode()]).hex()[:12]})" for key, value in values.items()}


def _description(declared: Declared, name: RepoName) -> str:
    return declared.repos[name].description if name in declared.repos else ""


def _try(txn: Transaction, found: Plan) -> None:
    """Does it in a transaction that is never committed, so that whatever would be refused is refused."""
    for request in requests_of(found, {name: one.request for name, one in found.pipelines.items()}):
        if isinstance(request, CreatePipeline) and request.user is not None:
            with _told_at(found.pipelines[request.user.pipeline.in_project(request.project)].declared.place):
                apply(txn, request, Contents(trial=True))
        else:
            apply(txn, request, Contents(trial=True))


def changed_pipelines(found: Plan) -> Sequence[RepoName]:
    """The pipelines that get another version, or their first."""
    return [parse_repo(change.thing.name) for change in found.changes if change.thing.kind == PIPELINE and change.action in (Action.CREATE, Action.UPDATE)]
