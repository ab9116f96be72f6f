"""Pipelines that a Dagster project declares: read from files, and seen as a snapshot without the record."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.integration.code_places import CodePlace, place_in_file
from pachyderm_dagster.integration.snapshot import AssetBranch, InputBranch, LoadedPipeline, Snapshot
from pachyderm_dagster.integration.translator import branch_key
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, RepoName
from pachyderm_dagster.pps.cycles import refuse_cycles
from pachyderm_dagster.pps.documents import read_documents
from pachyderm_dagster.pps.effective import effective_spec
from pachyderm_dagster.pps.pipeline_files import ENDINGS, is_pipeline
from pachyderm_dagster.pps.spec import UserSpec
from pachyderm_dagster.pps.spec_reading import parse_user_specs


@dataclass(frozen=True, slots=True)
class DeclaredPipeline:
    """A pipeline as a project declares it.

    Attributes:
        user: its specification as written.
        project: the Pachyderm project of what the specification names without one.
        loaded: as it is without the defaults that only the record knows.
    """

    user: UserSpec
    project: str
    loaded: LoadedPipeline

    @property
    def name(self) -> RepoName:
        """The pipeline's full name."""
        return self.loaded.name


def declared_as(user: UserSpec, project: str, *places: CodePlace) -> DeclaredPipeline:
    """A pipeline from what a user wrote, in these places.

    Raises:
        InvalidError: `spec-invalid`; `spec-unsupported`, for a service or spout too, which no step runs, and a source folder.
    """
    spec, named = effective_spec(user, ()), user.pipeline
    name = named.in_project(project)
    if spec.runs_on:
        problem = f"pipeline '{name}' is a {spec.kind}, whose process stays and is no step of a run"
        raise InvalidError("spec-unsupported", f"{problem}; leave it out of what the project declares, and make it with `pachctl create pipeline`")
    if spec.transform.build is not None:
        problem = f"pipeline '{name}' has transform.build, and what a project declares comes without a source folder"
        raise InvalidError("spec-unsupported", f"{problem}; name the code in transform.cmd, or leave it out and make it with `pachctl update pipeline --build`")
    return DeclaredPipeline(user, project, LoadedPipeline(name, None, spec, user.document, places))


def read_declared(sources: Sequence[Path], *, project: str = DEFAULT_PROJECT) -> list[DeclaredPipeline]:
    """The pipelines of pipeline files, or of every one in folders and those below them, by path; other JSON and YAML there is passed over.

    Raises:
        NotFoundError: `source-not-found`.
        InvalidError: `spec-invalid`, `spec-unsupported`; `pipeline-twice`, when two files declare one pipeline.
    """
    found: dict[RepoName, tuple[DeclaredPipeline, Path]] = {}
    for file, text in (read for source in sources for read in _texts(source)):
        for user in parse_user_specs(text, source=str(file)):
            declared = declared_as(user, project, place_in_file(file, text, user.pipeline.name))
            if declared.name in found:
                first = found[declared.name][1]
                where = f"twice in {file}" if first == file else f"in {first} and in {file}"
                raise InvalidError("pipeline-twice", f"pipeline '{declared.name}' is declared {where}; remove one, or give it another name")
            found[declared.name] = declared, file
    return [declared for declared, _ in found.values()]


def _texts(source: Path) -> Iterator[tuple[Path, str]]:
    """A file, or the pipeline files below a folder, with what is in them."""
    if not source.exists():
        raise NotFoundError("source-not-found", f"{source} does not exist; name a pipeline file, or a folder of them")
    files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.suffix in ENDINGS and path.is_file())
    for file in files:
        try:
            text = file.read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InvalidError("spec-invalid", f"{file}: byte {error.start} is not UTF-8; it is to be JSON or YAML in UTF-8") from error
        if file == source or any(map(is_pipeline, read_documents(text, str(file)))):
            yield file, text


def declare(spec: Mapping[str, Any] | str, *places: CodePlace, project: str = DEFAULT_PROJECT) -> DeclaredPipeline:
    """A pipeline from its specification, which is in these places: a mapping, or one document of JSON or YAML.

    Raises:
        InvalidError: `spec-invalid`, `spec-unsupported`.
    """
    users = parse_user_specs(spec if isinstance(spec, str) else json.dumps(spec), source="the pipeline's specification")
    if len(users) != 1:
        raise InvalidError("spec-invalid", f"the pipeline's specification: {len(users)} documents; one pipeline is one document")
    return declared_as(users[0], project, *places)


def declared_snapshot(declared: Sequence[DeclaredPipeline], own_assets: Sequence[str] = ()) -> Snapshot:
    """The pipelines and the branches that they read and no one of them writes.

    Args:
        own_assets: keys, `project/repo`, of those branches that are assets of the project's own code, which defines them.

    Raises:
        InvalidError: `asset-invalid`, for one that no pipeline reads; `provenance-cycle`, when pipelines need each other's output.
    """
    loaded = [pipeline.loaded for pipeline in declared]
    refuse_cycles({pipeline.name: [branch.repo for branch in pipeline.inputs] for pipeline in loaded})
    outputs = {pipeline.output for pipeline in loaded}
    read = dict.fromkeys(branch for pipeline in loaded for branch in pipeline.inputs if branch not in outputs)
    keys = {branch_key(branch).to_user_string(): branch for branch in read}
    unknown = [key for key in own_assets if key not in keys]
    if unknown:
        raise InvalidError("asset-invalid", f"own asset {unknown[0]!r} is no branch that a pipeline reads; those are {', '.join(map(repr, sorted(keys)))}")
    own = {keys[key]: key for key in own_assets}
    projects = sorted({pipeline.name.project for pipeline in loaded})
    return Snapshot(
        projects=tuple(projects),
        branches=tuple(InputBranch(branch, "") for branch in read if branch not in own),
        pipelines=tuple(loaded),
        assets=tuple(AssetBranch(branch, key) for branch, key in own.items()),
    )
