"""Writes an output of a step as one commit."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.client.changes import FileChanges
from pachyderm_dagster.errors import ExistsError, InvalidError, NotFoundError, StateError
from pachyderm_dagster.integration.asset_branches import AssetStorage, output_id, partition_folder
from pachyderm_dagster.integration.data_versions import version_of_hashes
from pachyderm_dagster.integration.io_folders import find_hash
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs import branches, repos
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, BranchName, Commit
from pachyderm_dagster.pfs.named_commits import CommitName
from pachyderm_dagster.pfs.object_metadata import MetadataEdit, ObjectKind, Operation, edit_metadata
from pachyderm_dagster.pfs.paths import ROOT
from pachyderm_dagster.values.writing import write_value
from pachyderm_dagster.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Output:
    """An output of a step that is an asset.

    Args:
        partitions: those that it holds; None for an asset without any.
        own: the branch that is the asset.
    """

    key: dg.AssetKey
    run_id: str
    step_key: str
    name: str
    partitions: tuple[str, ...] | None
    own: BranchName

    @staticmethod
    def of(context: dg.OutputContext, storage: AssetStorage) -> "Output":
        """Raises InvalidError `not-an-asset`, and as `AssetStorage.own_branch`."""
        if not context.has_asset_key:
            raise InvalidError(
                "not-an-asset",
                f"output {context.name!r} of step {context.step_key!r} is no asset, so no branch holds it; give its op another IO manager, "
                "for example `out=dg.Out(io_manager_key=...)` with dagster's FilesystemIOManager",
            )
        partitions = tuple(context.asset_partition_keys) if context.has_asset_partitions else None
        own = storage.own_branch(context.asset_key, context.definition_metadata or {})
        return Output(context.asset_key, context.run_id, context.step_key, context.name, partitions, own)


def write_output(workspace: Workspace, storage: AssetStorage, output: Output, value: object) -> Commit:
    """The commit that holds the value: made now, or found when an earlier attempt at the step made it.

    What it replaces is the whole content of the branch, or the folders of its partitions.

    Raises:
        InvalidError: `output-type`, `partitions-mismatch`; StateError: `branch-of-another-asset`, `output-branch`, `commit-open`; ConflictError: `branch-busy`.
    """
    branch = storage.written_branch(output.own)
    values = _by_folder(output, value)
    _prepare_branch(workspace.database, branch, output.key.to_user_string() if branch == output.own else "")
    name = CommitName(
        output_id(run_id=output.run_id, step_key=output.step_key, output=output.name, branch=branch, partitions=output.partitions or ()),
        f"{output.key.to_user_string()}, step {output.step_key} of run {output.run_id}",
        {labels.WRITING_RUN: output.run_id, labels.WRITING_STEP: output.step_key, labels.WRITING_ASSET: output.key.to_user_string()},
    )
    with workspace.pfs.write_once(str(branch), name) as files:
        changes = FileChanges(workspace.pfs, files)
        for folder, one in values.items():
            changes.delete_file(folder, recursive=True)
            write_value(changes, folder, one, allow_pickle=storage.allow_pickle)
    return files.commit


def data_version(storage: AssetStorage, workspace: Workspace, commit: Commit, folders: Sequence[str]) -> str:
    """The version that Dagster is to compare: the commit's id, or a hash of what its folders hold."""
    if storage.version_by == "commit":
        return commit.id
    found = [find_hash(workspace.pfs, commit, folder) or "" for folder in folders]
    return version_of_hashes(found)


def output_folders(output: Output) -> list[str]:
    """The directories that an output is in."""
    return [ROOT] if output.partitions is None else [partition_folder(partition) for partition in output.partitions]


def _by_folder(output: Output, value: object) -> dict[str, object]:
    if output.partitions is None:
        return {ROOT: value}
    if len(output.partitions) == 1:
        return {partition_folder(output.partitions[0]): value}
    if not isinstance(value, Mapping) or set(value) != set(output.partitions):
        found = f"a dict with the keys {', '.join(map(repr, list(value)[:5]))}" if isinstance(value, Mapping) else type(value).__name__
        raise InvalidError(
            "partitions-mismatch",
            f"the run makes {len(output.partitions)} partitions of asset {output.key.to_user_string()!r}, so its value is a dict by partition key "
            f"({', '.join(map(repr, output.partitions[:5]))}, ...); found {found}",
        )
    return {partition_folder(partition): value[partition] for partition in output.partitions}


def _prepare_branch(database: Database, branch: BranchName, asset: str) -> None:
    """Sees to it that there is a branch to write to.

    Args:
        asset: the key of the asset that the branch is, which it will say; empty for a branch that holds another version of one.
    """
    with database.read() as txn:
        if _is_prepared(txn, branch, asset):
            return

    def change(txn: Transaction) -> None:
        if not _is_prepared(txn, branch, asset):
            _make_branch(txn, branch, asset)

    database.write(change)


def _is_prepared(txn: Transaction, branch: BranchName, asset: str) -> bool:
    try:
        found = branches.inspect_branch(txn, branch)
    except NotFoundError:
        return False
    if found.direct_provenance:
        raise StateError("output-branch", f"branch '{branch}' is written by a pipeline, so no asset of Dagster can be kept there; keep the asset elsewhere")
    said = found.metadata.get(labels.WRITING_ASSET)
    if asset and said not in (None, asset):
        raise StateError(
            "branch-of-another-asset",
            f"branch '{branch}' is asset {said!r}, and asset {asset!r} would replace its content; keep one of them elsewhere; if the other one was renamed, "
            f"`pachctl edit metadata branch {branch} delete {labels.WRITING_ASSET}`",
        )
    return said == asset or not asset


def _make_branch(txn: Transaction, branch: BranchName, asset: str) -> None:
    if branch.repo.project != DEFAULT_PROJECT:
        with contextlib.suppress(ExistsError):
            repos.create_project(txn, branch.repo.project, description="Assets of Dagster.")
    if repos.find_repo(txn, branch.repo) is None:
        repos.create_repo(txn, branch.repo, description=f"Written by Dagster: asset {asset}." if asset else "Written by Dagster.")
    branches.ensure_branch(txn, branch)
    if asset:
        edit_metadata(txn, [MetadataEdit(ObjectKind.BRANCH, str(branch), Operation.ADD, labels.WRITING_ASSET, asset)])
