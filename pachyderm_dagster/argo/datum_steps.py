"""What the steps of an exported pipeline do: find the datums of given commits, give a pod the files of one, commit what all of them wrote."""

import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa

from pachyderm_dagster.argo.artifact_files import untar
from pachyderm_dagster.errors import ExecutionError, InvalidError
from pachyderm_dagster.executors.tasks import datum_tasks
from pachyderm_dagster.exported.commits_read import find_commits, made_from
from pachyderm_dagster.exported.committing import Output, collect_folder, commit_outputs
from pachyderm_dagster.pfs.made_commits import MadeFrom
from pachyderm_dagster.pfs.model import BranchName, Commit, Origin
from pachyderm_dagster.pps.inputs import leaves
from pachyderm_dagster.pps.planning import find_datums, make_sources
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.worker.lazy_files import LazyFiles
from pachyderm_dagster.worker.protocol import DatumTask
from pachyderm_dagster.worker.stage import OUT, build_environment, stage_again
from pachyderm_dagster.workspace import Workspace

PFS = "/pfs"
_ENDING = ".tgz"


@dataclass(frozen=True, slots=True)
class Planned:
    """The datums of a pipeline.

    Attributes:
        items: of each datum its index and the values of its variables.
        made_from: the commits that are read.
    """

    items: Sequence[Mapping[str, str]]
    made_from: Sequence[MadeFrom]


def plan_datums(workspace: Workspace, spec: PipelineSpec, asked: Mapping[BranchName, str], tasks: Path, *, project: str) -> Planned:
    """The datums of a pipeline over commits; what each reads is written to `tasks`, as INDEX.json. `project` is the pipeline's.

    Args:
        asked: of each branch that is read the id of the commit, or nothing for its head.

    Raises:
        InvalidError: `commit-missing`, for a branch that is not in `asked`; as `find_datums`. Others as `find_commits`.
    """
    wanted = [(leaf, BranchName(leaf.repo_name(project), leaf.branch)) for leaf in leaves(spec.input)]
    for leaf, branch in wanted:
        if branch not in asked:
            raise InvalidError("commit-missing", f"the input '{leaf.name}' reads {branch}, of which no commit is given; give one with --commit")
    found = find_commits(workspace, asked, pinned=False)
    sources = make_sources((leaf, found[branch]) for leaf, branch in wanted)
    datums = find_datums(workspace.pfs.trees, spec, sources, "", workspace.scratch)
    tasks.mkdir(parents=True, exist_ok=True)
    variables = list(dict.fromkeys(name for leaf in leaves(spec.input) for name in (leaf.name, f"{leaf.name}_COMMIT")))
    items = []
    for task in datum_tasks(workspace.pfs.trees, datums, pa.array(range(len(datums)), pa.int64()), sources):
        # No pipes: a pod has its files before its program starts.
        whole = msgspec.structs.replace(task, inputs=tuple(msgspec.structs.replace(file, lazy=False) for file in task.inputs))
        (tasks / f"{task.index}.json").write_bytes(msgspec.json.encode(whole))
        values = build_environment({}, whole, PFS)
        del values["PFS_ROOT"]
        # A datum of an outer join may lack an input.
        items.append({"index": str(task.index), **dict.fromkeys(variables, ""), **values})
    return Planned(items, made_from(found))


def stage_datum(workspace: Workspace, task: bytes, folder: str) -> None:
    """Makes a folder what `/pfs` is for a datum: the files of its inputs, an empty `out`, and `.env`.

    Raises:
        InvalidError: `datum-invalid`.
    """
    try:
        datum = msgspec.json.decode(task, type=DatumTask)
    except msgspec.MsgspecError as error:
        raise InvalidError("datum-invalid", f"this is no datum that `argo plan` wrote: {error}; hand on one of its files") from error
    stage_again(datum, folder, workspace.pfs.reader, PFS, LazyFiles(f"{folder}/.lazy", workspace.pfs.reader))


def commit_parts(workspace: Workspace, branch: BranchName, parts: Path, read: Sequence[MadeFrom], scratch: Path) -> Commit:
    """Makes what datums wrote a commit of a branch; the head of the branch when that is it already.

    Args:
        parts: a folder with the archive of each datum's `/pfs/out`, INDEX.DATUM.tgz; without it there were no datums.
        read: the commits that the datums are of.
        scratch: an empty folder with room for all of them.

    Raises:
        InvalidError: `output-conflict`, when two datums write one path.
        ExecutionError: `output-invalid`, for what is no file. Others as `make_commit`.
    """
    outputs: list[Output] = []
    for archive in sorted(parts.glob(f"*{_ENDING}")) if parts.is_dir() else ():
        datum = archive.name.removesuffix(_ENDING).rpartition(".")[2]
        folder = scratch / datum
        with tarfile.open(archive) as opened:
            _check(opened, datum)
            untar(opened, folder)
        outputs += [Output(one.location, one.key, datum) for one in collect_folder(folder / OUT)]
    description = f"Output of pipeline {branch.repo.name} in Argo."
    return commit_outputs(workspace, branch, outputs, read, origin=Origin.AUTO, description=description)


def _check(archive: tarfile.TarFile, datum: str) -> None:
    for member in archive:
        if not (member.isfile() or member.isdir()):
            raise ExecutionError("output-invalid", f"datum {datum[:12]} wrote {member.name!r}, a link or a device, which does not leave its pod; write a copy")
