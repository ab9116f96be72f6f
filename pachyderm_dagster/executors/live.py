"""Which datums run on this machine now, and what they have printed: read from the files that their workers keep (worker/live.py)."""

import datetime as dt
import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.worker.live import LIVE_PREFIX, LiveDatum


@dataclass(frozen=True, slots=True)
class Running:
    """A datum that runs, and where its output is until it ends."""

    datum: LiveDatum
    path: str
    begins: int
    """Where in the file its output begins."""

    @property
    def started(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.datum.started, dt.UTC)

    def output(self, start: int) -> bytes:
        """What it has printed behind the first `start` bytes; nothing when it has ended meanwhile."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.begins + start)
                return file.read()
        except FileNotFoundError:
            return b""


def find_running(home: Path, job: Job) -> Iterator[Running]:
    """The datums of a job that run for longer than a moment, the one started first before the others; none of one that ended."""
    if job.state.is_terminal:
        return
    name = f"{job.pipeline.project}/{job.pipeline.name}@{job.id}"
    found = [one for path in glob.iglob(f"{glob.escape(str(home))}/scratch/run-*/worker-*/{LIVE_PREFIX}*") if (one := read_live(path)) is not None]
    yield from (one for one in sorted(found, key=lambda one: one.datum.started) if one.datum.job == name)


def read_live(path: str) -> Running | None:
    """The datum that a file of a worker is about; None when it ended."""
    if path.endswith(".new"):
        return None
    try:
        with open(path, "rb") as file:
            line = file.readline()
            return Running(msgspec.json.decode(line, type=LiveDatum), os.fspath(path), len(line))
    except (FileNotFoundError, msgspec.DecodeError):
        return None
