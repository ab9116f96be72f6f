"""Walks the commits of a project in the order in which they finished, and says which of them Dagster has not been told of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg
import msgspec

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.coordination.names import set_lease
from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.integration.branch_assets import BranchAssets
from pachyderm_dagster.integration.commit_events import (
    commit_id_of,
    commit_materialization,
    commit_metadata,
    has_event,
    is_awaited,
    newest_versions,
    provenance_tags,
)
from pachyderm_dagster.integration.job_events import inputs_table
from pachyderm_dagster.integration.job_reports import find_read, find_untold_output
from pachyderm_dagster.integration.shown_commits import shown_commit
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.finished import FinishedCommits, Seen, from_microseconds, to_microseconds
from pachyderm_dagster.pfs.heads import find_readable_head
from pachyderm_dagster.pfs.model import BranchName, Commit, Origin
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.workspace import Workspace

SHOWN_COMMITS = 50
"""Commits a tick of which more is shown than numbers: that costs a few milliseconds each, and some requests where the store is far away."""


class Walked(msgspec.Struct, frozen=True):
    """How far the walk has come: the sensor's cursor.

    Args:
        finished: time of the newest commit that was seen, in microseconds since 1970.
        since: likewise, what finished before is not looked at again; 0 in cursors of an older release, which looked at nothing before `finished`.
        seen: commits, by their rows, that finished since then and were seen.
        unsure: jobs that succeeded while their run was still going: it may have died before it told Dagster.
        awaited: commits, by their rows, that a run which is still going wrote and is about to report itself.
        silent: run ids, and since when (seconds since 1970) nobody seems to work on them.
        partitioned: the row of the newest job whose set has become a partition, where sets do.
        unloaded: pipelines with due jobs that the code location does not know, as far as that was told.
    """

    finished: int = 0
    since: int = 0
    seen: tuple[int, ...] = ()
    unsure: tuple[int, ...] = ()
    awaited: tuple[int, ...] = ()
    silent: dict[str, float] = {}
    partitioned: int = 0
    unloaded: tuple[str, ...] = ()

    def encode(self) -> str:
        """The cursor as JSON."""
        return msgspec.json.encode(self).decode()

    def to_seen(self) -> Seen:
        """How far the walk over finished commits has come."""
        return Seen(from_microseconds(self.finished), from_microseconds(self.since or self.finished), frozenset(self.seen))

    def at(self, seen: Seen) -> "Walked":
        """The same where that walk has come so far."""
        rows = tuple(sorted(name for name in seen.names if isinstance(name, int)))
        return msgspec.structs.replace(self, finished=to_microseconds(seen.time), since=to_microseconds(seen.since), seen=rows)

    @classmethod
    def decode(cls, text: str | None) -> "Walked":
        """Reads a cursor; an unreadable one, of another version, starts over, which tells Dagster nothing twice."""
        try:
            return cls() if text is None else msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError:
            return cls()


@dataclass(slots=True)
class Walk:
    """One stretch of the walk.

    Args:
        walked: where it ended.
        is_complete: no finished commit is left beyond, and none awaited.
    """

    walked: Walked
    events: list[dg.AssetMaterialization] = field(default_factory=list)
    is_complete: bool = False


def walk_commits(workspace: Workspace, instance: dg.DagsterInstance, project: str, assets: BranchAssets, walked: Walked, *, most: int) -> Walk:
    """Goes on from `walked` over `most` of the finished commits of a project and collects the events that are missing."""
    with workspace.database.read() as txn:
        news, seen = FinishedCommits(project).after(txn, walked.to_seen(), most)
        rows = {commit.key: commit for commit in commits.list_rows(txn, [one.key for one in news])}
        found = [rows[one.key] for one in news]
        job_of = {
            job.output_commit: job for commit in found if commit.origin is Origin.AUTO for job in jobs.list_job(txn, pipeline=commit.repo, set_id=commit.id)
        }
        unsure = [job for key in walked.unsure for job in jobs.list_job(txn, key=key)]
        awaited = commits.list_rows(txn, walked.awaited, oldest_first=True)
    unsure += [job_of[commit.key] for commit in found if commit.key in job_of]
    missing = _missing(instance, [*awaited, *(commit for commit in found if commit.key not in job_of)], assets)
    still_awaited = [commit.key for commit in missing if is_awaited(instance, commit, workspace.database.clock.now())]
    walk = Walk(walked, is_complete=len(found) < most and not still_awaited)
    walk.events = _events(workspace, instance, [commit for commit in missing if commit.key not in still_awaited], assets)
    still_unsure = []
    for job in unsure:
        if _is_running(workspace, instance, job):
            still_unsure.append(job.key)
            continue
        try:
            event = find_untold_output(instance, workspace, job, assets)
        except NotFoundError:
            # Deleted meanwhile, with its pipeline.
            continue
        if event is not None:
            walk.events.append(event)
    walk.walked = msgspec.structs.replace(walked.at(seen), unsure=tuple(still_unsure), awaited=tuple(still_awaited), silent={})
    return walk


def _events(workspace: Workspace, instance: dg.DagsterInstance, told: Sequence[Commit], assets: BranchAssets) -> list[dg.AssetMaterialization]:
    """The events of commits, oldest first. Of a burst the newest are shown with their content, so that the tick stays short."""
    plain = {commit.key for commit in told[:-SHOWN_COMMITS]}
    return [_event(workspace, instance, _key(commit, assets), commit, assets, is_plain=commit.key in plain) for commit in told]


def _event(
    workspace: Workspace, instance: dg.DagsterInstance, key: dg.AssetKey, commit: Commit, assets: BranchAssets, *, is_plain: bool = False
) -> dg.AssetMaterialization:
    shown = commit_metadata(commit) if is_plain else shown_commit(workspace, commit)
    version = assets.version(key, commit)
    if not commit.direct_provenance:
        return commit_materialization(key, commit, version, shown)
    # Made elsewhere from commits of this home, as a run of Kubeflow makes it.
    read = find_read(workspace, commit.key)
    consumed = {assets.key_of(BranchName(found.repo, found.branch or branch.name)): found for branch, found in read.items()}
    provenance = provenance_tags(instance, consumed, assets.version, [one for one in consumed if assets.is_by_set(one)])
    return commit_materialization(key, commit, version, {**shown, labels.INPUTS: inputs_table(read)}, provenance)


def _missing(instance: dg.DagsterInstance, found: Sequence[Commit], assets: BranchAssets) -> list[Commit]:
    """The commits on input branches of which Dagster has no event."""
    on_branches = [commit for commit in found if commit.branch is not None and assets.is_version(_key(commit, assets), commit)]
    known = newest_versions(instance, list({_key(commit, assets) for commit in on_branches}))
    return [commit for commit in on_branches if _key(commit, assets) not in known or not _is_told(instance, commit, assets)]


def _is_told(instance: dg.DagsterInstance, commit: Commit, assets: BranchAssets) -> bool:
    key = _key(commit, assets)
    return has_event(instance, key, commit, assets.version(key, commit))


def _key(commit: Commit, assets: BranchAssets) -> dg.AssetKey:
    assert commit.branch is not None
    return assets.key_of(BranchName(commit.repo, commit.branch))


def moved_heads(
    workspace: Workspace, instance: dg.DagsterInstance, heads: Mapping[BranchName, dg.AssetKey], events: list[dg.AssetMaterialization], assets: BranchAssets
) -> list[dg.AssetMaterialization]:
    """Events for input branches whose head went to a commit that is not the newest one Dagster knows, as a branch that was moved back.

    `events` are about to be reported and count as known.
    """
    newest = newest_versions(instance, list(heads.values())) | {event.asset_key: commit_id_of(event) for event in events}
    found = []
    with workspace.database.read() as txn:
        at = {branch: find_readable_head(txn, branch) for branch in heads}
    for branch, key in heads.items():
        commit = at[branch]
        if commit is not None and commit.id != newest.get(key):
            found.append(_event(workspace, instance, key, commit, assets))
    return found


def _is_running(workspace: Workspace, instance: dg.DagsterInstance, job: Job) -> bool:
    """Whether somebody is about to tell of the job's output."""
    if workspace.leases.is_held(set_lease(job.id)):
        return True
    run = None if job.run_id is None else instance.get_run_by_id(job.run_id)
    return run is not None and not run.is_finished
