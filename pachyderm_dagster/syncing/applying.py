"""Makes a home what a folder of a Git repository declares: all is checked before anything is changed, and pipelines change together."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pachyderm_dagster.argo.kept_objects import KeptObjects
from pachyderm_dagster.coordination.leases import wait_for
from pachyderm_dagster.coordination.names import sync_lease
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.pps.requests import CreatePipeline
from pachyderm_dagster.syncing.declaring import read_folder
from pachyderm_dagster.syncing.differences import Action, Change, done_of, object_name
from pachyderm_dagster.syncing.git import GitCache
from pachyderm_dagster.syncing.kept_syncs import KeptSync, KeptSyncs
from pachyderm_dagster.syncing.planning import Plan, PlannedPipeline, changed_pipelines, plan, requests_of
from pachyderm_dagster.syncing.source import GitSource
from pachyderm_dagster.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Synced:
    """What came of one look at a source.

    Attributes:
        sync: what is remembered of it now.
        commit: which commit was looked at.
        changes: what was done, or would be.
        notes: lines about fields that do nothing here.
    """

    sync: KeptSync
    commit: str
    changes: tuple[Change, ...]
    notes: tuple[str, ...]


def sync(
    workspace: Workspace,
    source: GitSource,
    environ: Mapping[str, str],
    *,
    project: str,
    name: str | None = None,
    prune: bool = False,
    dry_run: bool = False,
) -> Synced:
    """Makes a home what a source declares. What somebody changed since, here or there, is as declared again; nothing is done where nothing differs.

    Args:
        environ: that of the user, for git.
        project: of what is declared without one.
        name: of the sync; after the source without it.
        prune: what it declared before and does not any more is removed; pipelines with their output, repos never.
        dry_run: only says what would be done.

    Raises:
        ConflictError: `sync-conflict`, `requests-busy`.
        NotFoundError: `sync-folder-not-found`, `git-ref-not-found`.
        UnreachableError: `git-unreachable`.
        ExecutionError: `git-missing`, `git-failed`.
        InvalidError, ExistsError, StateError: as `read_folder` and `plan`.
    """
    kept = KeptSyncs(Path(workspace.settings.home))
    name = source.usual_name if name is None else name
    with wait_for(workspace.leases, sync_lease(name), workspace.database.clock.new_id()):
        before = kept.begun(name, source, project)
        try:
            return _sync(workspace, kept, before, environ, prune=prune, dry_run=dry_run)
        except PachydermError as error:
            if not dry_run and before.commit:
                kept.put(msgspec.structs.replace(before, looked=workspace.database.clock.now().timestamp(), error=str(error)))
            raise


def _sync(workspace: Workspace, kept: KeptSyncs, before: KeptSync, environ: Mapping[str, str], *, prune: bool, dry_run: bool) -> Synced:
    cache = GitCache(kept.cache(before.name), environ)
    commit = cache.fetch(before.source)
    with tempfile.TemporaryDirectory() as folder, _told_from(root := Path(folder, "files")):
        cache.write(commit, root)
        declared = read_folder(root, before.folder, project=before.project)
        found = plan(workspace, declared, before.things, root, project=before.project, prune=prune)
        kept.check_apart(before, found.things)
        after = before
        if not dry_run:
            now = workspace.database.clock.now().timestamp()
            # Whoever is killed from here on has said what may be there because of it.
            kept.put(msgspec.structs.replace(before, things=tuple(sorted({*before.things, *found.things})), looked=now))
            _apply(workspace, found)
            done = commit != before.commit or done_of(found.changes)
            left = tuple(sorted({change.thing for change in found.changes if change.action is Action.KEEP}))
            things = tuple(sorted({*found.things, *left}))
            after = msgspec.structs.replace(before, commit=commit, looked=now, synced=now if done else before.synced, things=things, left=left, error="")
            kept.put(after)
    return Synced(after, commit, found.changes, tuple(declared.notes))


@contextlib.contextmanager
def _told_from(root: Path) -> Iterator[None]:
    """Has errors name files as the repository does: where they lie here is another folder each time, and gone."""
    try:
        yield
    except PachydermError as error:
        raise type(error)(error.code, error.message.replace(f"{root}/", "")) from error


def _apply(workspace: Workspace, found: Plan) -> None:
    made = {name: found.pipelines[name] for name in changed_pipelines(found)}
    requests = {name: _with_source(workspace, one) for name, one in made.items()}
    asked = requests_of(found, requests)
    if asked:
        workspace.pps.apply_all(asked)
    objects = KeptObjects(Path(workspace.settings.home))
    for change in found.changes:
        name = object_name(change.thing)
        if name is None:
            continue
        match change.action:
            case Action.CREATE | Action.UPDATE:
                objects.put(found.declared.objects[name])
            case Action.REMOVE:
                objects.delete(name)
            case Action.KEEP:
                pass


def _with_source(workspace: Workspace, one: PlannedPipeline) -> CreatePipeline:
    """The request for a pipeline with the files of its source folder, which are stored."""
    if one.folder is None:
        return one.request
    return msgspec.structs.replace(one.request, source=workspace.pps.store_source(str(one.folder), but=str(one.declared.file)))
