"""A tick of the sensor that makes a home what a folder of a Git repository declares."""

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg

from pachyderm_dagster.executors.choosing import tend_workers
from pachyderm_dagster.integration.data_versions import version_tags
from pachyderm_dagster.integration.git_syncs import Syncing
from pachyderm_dagster.syncing.applying import Synced, sync
from pachyderm_dagster.syncing.differences import PIPELINE, REPO, done_of
from pachyderm_dagster.syncing.health import ThingHealth, health_of, worst
from pachyderm_dagster.workspace import open_workspace


def tick(syncing: Syncing, context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Looks at the branch, and tells of it when anything is otherwise than the last time. What fails is the tick's error, and the next tick's again.

    Errors as `sync`.
    """
    environ = os.environ if syncing.environ is None else syncing.environ
    with closing(open_workspace(environ)) as workspace:
        found = sync(workspace, syncing.source, environ, project=syncing.project, name=syncing.name, prune=syncing.prune)
        done = done_of(found.changes)
        if any(change.thing.kind == PIPELINE for change in done):
            tend_workers(workspace)
        with workspace.database.read() as txn:
            health = health_of(txn, Path(workspace.settings.home), found.sync.things)
    for note in found.notes:
        context.log.info(note)
    cursor = json.dumps([found.commit, worst(health), len(found.changes) - len(done)])
    if cursor == context.cursor and not done:
        return dg.SensorResult(skip_reason=f"The home is like commit {found.commit[:12]}.", cursor=cursor)
    if any(change.thing.kind not in (PIPELINE, REPO) for change in done):
        context.log.info("workflows changed: reload the code location to have their jobs and schedules as they are now")
    return dg.SensorResult(asset_events=[_event(syncing, found, health)], cursor=cursor)


def _event(syncing: Syncing, found: Synced, health: list[ThingHealth]) -> dg.AssetMaterialization:
    metadata: dict[str, Any] = {
        "commit": found.commit,
        "source": str(syncing.source),
        "health": worst(health).value,
        "status": found.sync.status,
        "changes": dg.MetadataValue.md(_table(("action", "what", "file"), [(change.action, change.thing, change.source) for change in found.changes])),
        "things": dg.MetadataValue.md(_table(("what", "health", "reason"), [(one.thing, one.health, one.reason) for one in health])),
    }
    return dg.AssetMaterialization(
        syncing.key, description=f"Commit {found.commit[:12]} of {syncing.source}.", metadata=metadata, tags=version_tags(found.commit)
    )


def _table(titles: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """A table in Markdown."""
    lines = [titles, tuple("---" for _ in titles), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
