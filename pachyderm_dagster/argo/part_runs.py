"""Runs a workflow part by part, each in a process of its own if need be: all of them write into the folder of the run, and the last one closes it."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from pachyderm_dagster.argo import names
from pachyderm_dagster.argo.driving import drive
from pachyderm_dagster.argo.engine import Engine
from pachyderm_dagster.argo.journal import FileJournal
from pachyderm_dagster.argo.kept_files import locked, write_whole
from pachyderm_dagster.argo.nodes import Node, Phase
from pachyderm_dagster.argo.outcomes import group_phase
from pachyderm_dagster.argo.parts import Part, parts_of
from pachyderm_dagster.argo.pods import Pod, PodEnd
from pachyderm_dagster.argo.run_folder import Ending, RunFolder
from pachyderm_dagster.argo.runs import Runs
from pachyderm_dagster.argo.waits import Resumed, Waits
from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import StateError

_DONE = (Phase.SUCCEEDED, Phase.SKIPPED)


class PartEnd(msgspec.Struct, frozen=True):
    """What came of a part."""

    phase: Phase
    message: str = ""


def begin_attempt(folder: RunFolder, attempt: str) -> None:
    """Has a run go on in an attempt of this name: what failed in an earlier one is forgotten, what succeeded is kept. The parts of an attempt all call it.

    Raises:
        StateError: `workflow-running`, when an earlier attempt still runs.
    """
    with _exclusive(folder, "attempt.lock"):
        known = _read(folder.path / "attempt")
        if known == attempt.encode():
            return
        if known is not None:
            with folder.running():
                folder.forget_failures()
                for part, end in _ends(folder).items():
                    if end.phase.is_failure:
                        _place(folder, part).unlink()
        write_whole(folder.path / "attempt", attempt.encode())


async def run_part(runs: Runs, folder: RunFolder, part: Part, clock: Clock, tell: Callable[[Node], None]) -> PartEnd | None:
    """Runs one part, for whoever holds the folder, with others; None when all that it waits for is that somebody resumes a node."""
    for earlier in (_place(folder, part.name), folder.path / "ending.json"):
        earlier.unlink(missing_ok=True)
    journal = _PartJournal(folder, part)
    root = await drive(runs, folder, journal, clock, tell, target=part.name)
    if root is None:
        return None
    end = _end_of(part, folder, root)
    _place(folder, part.name).parent.mkdir(exist_ok=True)
    write_whole(_place(folder, part.name), msgspec.json.encode(end))
    return end


def _end_of(part: Part, folder: RunFolder, root: Node) -> PartEnd:
    """What came of a part: of its node or, of a fan-out of steps, of its nodes, and of what is made of these."""
    nodes = folder.nodes()
    own = nodes.get(folder.name + part.place)
    if own is not None and (own.phase.is_failure or not root.phase.is_failure):
        return PartEnd(own.phase, own.message)
    tops = [node for node in nodes.values() if is_of(part, folder, node.name) and node.parent == _above_id(part, folder)]
    failed = [node for node in tops if node.phase.is_failure]
    if failed:
        return PartEnd(group_phase(tops), f"{failed[0].display_name}: {failed[0].message}")
    return PartEnd(root.phase, root.message)


def has_failed_part(folder: RunFolder) -> bool:
    """Whether any part failed, so far."""
    return any(end.phase.is_failure for end in _ends(folder).values())


def settle(runs: Runs, folder: RunFolder, clock: Clock, tell: Callable[[Node], None]) -> Ending | None:
    """Closes a run when no part of it can be run any more: what comes of the whole; None while there are such parts, or when another process has closed it."""
    with _exclusive(folder, "attempt.lock"):
        subject, _ = folder.subject()
        ends = _ends(folder)
        blocked: set[str] = set()
        for part in parts_of(subject.spec, subject.library):
            end = ends.get(part.name)
            if end is None and blocked.isdisjoint(part.after):
                return None
            if end is None or end.phase.is_failure:
                blocked.add(part.name)
        if folder.ending() is not None:
            return None
        engine = Engine(subject, _NoPods(), _SettlingJournal(folder), clock, Waits(asyncio.sleep, _never), most_pods=1, tell=tell)
        return runs.end(folder, asyncio.run(engine.run()), clock)


def abandon(runs: Runs, folder: RunFolder, clock: Clock, message: str) -> None:
    """Keeps that a run was ended before all its parts were."""
    with _exclusive(folder, "attempt.lock"):
        journal = _SharedJournal(folder)
        for node in journal.load().values():
            if not node.phase.is_fulfilled:
                journal.keep(msgspec.structs.replace(node, phase=Phase.FAILED, message=message, finished=clock.now().timestamp()))
        root = journal.load().get(folder.name)
        if root is not None:
            runs.place.end(folder.path, folder.subject()[0], folder.end(root, clock).phase)


class _NoPods:
    """An executor for a workflow of which every pod has run."""

    keeps_deadlines = False

    async def run(self, pod: Pod) -> PodEnd:
        raise StateError("workflow-running", f"the pod of {pod.node!r} was not run by the part that it belongs to; run the workflow on with 'argo retry'")


async def _never(_node: str) -> Resumed:
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


class _SharedJournal:
    """The journal of a run into which several processes write."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def load(self) -> dict[str, Node]:
        with _exclusive(self._folder, "nodes.lock"):
            return self._folder.nodes()

    def keep(self, node: Node) -> None:
        with _exclusive(self._folder, "nodes.lock"):
            journal = FileJournal(self._folder.path / "nodes")
            journal.keep(node)
            journal.close()


