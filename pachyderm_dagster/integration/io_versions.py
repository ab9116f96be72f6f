"""Which commit of an asset is read, and why; and that Dagster records just that one."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.integration.asset_branches import AssetStorage
from pachyderm_dagster.integration.commit_events import Describe, commit_materialization, find_commit_id, find_event, is_placeholder, version_of
from pachyderm_dagster.integration.dagster_inner import find_instance, find_recorded_event, find_upstream_run, record_input
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.branches import inspect_branch
from pachyderm_dagster.pfs.heads import find_readable_head
from pachyderm_dagster.pfs.model import BranchName, Commit, Origin
from pachyderm_dagster.pfs.named_commits import find_named
from pachyderm_dagster.pfs.references import find_commit
from pachyderm_dagster.pfs.short_references import commit_in
from pachyderm_dagster.workspace import Workspace


class Reason(enum.StrEnum):
    """Why a commit is the one that is read."""

    PIN = "the run pins it"
    THIS_RUN = "this run made it"
    RECORDED = "Dagster's newest materialization"
    HEAD = "the head of its branch"


@dataclass(frozen=True, slots=True)
class ChosenCommit:
    """The commit to read."""

    commit: Commit
    reason: Reason


@dataclass(frozen=True, slots=True)
class VersionChoice:
    """Looks for the commit of one input.

    Args:
        branches: where the asset may be, the first that has a commit counts.
        tags: the run's.
    """

    workspace: Workspace
    context: dg.InputContext
    storage: AssetStorage
    branches: Sequence[BranchName]
    tags: Mapping[str, str]

    def choose(self) -> ChosenCommit:
        """The commit to read.

        Raises:
            NotFoundError: `asset-empty`, when there is none; `commit-not-found`, for a pin.
        """
        key = self.context.asset_key
        pin = self.storage.find_pin(key, self.tags)
        if pin is not None:
            return ChosenCommit(self._pinned(pin), Reason.PIN)
        branch, head = self._find_head()
        made = self._made_in_run(branch)
        if made is not None:
            return ChosenCommit(made, Reason.THIS_RUN)
        recorded = self._recorded(branch)
        # A commit that somebody made by hand counts at once: Dagster has only not been told yet. What its runs write counts when they say so.
        if recorded is not None and (recorded.id == head.id or is_dagsters(head)):
            return ChosenCommit(recorded, Reason.RECORDED)
        return ChosenCommit(head, Reason.HEAD)

    def _pinned(self, pin: str) -> Commit:
        repo = self.branches[-1].repo
        with self.workspace.database.read() as txn:
            return commits.get_commit(txn, find_commit(txn, commit_in(repo, pin, project=self.storage.project)))

    def _find_head(self) -> tuple[BranchName, Commit]:
        """The first branch that has a readable commit, and that."""
        with self.workspace.database.read() as txn:
            for branch in self.branches:
                head = find_readable_head(txn, branch)
                # The empty commit of a pipeline's output is data, that of a branch which a pipeline only reads is none yet.
                if head is not None and not (is_placeholder(head) and not inspect_branch(txn, branch).direct_provenance):
                    return branch, head
        names = ", ".join(map(repr, map(str, self.branches)))
        raise NotFoundError(
            "asset-empty",
            f"asset {self.context.asset_key.to_user_string()!r} has no commit to read: there is none on {names}; materialize it, or put files there",
        )

    def _made_in_run(self, branch: BranchName) -> Commit | None:
        """The newest commit of the asset that the run which makes this input reported."""
        run_id, instance = find_upstream_run(self.context), find_instance(self.context)
        if run_id is None or instance is None:
            return None
        records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION, ascending=False).records
        newest = next((record for record in records if (event := record.asset_materialization) and event.asset_key == self.context.asset_key), None)
        return None if newest is None else self._commit_of(newest, branch)

    def _recorded(self, branch: BranchName) -> Commit | None:
        """The commit of the materialization that Dagster takes the input to be; of one partition its newest, of several that of none."""
        instance = find_instance(self.context)
        partitions = self.context.asset_partition_keys if self.context.has_asset_partitions else None
        if instance is None or (partitions is not None and len(partitions) != 1):
            return None
        storage_id = None if partitions is not None else find_recorded_event(self.context)
        chosen = dg.AssetRecordsFilter(
            asset_key=self.context.asset_key,
            asset_partitions=None if partitions is None else list(partitions),
            storage_ids=None if storage_id is None else [storage_id],
        )
        records = instance.fetch_materializations(chosen, limit=1).records
        return self._commit_of(records[0], branch) if records else None

    def _commit_of(self, record: dg.EventLogRecord, branch: BranchName) -> Commit | None:
        """The commit of an event, if it is still there and was made on this branch."""
        id = find_commit_id(record)
        if id is None:
            return None
        with self.workspace.database.read() as txn:
            found = find_named(txn, branch.repo, id)
        return found if found is not None and found.branch == branch.name and found.finished is not None and found.error is None else None


def is_dagsters(commit: Commit) -> bool:
    """Whether a run of Dagster made a commit, and so reports it."""
    return commit.origin is Origin.AUTO or labels.WRITING_RUN in commit.metadata


def record_version(context: dg.InputContext, commit: Commit, version: str, describe: Describe) -> None:
    """Makes the run's provenance say that this commit was read; tells Dagster of it when nobody has."""
    instance = find_instance(context)
    partitions = context.asset_partition_keys if context.has_asset_partitions else None
    if instance is None or (partitions is not None and len(partitions) != 1):
        # Dagster's own hash over the versions of all of them stands.
        return
    partition = None if partitions is None else partitions[0]
    event = find_event(instance, context.asset_key, commit, version, partition=partition)
    if event is None and partition is None and not is_dagsters(commit):
        instance.report_runless_asset_event(commit_materialization(context.asset_key, commit, version, describe(commit)))
        event = find_event(instance, context.asset_key, commit, version)
    record_input(context, version_of(event, version), event, partitioned=partition is not None)
