"""Runs of workflows in a home: a folder each, with what is run, the journal of its nodes, its pods, and what people asked of it meanwhile."""

import asyncio
import contextlib
import datetime as dt
import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from pachyderm_dagster.argo.artifact_files import ArtifactFolder
from pachyderm_dagster.argo.caches import FileCache
from pachyderm_dagster.argo.control import STOPPED, TERMINATE, Control, resumed
from pachyderm_dagster.argo.engine import Engine
from pachyderm_dagster.argo.journal import FileJournal, Journal
from pachyderm_dagster.argo.kept_files import LineFile, locked, name_beside, read_lines, write_whole
from pachyderm_dagster.argo.library import Library, Owner
from pachyderm_dagster.argo.locks import FileLocks
from pachyderm_dagster.argo.names import is_hook
from pachyderm_dagster.argo.nodes import Node, NodeType, Phase
from pachyderm_dagster.argo.parameters import Artifact, KeyArtifact
from pachyderm_dagster.argo.pod_places import LocalPlace, PodPlace
from pachyderm_dagster.argo.requests import no_network, send
from pachyderm_dagster.argo.resources import Objects
from pachyderm_dagster.argo.subject import Subject, file_key
from pachyderm_dagster.argo.tries import Tries
from pachyderm_dagster.argo.waits import Waits
from pachyderm_dagster.argo.workflows import Metadata, TtlStrategy, WorkflowSpec
from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import ExistsError, NotFoundError, StateError

_MOST_PODS_PER_PROCESSOR = 4


class _KeptObject(msgspec.Struct, frozen=True):
    owner: Owner
    spec: WorkflowSpec


class _KeptSubject(msgspec.Struct, frozen=True):
    metadata: Metadata
    uid: str
    spec: WorkflowSpec
    created: float
    network: bool
    templates: tuple[_KeptObject, ...]
    config_maps: dict[str, dict[str, str]]
    secrets: dict[str, dict[str, str]]


