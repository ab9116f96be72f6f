"""Turns commits into the artifact from which user code gets its datums: every content once, and for each datum a file of shell that lays it out."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.executors.tasks import datum_tasks
from pachyderm_dagster.exported.commits_read import find_commits, made_from
from pachyderm_dagster.kubeflow.published import is_uri_of
from pachyderm_dagster.pfs.made_commits import MadeFrom
from pachyderm_dagster.pfs.model import BranchName
from pachyderm_dagster.pps.inputs import leaves
from pachyderm_dagster.pps.planning import find_datums, make_sources
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.storage.content import EMPTY_CONTENT, Content
from pachyderm_dagster.storage.export import export_files
from pachyderm_dagster.storage.rows import content_array
from pachyderm_dagster.worker.protocol import DatumTask, InputFile
from pachyderm_dagster.worker.stage import build_environment
from pachyderm_dagster.workspace import Workspace

PFS = "/pfs"
_IMPORTED = "@"


@dataclass(frozen=True, slots=True)
class Staged:
    """What an artifact holds: how many datums, and of which commits."""

    datums: int
    made_from: tuple[MadeFrom, ...]


def stage_datums(
    workspace: Workspace,
    spec: PipelineSpec,
    asked: Mapping[BranchName, str],
    folder: Path,
    *,
    shares: int,
    pinned: bool,
    project: str,
    imported: Mapping[BranchName, str] = MappingProxyType({}),
) -> Staged:
    """Fills the folder of an artifact with the datums of what a pipeline reads, dealt out to so many pods.

    Args:
        project: of the pipeline.
        imported: branches whose files other artifacts have, by their URIs; theirs are left out.

    Raises:
        InvalidError: `artifact-uri-invalid`, for a URI that is not that of the branch's commit; others as `find_commits`.
    """
    found = find_commits(workspace, asked, pinned=pinned)
    for branch, uri in imported.items():
        if branch not in found or not is_uri_of(uri, branch.repo, found[branch].id):
            raise InvalidError(
                "artifact-uri-invalid", f"{uri!r} is not where a commit of '{branch}' that is read lies; give the URI that `export files` prints for it"
            )
    sources = make_sources((leaf, found[BranchName(leaf.repo_name(project), leaf.branch)]) for leaf in leaves(spec.input))
    datums = find_datums(workspace.pfs.trees, spec, sources, "", workspace.scratch)
    rows = pa.array(range(len(datums)), pa.int64())
    contents: dict[bytes, Content] = {}
    numbers = _numbers(spec, list(imported), project)
    for share in range(shares):
        (folder / "datums" / str(share)).mkdir(parents=True, exist_ok=True)
    for task in datum_tasks(workspace.pfs.trees, datums, rows, sources):
        contents.update((content.hash, content) for _, source, content in _placed(task.inputs, numbers) if not source.startswith(_IMPORTED))
        (folder / "datums" / str(task.index % shares) / f"{task.index:08d}-{task.id}").write_text(layout(task, numbers), encoding="utf-8")
    _export(workspace, list(contents.values()), folder / "files")
    return Staged(len(datums), made_from(found))


def layout(task: DatumTask, imported: Mapping[str, int]) -> str:
    """The shell file of a datum: what `datums.sh` reads before it runs the command. Files of inputs that are imported are taken from there."""
    placed = list(_placed(task.inputs, imported))
    folders = {file.name for file in task.inputs} | {file.name + file.path.rstrip("/") for file in task.inputs if file.is_dir}
    folders |= {path.rpartition("/")[0] for path, _, _ in placed}
    lines = [f"d {shlex.quote(name)}" for name in sorted(folders)]
    lines += [f"f {shlex.quote(source)} {shlex.quote(path)}" for path, source, _ in placed]
    found = sorted(build_environment({}, task, PFS).items())
    # As in our own workers, each line can be read by a shell.
    lines.append(f"v {shlex.join(f'{name}={shlex.quote(value)}' for name, value in found)}")
    return "\n".join([*lines, f'e() {{ env {shlex.join(f"{name}={value}" for name, value in found)} "$@"; }}', ""])


def _numbers(spec: PipelineSpec, imported: Sequence[BranchName], project: str) -> dict[str, int]:
    """By name of an input the number of its branch among those that are imported. A name that inputs of several branches have is none of them."""
    read = {
        leaf.name: {BranchName(other.repo_name(project), other.branch) for other in leaves(spec.input) if other.name == leaf.name}
        for leaf in leaves(spec.input)
    }
    return {name: number for name, branches in read.items() for number, branch in enumerate(imported) if branches == {branch}}


def _placed(inputs: Sequence[InputFile], imported: Mapping[str, int]) -> Iterator[tuple[str, str, Content]]:
    """Each file below `/pfs`, once: its path, where it comes from, and its content."""
    found = {file.name + path: _source(file, path, content, imported) for file in inputs for path, content in file.files}
    return ((path, source, content) for path, (source, content) in found.items())


def _source(file: InputFile, path: str, content: Content, imported: Mapping[str, int]) -> tuple[str, Content]:
    if file.empty:
        return EMPTY_CONTENT.hash.hex(), EMPTY_CONTENT
    return (content.hash.hex() if file.name not in imported else f"{_IMPORTED}{imported[file.name]}{path}"), content


def _export(workspace: Workspace, contents: Sequence[Content], folder: Path) -> None:
    """Writes contents, each named by its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = pa.table(content_array(contents).flatten(), ["size", "hash", "refs"])
    export_files(workspace.store, rows, [f"{folder}/{content.hash.hex()}" for content in contents])
