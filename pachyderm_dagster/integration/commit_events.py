"""Commits as materializations: what an event says, whether there is one, and the tags that say which commits an output was made from."""

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.storage.rows import FILE_ROWS
from pachyderm_dagster.storage.tree_reading import decode_root

PAGE = 100


def commit_materialization(key: dg.AssetKey, commit: Commit) -> dg.AssetMaterialization:
    """The event of a finished commit on an input branch."""
    return dg.AssetMaterialization(key, description=commit.description or None, metadata=commit_metadata(commit), tags=version_tags(commit))


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
    return bool(instance.get_event_tags_for_asset(key, {labels.DATA_VERSION: commit.id}))


def newest_versions(instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> dict[dg.AssetKey, str]:
    """The commit id of each asset's newest materialization; assets without one are left out."""
    found = {}
    for record in instance.get_asset_records(keys) if keys else ():
        newest = record.asset_entry.last_materialization
        version = None if newest is None or newest.tags is None else newest.tags.get(labels.DATA_VERSION)
        if version is not None:
            found[record.asset_entry.asset_key] = version
    return found


def ensure_events(instance: dg.DagsterInstance, key: dg.AssetKey, history: Iterable[Commit]) -> None:
    """Reports the newest commit of `history` (newest first) unless that was done, and before it those of its ancestors that were not."""
    missing = []
    for commit in history:
        if has_event(instance, key, commit):
            break
        missing.append(commit)
    for commit in reversed(missing):
        instance.report_runless_asset_event(commit_materialization(key, commit))


def provenance_tags(instance: dg.DagsterInstance, consumed: Mapping[dg.AssetKey, Commit]) -> dict[str, str]:
    """The tags that record the commits which a job really read, in place of the newest ones that Dagster would assume."""
    tags = {}
    for key, commit in consumed.items():
        name = key.to_user_string()
        tags[f"{labels.INPUT_DATA_VERSION}/{name}"] = commit.id
        storage_id = _find_storage_id(instance, key, commit)
        if storage_id is not None:
            tags[f"{labels.INPUT_EVENT_POINTER}/{name}"] = str(storage_id)
    return tags


def _find_storage_id(instance: dg.DagsterInstance, key: dg.AssetKey, commit: Commit) -> int | None:
    """Where Dagster keeps the newest event of a commit."""
    if not has_event(instance, key, commit):
        return None
    cursor = None
    while True:
        page = instance.fetch_materializations(key, limit=PAGE, cursor=cursor)
        for record in page.records:
            if (record.event_log_entry.tags or {}).get(labels.DATA_VERSION) == commit.id:
                return record.storage_id
        if not page.has_more:
            return None
        cursor = page.cursor
