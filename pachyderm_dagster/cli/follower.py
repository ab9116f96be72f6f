"""Follows a pipeline file and its source folders in a thread, so that a change while a job runs makes the next version at once, which ends that job."""

import os
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import click

from pachyderm_dagster.cli.failures import refuse
from pachyderm_dagster.cli.folder_watch import FolderWatch
from pachyderm_dagster.cli.following import Step, take_over
from pachyderm_dagster.cli.pipeline_claims import PipelineClaims
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.pps.model import Pipeline
from pachyderm_dagster.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Look:
    """A look at the file and its folders after a change.

    Attributes:
        started: when, in seconds of `time.monotonic`.
        folders: what is watched.
        step: None when the file or a folder was not good, which was told: the next change may mend it.
    """

    started: float
    folders: frozenset[str]
    step: Step | None


class Follower:
    """Looks at each change, and tells of the versions that it makes. A context manager: at its end a look that has begun is done."""

    def __init__(self, workspace: Workspace, folder: str, file: str, project: str) -> None:
        self._workspace, self._file, self._project = workspace, file, project
        self._own = frozenset({folder, os.path.dirname(file)})
        self._stop = threading.Event()
        self._found: queue.SimpleQueue[Look | Exception] = queue.SimpleQueue()
        self._looks = False
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def next(self) -> Look:
        """Waits for the next look.

        Raises:
            StateError: `dev-running`, when another process follows a pipeline of the file, and this one none yet.
        """
        found = self._found.get()
        if isinstance(found, Exception):
            raise found
        return found

    @property
    def has_more(self) -> bool:
        """Whether a look has been made that was not given yet, or is made now: what a job of the look before ends with may come from that."""
        # In this order: a look is given before it is over.
        return self._looks or not self._found.empty()

    def _follow(self) -> None:
        try:
            with PipelineClaims(self._workspace.leases, self._workspace.database.clock) as claims:
                for look in self._look_on(claims):
                    self._found.put(look)
                    self._looks = False
        except Exception as error:  # noqa: BLE001  it is raised by `next`
            self._found.put(error)

    def _look_on(self, claims: PipelineClaims) -> Iterator[Look]:
        """When the file names other source folders, these are watched from then on."""
        wanted, watch = self._own, FolderWatch(self._stop, click.echo)
        while not self._stop.is_set():
            watched = wanted
            for _ in watch.changes(watched):
                self._looks = True
                started = time.monotonic()
                step = self._take_over(claims)
                if step is not None:
                    wanted = step.folders | self._own
                    _tell_made(step.made)
                yield Look(started, wanted, step)
                if wanted != watched:
                    break

    def _take_over(self, claims: PipelineClaims) -> Step | None:
        try:
            return take_over(self._workspace, self._file, self._project, claims.take)
        except PachydermError as error:
            if error.code == "dev-running" and not claims:
                raise
            refuse(error)
            return None


def _tell_made(made: tuple[Pipeline, ...]) -> None:
    for pipeline in made:
        click.echo(f"pipeline {pipeline.name}: version {pipeline.version}")
        if pipeline.spec.runs_on:
            click.echo(f"it runs on, and not here: `pachctl run service {pipeline.name.name}` or `pachctl dev` runs it, and follows its versions")
