"""The folder of a run of a workflow: what is run, the journal of its nodes, its pods, and what people asked of it meanwhile."""

import contextlib
import datetime as dt
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from pachyderm_dagster.argo.control import resumed
from pachyderm_dagster.argo.journal import FileJournal
from pachyderm_dagster.argo.kept_files import LineFile, locked, read_lines, write_whole
from pachyderm_dagster.argo.library import Library, Owner
from pachyderm_dagster.argo.names import is_hook
from pachyderm_dagster.argo.nodes import Node, NodeType, Phase
from pachyderm_dagster.argo.resources import Owned
from pachyderm_dagster.argo.subject import Subject
from pachyderm_dagster.argo.tries import Tries
from pachyderm_dagster.argo.workflows import Metadata, WorkflowSpec
from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import StateError


class KeptTemplate(msgspec.Struct, frozen=True):
    """A template as its run keeps it."""

    owner: Owner
    spec: WorkflowSpec


class KeptSubject(msgspec.Struct, frozen=True):
    """What is run, as its folder keeps it."""

    metadata: Metadata
    uid: str
    spec: WorkflowSpec
    created: float
    network: bool
    templates: tuple[KeptTemplate, ...]
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
        kept = msgspec.json.decode((self.path / "workflow.json").read_bytes(), type=KeptSubject)
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

    def own(self, owned: Owned) -> None:
        """Keeps that there may be objects that go with it."""
        if owned not in self.owned():
            with locked(self.path / "owned.lock"), contextlib.closing(LineFile(self.path / "owned")) as file:
                file.append(msgspec.json.encode(owned) + b"\n")

    def owned(self) -> list[Owned]:
        """The objects of which there may be some that go with it."""
        return [msgspec.json.decode(line, type=Owned) for line in read_lines(self.path / "owned")]

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
