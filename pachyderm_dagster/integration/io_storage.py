"""Assets in branches, for as long as a process runs steps: opens the workspace once, writes outputs, reads inputs."""

import threading
from collections.abc import Collection, Mapping

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.integration.asset_branches import AssetStorage, partition_folder
from pachyderm_dagster.integration.dagster_inner import find_asset_layer, find_step_key, set_data_version
from pachyderm_dagster.integration.data_versions import content_version
from pachyderm_dagster.integration.io_folders import Checkouts, ReadFolder, StoredFolder, find_hash
from pachyderm_dagster.integration.io_metadata import input_table, output_metadata
from pachyderm_dagster.integration.io_outputs import Output, data_version, output_folders, write_output
from pachyderm_dagster.integration.io_versions import ChosenCommit, VersionChoice, record_version
from pachyderm_dagster.integration.pin_checks import check_pins, check_tags, read_assets
from pachyderm_dagster.integration.shown_commits import shown_commit
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.paths import ROOT
from pachyderm_dagster.values.reading import Reading, read_partitions
from pachyderm_dagster.workspace import Workspace, open_workspace

MISSING_ALLOWED = "allow_missing_partitions"
"""Metadata of an input, as Dagster's own IO managers read it."""


class OpenStorage:
    """What an IO manager does.

    Args:
        environ: the settings of the home.
        tags: of the run.
        run_pins: the keys of those pins that the run gives, and not the code, whose pins are for all runs.
    """

    def __init__(self, storage: AssetStorage, environ: Mapping[str, str], tags: Mapping[str, str], run_pins: Collection[str] = ()) -> None:
        self._storage = storage
        self._environ = environ
        self._tags = tags
        self._run_pins = run_pins
        self._lock = threading.Lock()
        self._opened: Workspace | None = None
        self._checkouts = Checkouts()
        self._read: dict[str, dict[str, ChosenCommit]] = {}

    def store(self, context: dg.OutputContext, value: object) -> None:
        """Writes an output and says so to Dagster. Errors as `write_output`."""
        workspace, output = self._workspace(), Output.of(context, self._storage)
        commit = write_output(workspace, self._storage, output, value)
        folders = output_folders(output)
        set_data_version(context, data_version(self._storage, workspace, commit, folders))
        metadata = output_metadata(workspace, commit, folders, partitioned=output.partitions is not None)
        read = self._read.get(output.step_key)
        context.add_output_metadata(metadata if read is None else {**metadata, labels.INPUTS: input_table(read)})

    def load(self, context: dg.InputContext) -> object:
        """Reads an input as the type that is asked for, and has Dagster record which commit that was.

        Raises:
            NotFoundError: `partition-missing`; and as `VersionChoice.choose`, `Reading.value`.
            InvalidError: `pin-invalid`, for a pin of the run that is of nothing that it reads.
        """
        self._check_pins(context)
        upstream = context.upstream_output
        metadata = {**(upstream.definition_metadata if upstream is not None else {}), **(context.definition_metadata or {})}
        own = self._storage.own_branch(context.asset_key, metadata)
        choice = VersionChoice(self._workspace(), context, self._storage, self._storage.branches_to_read(own), self._tags).choose()
        by_content = labels.text(metadata, labels.VERSION_BY) == labels.BY_CONTENT
        version = content_version(choice.commit) if by_content else choice.commit.id
        record_version(context, choice.commit, version, lambda commit: shown_commit(self._workspace(), commit))
        value = self._value(context, choice.commit, allow_missing=bool(metadata.get(MISSING_ALLOWED)))
        self._note(context, choice)
        return value

    def close(self, *, keep_files: bool) -> None:
        """Lets go of the workspace; of local copies too, unless somebody may still read them: then they last as long as the process."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
            self._opened = None
        if not keep_files:
            self._checkouts.close()

    def _check_pins(self, context: dg.InputContext) -> None:
        layer = find_asset_layer(context)
        if layer is not None:
            read = read_assets(layer)
            check_tags(self._tags, read)
            check_pins(self._run_pins, read)

    def _note(self, context: dg.InputContext, choice: ChosenCommit) -> None:
        """Keeps what a step read, for the metadata of what it makes.

        `add_input_metadata` would observe the asset, and Dagster takes an external asset that was observed for stale for ever (dagster#14757).
        """
        step_key = find_step_key(context)
        if step_key is not None:
            context.log.info("input %r is commit %s: %s", context.name, choice.commit, choice.reason)
            self._read.setdefault(step_key, {})[context.asset_key.to_user_string()] = choice

    def _workspace(self) -> Workspace:
        with self._lock:
            if self._opened is None:
                self._opened = open_workspace(self._environ)
            return self._opened

    def _value(self, context: dg.InputContext, commit: Commit, *, allow_missing: bool) -> object:
        asked, allow_pickle = context.dagster_type.typing_type, self._storage.allow_pickle
        if not context.has_asset_partitions:
            return Reading(self._folder(commit, ROOT), asked, allow_pickle).value()
        keys = list(context.asset_partition_keys)
        missing = [key for key in keys if find_hash(self._workspace().pfs, commit, partition_folder(key)) is None]
        if missing and not (allow_missing and len(keys) > 1):
            raise NotFoundError(
                "partition-missing",
                f"commit '{commit}' has nothing of {len(missing)} partitions of asset {context.asset_key.to_user_string()!r}: "
                f"{', '.join(map(repr, missing[:5]))}; materialize them, or set metadata {MISSING_ALLOWED!r} on the input to go without",
            )
        folders = {key: self._folder(commit, partition_folder(key)) for key in keys if key not in missing}
        if len(keys) == 1:
            return Reading(folders[keys[0]], asked, allow_pickle).value()
        return read_partitions(folders, asked, allow_pickle=allow_pickle)

    def _folder(self, commit: Commit, path: str) -> ReadFolder:
        workspace = self._workspace()
        return ReadFolder(StoredFolder.open(workspace.pfs, str(workspace.settings.home), commit, path), self._checkouts)