class Ending(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a workflow, its exit handler included."""

    phase: Phase
    message: str = ""
    finished: float = 0.0


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What somebody said of a suspended node: what it is given, and as what it ends; without a phase it waits on."""

    node: str
    parameters: dict[str, str] = {}
    phase: Phase | None = Phase.SUCCEEDED
    message: str = ""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of a run."""

    path: Path

    @property
    def name(self) -> str:
        """The workflow's."""
        return self.path.name

    def subject(self) -> tuple[Subject, bool]:
        """What is run, and whether its pods have a network."""
        kept = msgspec.json.decode((self.path / "workflow.json").read_bytes(), type=_KeptSubject)
        library = Library({one.owner: one.spec for one in kept.templates}, kept.config_maps, kept.secrets)
        return Subject(kept.metadata, kept.uid, kept.spec, library, dt.datetime.fromtimestamp(kept.created, dt.UTC)), kept.network

    def nodes(self) -> dict[str, Node]:
        """Its nodes by name, in the order in which they began."""
        return FileJournal(self.path / "nodes").load()

    def ending(self) -> Ending | None:
        """What came of it; None while that is not known."""
        try:
            return msgspec.json.decode((self.path / "ending.json").read_bytes(), type=Ending)
        except FileNotFoundError:
            return None

    def end(self, root: Node, clock: Clock) -> Ending:
        """Keeps what came of it: what came of its node."""
        ending = Ending(root.phase, root.message, clock.now().timestamp())
        write_whole(self.path / "ending.json", msgspec.json.encode(ending))
        return ending

    def has_artifacts(self) -> bool:
        """Whether its nodes gave any."""
        return any(kept.key and not kept.run for node in self.nodes().values() for kept in node.outputs.artifacts.values())

    def keep_commit(self, commit: str) -> None:
        """Keeps in which commit its artifacts are."""
        write_whole(self.path / "commit", commit.encode())

    def commit(self) -> str | None:
        """The commit of its artifacts, `REPO@ID`."""
        try:
            return (self.path / "commit").read_text()
        except FileNotFoundError:
            return None

    def phase(self) -> Phase:
        """How far it is."""
        ending = self.ending()
        return ending.phase if ending is not None else Phase.RUNNING if (self.path / "nodes").exists() or self.is_suspended() else Phase.PENDING

    def suspended(self) -> list[Node]:
        """The nodes that wait for a resume."""
        answers = self.answers()
        waiting = [node for node in self.nodes().values() if node.type is NodeType.SUSPEND and not node.phase.is_fulfilled]
        return [node for node in waiting if resumed(node.name, answers) is None]

    def is_suspended(self) -> bool:
        """Whether nothing of it is to begin before somebody resumes it."""
        return (self.path / "suspended").exists()

    def suspend(self) -> None:
        """Has nothing of it begin before somebody resumes it; pods that run go on."""
        (self.path / "suspended").touch()

    def resume(self) -> None:
        """Takes a suspension of the whole back."""
        (self.path / "suspended").unlink(missing_ok=True)

    def answers(self) -> list[Answer]:
        """The resumes that people asked for."""
        return [msgspec.json.decode(line, type=Answer) for line in read_lines(self.path / "answers")]

    def answer(self, answers: list[Answer]) -> None:
        """Resumes nodes."""
        with locked(self.path / "answers.lock"), contextlib.closing(LineFile(self.path / "answers")) as file:
            file.append(b"".join(msgspec.json.encode(answer) + b"\n" for answer in answers))

    def ask_to_stop(self, strategy: str) -> None:
        """Has the process that runs it end it."""
        write_whole(self.path / "stop", strategy.encode())

    def asked_to_stop(self) -> str | None:
        """The strategy that was asked for."""
        try:
            return (self.path / "stop").read_text()
        except FileNotFoundError:
            return None

    def tries(self) -> Tries:
        """How often its pods are made anew."""
        return Tries(self.path / "tries")

    def forget_failures(self) -> None:
        """Leaves only the nodes that did what they should, so that the others are run again."""
        nodes = self.nodes().values()
        kept = [node for node in nodes if node.phase in (Phase.SUCCEEDED, Phase.SKIPPED) and not is_hook(node.name)]
        names = {node.name for node in kept}
        self.tries().forget(node.pod for node in nodes if node.pod and node.phase.is_fulfilled and node.name not in names)
        write_whole(self.path / "nodes", b"".join(msgspec.json.encode(node) + b"\n" for node in kept))
        for name in ("ending.json", "stop"):
            (self.path / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def running(self, *, shared: bool = False) -> Iterator[None]:
        """Has this process run it for a block.

        Args:
            shared: others that say so too may run it at the same time: they run other parts of it.

        Raises:
            StateError: `workflow-running`, when another one does.
        """
        with open(self.path / "lock", "w") as lock:
            if not self._take(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
                raise StateError("workflow-running", f"the workflow {self.name!r} is run by another process; wait for it, or stop it")
            yield

    def is_running(self) -> bool:
        """Whether a process runs it. Nobody does when it was deleted meanwhile."""
        try:
            with self.idle() as is_idle:
                return not is_idle
        except FileNotFoundError:
            return False

    @contextlib.contextmanager
    def idle(self) -> Iterator[bool]:
        """Whether nobody runs it; whoever is about to waits for the end of the block."""
        with locked(self.path / "lock.gate"), open(self.path / "lock", "w") as lock:
            yield _lock_now(lock, fcntl.LOCK_EX)

    def _take(self, lock: IO[str], kind: int) -> bool:
        """Takes the lock, unless others have it. Who only asks whether it is free takes it too, behind this gate."""
        with locked(self.path / "lock.gate"):
            return _lock_now(lock, kind)


def _lock_now(lock: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
        """
        folder = RunFolder(self._runs / subject.metadata.name)
        if folder.path.exists():
            raise _exists(folder.name)
        library = subject.library
        templates = tuple(_KeptObject(owner, spec) for owner, spec in library.templates.items())
        kept = _KeptSubject(subject.metadata, subject.uid, subject.spec, subject.created.timestamp(), network, templates, library.config_maps, library.secrets)
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
        """
        with self._changing():
            try:
                with folder.running():
                    self.place.remove(folder.path, folder.subject()[0])
                    gone = name_beside(folder.path, "deleted")
                    folder.path.rename(gone)
            except FileNotFoundError:
                return False
            shutil.rmtree(gone)
        return True

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


def _fill(folder: RunFolder, kept: _KeptSubject, files: Mapping[str, Path]) -> None:
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


def run_to_end(runs: Runs, folder: RunFolder, clock: Clock, tell: Callable[[Node], None], *, stop: str = "") -> Ending | None:
    """Runs a workflow, from its start or from where it was, to its end; None when all that it waits for is that somebody resumes a node, or the whole.

    Args:
        stop: the strategy by which it is stopped at once, instead of going on.

    Raises:
        StateError: `workflow-running`.
        ExecutionError: `pods-unavailable`.
    """
    with folder.running():
        (folder.path / "stop").unlink(missing_ok=True)
        if stop:
            folder.ask_to_stop(stop)
        return asyncio.run(run_whole(runs, folder, clock, tell))


async def run_whole(runs: Runs, folder: RunFolder, clock: Clock, tell: Callable[[Node], None]) -> Ending | None:
    """As `run_to_end`, for whoever holds the folder; cancelled, it ends the pods, and the workflow can be run on."""
    journal = FileJournal(folder.path / "nodes")
    try:
        root = await drive(runs, folder, journal, clock, tell)
    finally:
        journal.close()
    if root is None:
        return None
    return runs.end(folder, root, clock)


async def drive(runs: Runs, folder: RunFolder, journal: Journal, clock: Clock, tell: Callable[[Node], None], *, target: str = "") -> Node | None:
    """Runs a workflow, or what of it leads to one of its entrypoint's steps; the node of the workflow, None when all that is left is an answer."""
    subject, network = folder.subject()
    network = network or runs.place.has_network
    most_pods = runs.place.most_pods or _MOST_PODS_PER_PROCESSOR * (os.cpu_count() or 1)
    control = Control(folder)
    waits = Waits(asyncio.sleep, control.answer, control.go_ahead)
    locks = runs.locks(folder)
    async with runs.place.opened(folder.path, subject, network=network) as executor:
        engine = Engine(
            subject,
            executor,
            journal,
            clock,
            waits,
            most_pods=most_pods,
            tell=tell,
            target=target,
            locks=locks,
            cache=runs.cache(),
            send=send if network else no_network,
            objects=runs.objects if network else None,
        )
        running = asyncio.ensure_future(engine.run())
        try:
            stopped = await control.watch(running, engine, waits)
            if not running.done() and stopped != TERMINATE:
                locks.park()
        finally:
            if not running.done():
                running.cancel()
                await asyncio.wait((running,))
    if running.cancelled():
        if stopped != TERMINATE:
            return None
        return engine.end_all(STOPPED + TERMINATE)
    return running.result()
