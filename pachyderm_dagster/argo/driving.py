"""Runs a workflow from its start, or from where it was, in this process."""

import asyncio
import os
from collections.abc import Callable

from pachyderm_dagster.argo.control import STOPPED, TERMINATE, Control
from pachyderm_dagster.argo.engine import Engine
from pachyderm_dagster.argo.file_artifacts import FileArtifacts
from pachyderm_dagster.argo.journal import FileJournal, Journal
from pachyderm_dagster.argo.nodes import Node
from pachyderm_dagster.argo.requests import no_network, send
from pachyderm_dagster.argo.resources import Around
from pachyderm_dagster.argo.run_folder import Ending, RunFolder
from pachyderm_dagster.argo.runs import Runs
from pachyderm_dagster.argo.waits import Waits
from pachyderm_dagster.clock import Clock

_MOST_PODS_PER_PROCESSOR = 4


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
            around=Around(runs.objects if network else None, FileArtifacts(folder.path, network=network).text, folder.own),
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
