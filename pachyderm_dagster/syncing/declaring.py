"""What the files of a folder declare, read strictly: whatever is wrong is refused with its file, line and path."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from pachyderm_dagster.argo import go_yaml
from pachyderm_dagster.argo.kept_objects import KeptObject, ObjectName, name_of
from pachyderm_dagster.argo.reading import read_object
from pachyderm_dagster.argo.workflows import Read
from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.pfs.model import RepoName, checked_project_name, checked_repo_name
from pachyderm_dagster.pps.documents import read_documents
from pachyderm_dagster.pps.pipeline_files import ENDINGS, is_pipeline
from pachyderm_dagster.pps.spec import UserSpec
from pachyderm_dagster.pps.spec_reading import read_user_spec
from pachyderm_dagster.pps.strict import Place, StrictReader, as_object


@dataclass(frozen=True, slots=True)
class DeclaredPipeline:
    """A pipeline, with the file that it stands in: its source folder is named from there."""

    user: UserSpec
    place: Place
    file: Path


@dataclass(frozen=True, slots=True)
class DeclaredRepo:
    """A repo."""

    description: str
    place: Place


@dataclass(slots=True)
class Declared:
    """All of a folder, by name.

    Attributes:
        notes: lines about fields that do nothing here.
    """

    repos: dict[RepoName, DeclaredRepo] = field(default_factory=dict)
    pipelines: dict[RepoName, DeclaredPipeline] = field(default_factory=dict)
    objects: dict[ObjectName, KeptObject] = field(default_factory=dict)
    reads: dict[ObjectName, Read] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class _NamedRepo(msgspec.Struct, frozen=True):
    name: str
    project: str = ""


class _RepoDocument(msgspec.Struct, frozen=True):
    """A repo as Pachyderm's own request to make one has it."""

    repo: _NamedRepo
    description: str = ""


@dataclass(frozen=True, slots=True)
class _Document:
    value: Any
    place: Place
    file: Path
    text: str


def read_folder(root: Path, folder: str, *, project: str) -> Declared:
    """What the JSON and YAML files of a folder, and of those below it, declare. Names that begin with a dot, and links, are passed over.

    Args:
        root: the files of the repository.
        folder: within it.
        project: of pipelines and repos that name none.

    Raises:
        NotFoundError: `sync-folder-not-found`, `source-not-found`.
        InvalidError: `spec-invalid`, `spec-unsupported`; `declared-twice`; `sync-folder-empty`.
    """
    start = root / folder
    if not start.is_dir():
        raise NotFoundError("sync-folder-not-found", f"the repository has no folder {folder!r}; those that it has at its root: {_folders(root)}")
    found = Declared()
    documents = [document for file in _files(start) for document in _documents(file, str(file.relative_to(root)))]
    sources = _source_folders(documents)
    for document in documents:
        if is_pipeline(document.value):
            _add_pipeline(found, document, project)
        elif _is_object(document.value):
            _add_object(found, document)
        elif isinstance(document.value, dict) and "repo" in document.value:
            _add_repo(found, document, project)
        elif not any(document.file.is_relative_to(source) for source in sources):
            problem = "is no pipeline (which has 'pipeline'), no repo ('repo') and no object of Argo ('kind')"
            raise document.place.invalid(f"{problem}; correct it, or move the file out of the folder")
    if not (found.repos or found.pipelines or found.objects):
        # A folder that was emptied by mistake would remove everything.
        raise InvalidError("sync-folder-empty", f"the folder {folder or '/'!r} declares nothing; name another one, or `pachctl delete sync` to end the sync")
    return found


def _folders(root: Path) -> str:
    return ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir())[:10]) or "none"


def _files(start: Path) -> Iterator[Path]:
    for folder, below, names in os.walk(start):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.suffix in ENDINGS and path.is_file() and not path.is_symlink():
                yield path


def _documents(file: Path, source: str) -> list[_Document]:
    """The documents of a file, as pipelines are read or as Argo reads them, with the line of everything."""
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidError("spec-invalid", f"{source}: byte {error.start} is not UTF-8; it is to be JSON or YAML in UTF-8") from error
    if not text.strip():
        return []
    try:
        by_argo = list(_one_by_one(go_yaml.read_documents(text, source)))
    except InvalidError:
        # JSON after JSON is no YAML.
        return [_Document(value, Place(source), file, "") for value in read_documents(text, source)]
    if all(_is_object(value) for value, _ in by_argo):
        return [_Document(value, place, file, "") for value, place in by_argo]
    values = read_documents(text, source)
    places = [place for _, place in by_argo] if len(by_argo) == len(values) else [Place(source)] * len(values)
    alone = text if len(values) == 1 else ""
    return [
        _Document(by_argo[number][0] if _is_object(value) and len(by_argo) == len(values) else value, places[number], file, alone)
        for number, value in enumerate(values)
    ]


def _one_by_one(documents: Iterator[tuple[Any, Place]]) -> Iterator[tuple[Any, Place]]:
    for value, place in documents:
        if isinstance(value, list):
            yield from ((item, place.item(index)) for index, item in enumerate(value))
        else:
            yield value, place


def _is_object(value: object) -> bool:
    return isinstance(value, dict) and ("kind" in value or "apiVersion" in value) and not is_pipeline(value)


def _source_folders(documents: list[_Document]) -> list[Path]:
    """The folders whose files are the code of pipelines, and declare nothing."""
    found = []
    for document in documents:
        transform = document.value.get("transform") if is_pipeline(document.value) else None
        build = transform.get("build") if isinstance(transform, dict) else None
        if isinstance(build, dict):
            found.append(Path(os.path.normpath(document.file.parent / str(build.get("path") or "."))))
    return found


def _add_pipeline(found: Declared, document: _Document, project: str) -> None:
    user = read_user_spec(document.value, document.place, found.notes, text=document.text)
    name = user.pipeline.in_project(project)
    if name in found.pipelines:
        raise _twice(f"pipeline '{name}'", found.pipelines[name].place, document.place)
    if name in found.repos:
        raise _also_output(name, document.place, found.repos[name].place)
    found.pipelines[name] = DeclaredPipeline(user, document.place, document.file)


def _add_repo(found: Declared, document: _Document, project: str) -> None:
    place = document.place
    given: _RepoDocument = StrictReader({}, {}, found.notes).struct(_RepoDocument, document.value, place)
    here = place.field("repo")
    try:
        name = RepoName(checked_project_name(given.repo.project or project), checked_repo_name(given.repo.name))
    except InvalidError as error:
        raise here.invalid(error.message) from error
    if name in found.repos:
        raise _twice(f"repo '{name}'", found.repos[name].place, place)
    if name in found.pipelines:
        raise _also_output(name, found.pipelines[name].place, place)
    found.repos[name] = DeclaredRepo(given.description, place)


def _add_object(found: Declared, document: _Document) -> None:
    read = read_object(as_object(document.value, document.place), document.place, found.notes)
    name = name_of(read)
    if name in found.objects:
        raise _twice(str(name), found.reads[name].place, document.place)
    found.objects[name] = KeptObject(name=name, document=document.value, source=document.place.source)
    found.reads[name] = read


def _twice(what: str, first: Place, second: Place) -> InvalidError:
    return InvalidError("declared-twice", f"{what} is declared at {first} and at {second}; remove one, or give it another name")


def _also_output(name: RepoName, pipeline: Place, repo: Place) -> InvalidError:
    problem = f"'{name}' is declared as a pipeline at {pipeline}, which has its repo by itself, and as a repo at {repo}"
    return InvalidError("declared-twice", f"{problem}; remove the repo, or give one of them another name")
