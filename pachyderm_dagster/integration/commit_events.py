"""Commits as materializations: what an event says, whether there is one, and the tags that say which commits an output was made from."""

import datetime as dt
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import TypeAlias

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.integration.dagster_inner import has_version
from pachyderm_dagster.integration.data_versions import version_tags
from pachyderm_dagster.pfs.model import Commit, Origin
from pachyderm_dagster.storage.rows import FILE_ROWS
from pachyderm_dagster.storage.tree_reading import decode_root

PAGE = 100
CLOCKS_APART = dt.timedelta(minutes=10)
Describe: TypeAlias = Callable[[Commit], Mapping[str, dg.MetadataValue]]
"""The metadata of a commit's event."""
Version: TypeAlias = Callable[[dg.AssetKey, Commit], str]
"""The data version of a commit of an asset."""
REPORT_TIME = dt.timedelta(minutes=1)
"""So long a commit that a run wrote is left to that run to report; later the run is taken to have died in between."""


def commit_materialization(
    key: dg.AssetKey, commit: Commit, version: str, metadata: Mapping[str, dg.MetadataValue], provenance: Mapping[str, str] | None = None
) -> dg.AssetMaterialization:
    """The event of a finished commit on an input branch, which is this data version; `provenance` are tags that say what it was made from."""
    return dg.AssetMaterialization(key, description=commit.description or None, metadata=metadata, tags={**(provenance or {}), **version_tags(version)})


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


def is_placeholder(commit: Commit) -> bool:
    """Whether a commit that no job made is only the head that a pipeline gave a branch, to read it before anybody wrote there."""
    return commit.origin is Origin.AUTO and not commit.forgotten and decode_root(FILE_ROWS, commit.tree).count == 0


def has_event(instance: dg.DagsterInstance, key: dg.AssetKey, commit: Commit, version: str) -> bool:
    """Whether the commit, which is this data version, is a materialization of the asset already."""
    if version == commit.id and has_version(instance, key, version):
        return True
    return _time_in_run(instance, key, commit, None) is not None or (version != commit.id and find_event(instance, key, commit, version) is not None)


def find_event(instance: dg.DagsterInstance, key: dg.AssetKey, commit: Commit, version: str, *, partition: str | None = None) -> dg.EventLogRecord | None:
    """The materialization of the asset that is this commit, at the cost of a few queries.

    Args:
        version: the data version that the event has, if it is not the commit's id.
    """
    partitions = None if partition is None else [partition]
    time = _time_in_run(instance, key, commit, partition)
    if time is not None:
        # The record itself is asked for: those of a run may be numbered in another way than those of an asset.
        around = dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions, after_timestamp=time - 1, before_timestamp=time + 1)
        return _first_of(_pages(instance, around), commit)
    # What a forgotten commit held, and so its version by content, is not known any more.
    if not (commit.forgotten or any(has_version(instance, key, one) for one in {commit.id, version})):
        return None
    newest = instance.fetch_materializations(dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions), limit=PAGE).records
    # Mostly it is one of the newest. The others are looked for from the time when the commit was finished, which another machine's clock may have told.
    since = None if commit.finished is None else (commit.finished - CLOCKS_APART).timestamp()
    earlier = _pages(instance, dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions, after_timestamp=since))
    return _first_of(itertools.chain(newest, earlier), commit)


def _first_of(records: Iterable[dg.EventLogRecord], commit: Commit) -> dg.EventLogRecord | None:
    return next((record for record in records if find_commit_id(record) == commit.id), None)


def _time_in_run(instance: dg.DagsterInstance, key: dg.AssetKey, commit: Commit, partition: str | None) -> float | None:
    """When the run that wrote a commit reported it. By content its version is something else, and Dagster has no index of more; that run has few events."""
    run_id = commit.metadata.get(labels.WRITING_RUN)
    if run_id is None:
        return None
    for record in instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records:
        event = record.asset_materialization
        if event is not None and event.asset_key == key and partition in (None, event.partition) and find_commit_id(record) == commit.id:
            return record.event_log_entry.timestamp
    return None


def _pages(instance: dg.DagsterInstance, chosen: dg.AssetRecordsFilter) -> Iterator[dg.EventLogRecord]:
    """Materializations, oldest first, fetched as they are asked for."""
    cursor = None
    while True:
        page = instance.fetch_materializations(chosen, limit=PAGE, cursor=cursor, ascending=True)
        yield from page.records
        if not page.has_more:
            return
        cursor = page.cursor


def find_commit_id(record: dg.EventLogRecord) -> str | None:
    """The id of the commit that a materialization is; None for one of another package."""
    return None if record.asset_materialization is None else commit_id_of(record.asset_materialization)


def commit_id_of(event: dg.AssetMaterialization) -> str | None:
    """The same of an event that may not be stored yet."""
    named = labels.text(event.metadata, labels.COMMIT)
    return (event.tags or {}).get(labels.DATA_VERSION) if named is None else named.rpartition("@")[2]


def version_of(record: dg.EventLogRecord | None, otherwise: str) -> str:
    """The data version that Dagster knows a commit by: what its event says, and otherwise what one would say."""
    tags = {} if record is None else record.event_log_entry.tags or {}
    return tags.get(labels.DATA_VERSION, otherwise)


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


def ensure_events(instance: dg.DagsterInstance, key: dg.AssetKey, history: Iterable[Commit], version: Version, describe: Describe) -> None:
    """Reports the newest commit of `history` (newest first) unless that was done, and before it those of its ancestors that were not."""
    missing = []
    for commit in history:
        if has_event(instance, key, commit, version(key, commit)):
            break
        missing.append(commit)
    for commit in reversed(missing):
        instance.report_runless_asset_event(commit_materialization(key, commit, version(key, commit), describe(commit)))


def provenance_tags(
    instance: dg.DagsterInstance, consumed: Mapping[dg.AssetKey, Commit], version: Version, partitioned: Collection[dg.AssetKey] = ()
) -> dict[str, str]:
    """The tags that record the commits which a job really read, in place of the newest ones that Dagster would assume.

    Args:
        partitioned: assets of which a partition was read, of which Dagster compares a hash of the version.
    """
    tags = {}
    for key, commit in consumed.items():
        name = key.to_user_string()
        event = find_event(instance, key, commit, version(key, commit))
        read = version_of(event, version(key, commit))
        tags[f"{labels.INPUT_DATA_VERSION}/{name}"] = sha256(read.encode()).hexdigest() if key in partitioned else read
        if event is not None:
            tags[f"{labels.INPUT_EVENT_POINTER}/{name}"] = str(event.storage_id)
    return tags