class _PartJournal:
    """The journal as one part sees it: what is above the part is not over before all parts are, and what failed of it is to be run again."""

    def __init__(self, folder: RunFolder, part: Part) -> None:
        self._folder, self._part, self._shared = folder, part, _SharedJournal(folder)
        self._begun: set[str] = set()

    def load(self) -> dict[str, Node]:
        nodes = self._shared.load()
        self._begun = {name for name in nodes if self._is_above(name)}
        failed = [node for name, node in nodes.items() if self._is_own(name) and node.phase.is_fulfilled and node.phase not in _DONE]
        self._folder.tries().forget(node.pod for node in failed if node.pod)
        return {name: node for name, node in nodes.items() if not self._is_above(name) and (node.phase in _DONE or not self._is_own(name))}

    def keep(self, node: Node) -> None:
        is_news = self._is_above(node.name) and node.name not in self._begun and not node.phase.is_fulfilled
        if is_news:
            self._begun.add(node.name)
        if is_news or self._is_own(node.name):
            self._shared.keep(node)

    def _is_own(self, name: str) -> bool:
        return is_of(self._part, self._folder, name)

    def _is_above(self, name: str) -> bool:
        return _is_above(self._folder, name)


class _SettlingJournal(_SharedJournal):
    """The journal when all parts are over: what follows from them is to be found anew, since a part that was tried again may have come to something else."""

    def load(self) -> dict[str, Node]:
        return {name: node for name, node in super().load().items() if node.phase is not Phase.OMITTED and not _is_above(self._folder, name)}


def _is_above(folder: RunFolder, name: str) -> bool:
    """Whether parts are below a node: that of the workflow, or of a group of its steps."""
    rest = name.removeprefix(folder.name)
    return name == folder.name or (rest.startswith("[") and rest.endswith("]") and rest[1:-1].isdigit())


def is_of(part: Part, folder: RunFolder, name: str) -> bool:
    """Whether a node is of a part."""
    own = folder.name + part.place
    return name == own or (name.startswith(own) and name[len(own)] in ".([")


def _above_id(part: Part, folder: RunFolder) -> str:
    """The id of the node that a part is below: of the workflow, or of a group of its steps."""
    return names.node_id(folder.name, folder.name + part.place.rpartition(".")[0])


def _ends(folder: RunFolder) -> dict[str, PartEnd]:
    place = folder.path / "parts"
    found = [path for path in place.iterdir() if not path.name.startswith(".")] if place.is_dir() else []
    return {path.name: msgspec.json.decode(path.read_bytes(), type=PartEnd) for path in found}


def _place(folder: RunFolder, part: str) -> Path:
    return folder.path / "parts" / part


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _exclusive(folder: RunFolder, name: str) -> contextlib.AbstractContextManager[None]:
    return locked(folder.path / name)
