"""Source folders of pipeline files: where they are, and the pipelines that are to be made with them."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Self

import msgspec

from pachyderm_dagster.cli.asking import refuse_in_transaction
from pachyderm_dagster.cli.home import reading
from pachyderm_dagster.cli.lazy import load
from pachyderm_dagster.cli.spec_files import SpecText, user_specs
from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pps.requests import CreatePipeline, effective_spec, spec_of
from pachyderm_dagster.pps.source_code import Source
from pachyderm_dagster.pps.spec import PipelineSpec, UserSpec


@dataclass(frozen=True, slots=True)
class SourceFolders:
    """How the source folders of a pipeline file are found.

    Attributes:
        base: the folder from which paths in the file go; None when there is none, so that a pipeline keeps the source that it has.
        file: the pipeline file, which is no source where it lies in the folder.
        named: the source folder that somebody named beside the file.
    """

    base: str | None = None
    file: str | None = None
    named: str | None = None

    @classmethod
    def of(cls, given: SpecText, named: str | None = None) -> Self:
        """Those of a pipeline file."""
        return cls(given.folder, given.path, named)

    def name_in(self, user: UserSpec) -> UserSpec:
        """What a user wrote, with the folder that was named beside it."""
        if self.named is None:
            return user
        document = json.loads(user.document)
        transform = document.get("transform") or {}
        path = os.path.abspath(self.named) if self.base is None else os.path.relpath(self.named, self.base)
        build = {**(transform.get("build") or {}), "path": path}
        if build == transform.get("build"):
            return user
        # The text says something else now.
        return UserSpec(json.dumps({**document, "transform": {**transform, "build": build}}))

    def find(self, spec: PipelineSpec) -> str | None:
        """The source folder of a pipeline; None when it has none, or keeps what it has."""
        build = spec.transform.build
        if build is None:
            return None
        if self.named is not None:
            return os.path.abspath(self.named)
        return None if self.base is None else os.path.abspath(os.path.join(self.base, build.path))


NO_FOLDERS = SourceFolders()


def with_sources(environ: Mapping[str, str], requests: Sequence[CreatePipeline], folders: SourceFolders, *, dry_run: bool) -> list[CreatePipeline]:
    """The requests with the files of their source folders, which are stored unless it is a dry run.

    Raises:
        StateError: `transaction-active`.
        NotFoundError, InvalidError: as `effective_spec` and `source_folder.find_files`.
    """
    with reading(environ) as txn:
        found = [folders.find(effective_spec(txn, request)) for request in requests]
    read = {folder for folder in found if folder is not None}
    if not read:
        return list(requests)
    refuse_in_transaction(environ, "a source folder")
    sources = {folder: look_at(folder, folders.file) for folder in read} if dry_run else _store(environ, read, folders.file)
    return [request if folder is None else msgspec.structs.replace(request, source=sources[folder]) for request, folder in zip(requests, found, strict=True)]


def look_at(folder: str, file: str | None) -> Source:
    """The source in a folder, without the pipeline file; nothing is stored. Errors as `source_folder.find_files`."""
    found: Source = load("pachyderm_dagster.pps.source_folder:look_at_folder")(folder, SystemClock().now(), but=file)
    return found


def only_spec(environ: Mapping[str, str], given: SpecText, folders: SourceFolders, project: str) -> PipelineSpec:
    """The effective specification of the one pipeline in a file, as it would be if it was made now.

    Raises:
        InvalidError: `spec-invalid`, `spec-unsupported`, `source-missing`; as `source_folder.find_files`.
        NotFoundError: `source-not-found`.
    """
    specs = user_specs(given)
    if len(specs) > 1:
        raise InvalidError("spec-invalid", f"{given.source} has {len(specs)} pipelines, and this is about the datums of one; give it a file of its own")
    request = CreatePipeline("", project, user=folders.name_in(specs[0]))
    with reading(environ) as txn:
        folder = folders.find(effective_spec(txn, request))
        request = request if folder is None else msgspec.structs.replace(request, source=look_at(folder, folders.file))
        spec, _ = spec_of(txn, request)
    return spec


def _store(environ: Mapping[str, str], folders: set[str], file: str | None) -> dict[str, Source]:
    with closing(load("pachyderm_dagster.workspace:open_workspace")(environ)) as workspace:
        return {folder: workspace.pps.store_source(folder, but=file) for folder in folders}
