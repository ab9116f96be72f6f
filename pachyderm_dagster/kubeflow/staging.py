"""Turns commits into the artifact from which user code gets its datums: every content once, and for each datum a file of shell that lays it out."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pachyderm_dagster.executors.tasks import datum_tasks
from pachyderm_dagster.exported.commits_read import find_commits, made_from
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


@dataclass(frozen=True, slots=True)
class Staged:
    """What an artifact holds: how many datums, and of which commits."""

    datums: int
    made_from: tuple[MadeFrom, ...]


def stage_datums(workspace: Workspace, spec: PipelineSpec, asked: Mapping[BranchName, str], folder: Path, *, shares: int, pinned: bool, project: str) -> Staged:
    """Fills the folder of an artifact with the datums of what a pipeline reads, dealt out to so many pods; `project` is the pipeline's.

    Errors as `find_commits`.
    """
    found = find_commits(workspace, asked, pinned=pinned)
    sources = make_sources((leaf, found[BranchName(leaf.repo_name(project), leaf.branch)]) for leaf in leaves(spec.input))
    datums = find_datums(workspace.pfs.trees, spec, sources, "")
    rows = pa.array(range(len(datums)), pa.int64())
    contents: dict[bytes, Content] = {}
    for share in range(shares):
        (folder / "datums" / str(share)).mkdir(parents=True, exist_ok=True)
    for task in datum_tasks(workspace.pfs.trees, datums, rows, sources):
        contents.update((content.hash, content) for _, content in _placed(task.inputs))
        (folder / "datums" / str(task.index % shares) / f"{task.index:08d}-{task.id}").write_text(layout(task), encoding="utf-8")
    _export(workspace, list(contents.values()), folder / "files")
    return Staged(len(datums), made_from(found))


def layout(task: DatumTask) -> str:
    """The shell file of a datum: what `datums.sh` reads before it runs the command."""
    placed = list(_placed(task.inputs))
    folders = {file.name for file in task.inputs} | {file.name + file.path.rstrip("/") for file in task.inputs if file.is_dir}
    folders |= {path.rpartition("/")[0] for path, _ in placed}
    lines = [f"d {shlex.quote(name)}" for name in sorted(folders)]
    lines += [f"f {content.hash.hex()} {shlex.quote(path)}" for path, content in placed]
    found = sorted(build_environment({}, task, PFS).items())
    # As in our own workers, each line can be read by a shell.
    lines.append(f"v {shlex.join(f'{name}={shlex.quote(value)}' for name, value in found)}")
    return "\n".join([*lines, f'e() {{ env {shlex.join(f"{name}={value}" for name, value in found)} "$@"; }}', ""])


def _placed(inputs: Sequence[InputFile]) -> Iterator[tuple[str, Content]]:
    """Each file below `/pfs` with its content, once."""
    found = {file.name + path: EMPTY_CONTENT if file.empty else content for file in inputs for path, content in file.files}
    return iter(found.items())


def _export(workspace: Workspace, contents: Sequence[Content], folder: Path) -> None:
    """Writes contents, each named by its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = pa.table(content_array(contents).flatten(), ["size", "hash", "refs"])
    export_files(workspace.store, rows, [f"{folder}/{content.hash.hex()}" for content in contents])
