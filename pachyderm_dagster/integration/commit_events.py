"""Commits as materializations: what an event says, whether there is one, and the tags that say which commits an output was made from."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.storage.rows import FILE_ROWS
from pachyderm_dagster.storage.tree_reading import decode_root

PAGE = 100
CLOCKS_APART = dt.timedelta(minutes=10)
Describe: TypeAlias = Callable[[Commit], Mapping[str, dg.MetadataValue]]
"""The metadata of a commit's event."""
REPORT_TIME = dt.timedelta(minutes=1)
"""So long a commit that a run wrote is left to that run to report; later the run is taken to have died in between."""


def commit_materialization(key: dg.AssetKey, commit: Commit, metadata: Mapping[str, dg.MetadataValue]) -> dg.AssetMaterialization:
    """The event of a finished commit on an input branch."""
    return dg.AssetMaterialization(key, description=commit.description or None, metadata=metadata, tags=version_tags(commit))


def version_tags(commit: Commit) -> dict[str, str]:
    """The tags that make a commit the asset's data version."""
    return {labels.DATA_VERSION: commit.id, labels.DATA_VERSION_IS_USER_PROVIDED: "true"}


def commit_metadata(commit: Commit) -> dict[str, dg.MetadataValue]:
    """What is known of any commit."""
    found: dict[str, dg.MetadataValue] = {
        labels.COMMIT: dg.MetadataValue.text(str(commit)),
        labels.FILES: dg.MetadataValue.int(decode_root(FILE_ROWS, commit.tree).count),
        labels.BYTES: dg.MetadataValue.int(commit.size_bytes),
    }
    if commit.parent is not None:
        found[labels.PARENT] = dg.MetadataValue.text(f"{commit.repo}@{commit.parent}")
    if commit.description:
        found[labels.MESSAGE] = dg.MetadataValue.text(commit.description)
    if commit.finished is not None:
        found[labels.FINISHED] = dg.MetadataValue.timestamp(commit.finished)
    return found


def has_event(instance: dg.DagsterInstance, key: dg.AssetKey, commit: Commit) -> bool:
    """Whether the commit is a materialization of the asset already."""
    if labels.WRITING_RUN in commit.metadata:
        return find_event(instance, key, commit) is not None
    return bool(instance.get_event_tags_for_asset(key, {labels.DATA_VERSION: commit.id}))


def find_event(instance: dg.DagsterInstance, key: dg.AssetKey, commit: Commit, *, partition: str | None = None) -> dg.EventLogRecord | None:
    """The newest materialization of the asset that is this commit, whatever it has as its data version."""
    since = None
    if not instance.get_event_tags_for_asset(key, {labels.DATA_VERSION: commit.id}):
        if labels.WRITING_RUN not in commit.metadata or commit.finished is None:
            return None
        # By content its version is something else. It cannot be older than the commit, but another machine's clock may have told when that was finished.
        since = (commit.finished - CLOCKS_APART).timestamp()
    chosen = dg.AssetRecordsFilter(asset_key=key, asset_partitions=None if partition is None else [partition], after_timestamp=since)
    cursor = None
    while True:
        page = instance.fetch_materializations(chosen, limit=PAGE, cursor=cursor)
        for record in page.records:
            if find_commit_id(record) == commit.id:
                return record
        if not page.has_more:
            return None
        cursor = page.cursor


def find_commit_id(record: dg.EventLogRecord) -> str | None:
    """The id of the commit that a materialization is; None for one of another package."""
    event = record.asset_materialization
    named = None if event is None else event.metadata.get(labels.COMMIT)
    if named is None or not isinstance(named.value, str):
        return (record.event_log_entry.tags or {}).get(labels.DATA_VERSION)
    return named.value.rpartition("@")[2]


def version_of(record: dg.EventLogRecord | None, commit: Commit) -> str:
    """The data version that Dagster knows a commit by: what its event says, which is the commit's id unless it goes by content."""
    tags = {} if record is None else record.event_log_entry.tags or {}
    return tags.get(labels.DATA_VERSION, commit.id)


def is_awaited(instance: dg.DagsterInstance, commit: Commit, now: dt.datetime) -> bool:
    """Whether the run of this instance that wrote a commit may be about to report it."""
    run_id = commit.metadata.get(labels.WRITING_RUN)
    if run_id is None or commit.finished is None or now - commit.finished > REPORT_TIME:
        return False
    run = instance.get_run_by_id(run_id)
    return run is not None and not run.is_finished


def newest_versions(instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> dict[dg.AssetKey, str]:
    """The commit id of each asset's newest materialization; assets without one are left out."""
    found = {}
    for record in instance.get_asset_records(keys) if keys else ():
        newest = record.asset_entry.last_materialization_record
        version = None if newest is None else find_commit_id(newest)
        if version is not None:
            found[record.asset_entry.asset_key] = version
    return found


def ensure_events(instance: dg.DagsterInstance, key: dg.AssetKey, history: Iterable[Commit], describe: Describe) -> None:
    """Reports the newest commit of `history` (newest first) unless that was done, and before it those of its ancestors that were not."""
    missing = []
    for commit in history:
        if has_event(instance, key, commit):
            break
        missing.append(commit)
    for commit in reversed(missing):
        instance.report_runless_asset_event(commit_materialization(key, commit, describe(commit)))


def provenance_tags(instance: dg.DagsterInstance, consumed: Mapping[dg.AssetKey, Commit]) -> dict[str, str]:
    """The tags that record the commits which a job really read, in place of the newest ones that Dagster would assume."""
    tags = {}
    for key, commit in consumed.items():
        name = key.to_user_string()
        event = find_event(instance, key, commit)
        tags[f"{labels.INPUT_DATA_VERSION}/{name}"] = version_of(event, commit)
        if event is not None:
            tags[f"{labels.INPUT_EVENT_POINTER}/{name}"] = str(event.storage_id)
    return tags
