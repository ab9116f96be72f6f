"""Runs of workflows in a home: made, listed, kept apart and removed."""

import asyncio
import contextlib
import datetime as dt
import errno
import fcntl
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from pachyderm_dagster.argo.artifact_files import ArtifactFolder
from pachyderm_dagster.argo.caches import FileCache
from pachyderm_dagster.argo.kept_files import locked, name_beside
from pachyderm_dagster.argo.locks import FileLocks
from pachyderm_dagster.argo.nodes import Node, Phase
from pachyderm_dagster.argo.parameters import Artifact, KeyArtifact
from pachyderm_dagster.argo.pod_places import LocalPlace, PodPlace
from pachyderm_dagster.argo.resources import Objects
from pachyderm_dagster.argo.run_folder import Ending, KeptSubject, KeptTemplate, RunFolder
from pachyderm_dagster.argo.subject import Subject, file_key
from pachyderm_dagster.argo.workflows import TtlStrategy
from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import ExistsError, NotFoundError, StateError


class Runs:
    """All runs of a home.

    Args:
        keep: is called with a run that has ended and has artifacts, before its end is kept.
        objects: opens those of a cluster, for templates that are a `resource`.
        place: where pods are; this machine unless told otherwise.
    """

    def __init__(
        self,
        home: Path,
        keep: Callable[[RunFolder], None] | None = None,
        objects: Callable[[], Objects] | None = None,
        place: PodPlace | None = None,
    ) -> None:
        self._home, self._runs, self.claims = home, home / "argo" / "runs", home / "argo" / "claims"
        self._keep, self.objects, self.place = keep, objects, place or LocalPlace(self.claims)

    def create(self, subject: Subject, *, network: bool, files: Mapping[str, Path] | None = None) -> RunFolder:
        """Keeps what is to be run.

        Args:
            files: artifacts among its arguments (`with_files`), by name: files and folders, of which copies are kept.

        Raises:
            ExistsError: `workflow-exists`.
            InvalidError: as `PodPlace.check`.
        """
        self.place.check(subject)
        folder = RunFolder(self._runs / subject.metadata.name)
        if folder.path.exists():
            raise _exists(folder.name)
        library = subject.library
        templates = tuple(KeptTemplate(owner, spec) for owner, spec in library.templates.items())
        kept = KeptSubject(subject.metadata, subject.uid, subject.spec, subject.created.timestamp(), network, templates, library.config_maps, library.secrets)
        self._runs.mkdir(parents=True, exist_ok=True)
        with self._changing():
            new = self._runs / f".{folder.name}.{subject.uid}"
            new.mkdir(mode=0o700)
            try:
                _fill(RunFolder(new), kept, files or {})
                _rename_to_new(new, folder.path)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
        return folder

    def _changing(self) -> contextlib.AbstractContextManager[None]:
        """For a block in which there is a folder that is not a run yet, or no run any more."""
        return locked(self._runs / ".changing", fcntl.LOCK_SH)

    def list(self) -> list[RunFolder]:
        """All of them, the newest first."""
        if not self._runs.is_dir():
            return []
        found: list[tuple[dt.datetime, str, RunFolder]] = []
        for path in self._runs.iterdir():
            # One may be deleted meanwhile.
            with contextlib.suppress(FileNotFoundError):
                if not path.name.startswith("."):
                    found.append((RunFolder(path).subject()[0].created, path.name, RunFolder(path)))
        return [run for _, _, run in sorted(found, key=lambda one: one[:2], reverse=True)]

    def get(self, name: str) -> RunFolder:
        """A run by its name; `@latest` is the newest.

        Raises:
            NotFoundError: `workflow-not-found`.
        """
        if name == "@latest" and (found := self.list()):
            return found[0]
        folder = RunFolder(self._runs / name)
        if "/" in name or name.startswith(".") or not folder.path.is_dir():
            known = ", ".join(repr(run.name) for run in self.list()[:5]) or "none"
            raise NotFoundError("workflow-not-found", f"there is no workflow {name!r}; the newest: {known}")
        return folder

    def end(self, folder: RunFolder, root: Node, clock: Clock) -> Ending:
        """Keeps what came of a run: its artifacts, and then what came of its node."""
        if self._keep is not None and folder.has_artifacts():
            self._keep(folder)
        ending = folder.end(root, clock)
        self.place.end(folder.path, folder.subject()[0], ending.phase)
        return ending

    def locks(self, folder: RunFolder) -> FileLocks:
        """The locks that all runs share, for one of them."""
        return FileLocks(self._home / "argo" / "locks", folder.name, lambda run: not self._is_open(run), asyncio.sleep)

    def _is_open(self, run: str) -> bool:
        folder = RunFolder(self._runs / run)
        return folder.path.is_dir() and folder.ending() is None

    def cache(self) -> FileCache:
        """What templates of all runs gave."""
        return FileCache(self._home / "argo" / "caches", lambda kept: ArtifactFolder(self._runs / kept.run / "artifacts").has(kept))

    def delete(self, folder: RunFolder) -> bool:
        """Removes a run with all that it left; False when another process did at the same time.

        Raises:
            StateError: `workflow-running`.
            UnreachableError, ExecutionError: as `Objects`, when objects of a cluster go with it.
        """
        with self._changing():
            try:
                with folder.running():
                    subject = folder.subject()[0]
                    self.place.remove(folder.path, subject)
                    self._remove_owned(folder, subject.uid)
                    gone = name_beside(folder.path, "deleted")
                    folder.path.rename(gone)
            except FileNotFoundError:
                return False
            shutil.rmtree(gone)
        return True

    def _remove_owned(self, folder: RunFolder, uid: str) -> None:
        owned = folder.owned()
        if not owned or self.objects is None:
            return
        objects = self.objects()
        for one in owned:
            objects.remove_owned(one, uid)

    def delete_expired(self, now: float) -> None:
        """Removes the runs whose `ttlStrategy` says so, and what those left who were killed while they made or removed one."""
        for folder in self.list():
            # Whoever runs it has not closed it yet, or another process has removed it.
            with contextlib.suppress(StateError, FileNotFoundError):
                ending = folder.ending()
                if ending is not None and is_expired(folder.subject()[0].spec.ttl_strategy, ending.phase, now - ending.finished):
                    self.delete(folder)
        self._sweep()

    def _sweep(self) -> None:
        """Removes folders that are no run, unless somebody is about to make or remove one."""
        stale = [path for path in self._runs.glob(".*") if path.is_dir()]
        if not stale:
            return
        with contextlib.suppress(BlockingIOError), locked(self._runs / ".changing", fcntl.LOCK_EX | fcntl.LOCK_NB):
            for path in stale:
                shutil.rmtree(path, ignore_errors=True)


def _fill(folder: RunFolder, kept: KeptSubject, files: Mapping[str, Path]) -> None:
    (folder.path / "workflow.json").write_bytes(msgspec.json.encode(kept))
    store = ArtifactFolder(folder.path / "artifacts")
    for name, path in files.items():
        store.put(str(path), Artifact(name=name, s3=KeyArtifact(key=file_key(name))), "")
    if kept.spec.suspend:
        folder.suspend()


def _rename_to_new(folder: Path, target: Path) -> None:
    """Renames a folder to a name that no other one has, although others may make one of that name at the same time."""
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise _exists(target.name) from error
        raise


def _exists(name: str) -> ExistsError:
    return ExistsError("workflow-exists", f"there is a workflow {name!r} already; use 'generateName', or --name")


def is_expired(strategy: TtlStrategy | None, phase: Phase, seconds: float) -> bool:
    """Whether a run that ended so many seconds ago is to be removed."""
    if strategy is None:
        return False
    own = strategy.seconds_after_success if phase is Phase.SUCCEEDED else strategy.seconds_after_failure
    limit = own if own is not None else strategy.seconds_after_completion
    return limit is not None and seconds >= limit
