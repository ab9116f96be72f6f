"""What this machine knows of the processes of services and spouts, in a folder of the home for each pipeline: its log, and which process it is."""

import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from pachyderm_dagster.coordination.leases import Leases
from pachyderm_dagster.coordination.names import process_lease
from pachyderm_dagster.executors.process_marks import ProcessMark, end_session, is_alive

_FOLDER = "processes"
_RECORD = "process.json"


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Who keeps the process of a pipeline, and the process.

    Args:
        owner: of the lease that the keeper holds.
        keeper: the process that starts and ends it.
        worker: the first process of its session; None between two.
        started: when that was, in seconds since 1970.
        restarts: how often it was started again.
        job: what a service serves.
    """

    owner: str
    keeper: ProcessMark
    worker: ProcessMark | None = None
    started: float = 0.0
    restarts: int = 0
    job: str = ""
    port: int | None = None

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self.worker is not None and is_alive(self.worker)


def process_folder(home: Path, pipeline_key: int) -> Path:
    """The folder of a pipeline, by its row."""
    return home / _FOLDER / str(pipeline_key)


def read_record(folder: Path) -> ProcessRecord | None:
    """What is known of the process of a pipeline; None when nobody keeps one."""
    try:
        return msgspec.json.decode((folder / _RECORD).read_bytes(), type=ProcessRecord)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


def write_record(folder: Path, record: ProcessRecord) -> None:
    """Writes it down, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = folder / f"{_RECORD}.new"
    new.write_bytes(msgspec.json.encode(record))
    os.replace(new, folder / _RECORD)


def remove_record(folder: Path, owner: str) -> None:
    """Who kept the process as `owner` does so no more; its log stays, and so does what somebody else wrote down meanwhile."""
    found = read_record(folder)
    if found is not None and found.owner == owner:
        (folder / _RECORD).unlink(missing_ok=True)


def is_kept(folder: Path, owner: str | None) -> bool:
    """Whether somebody keeps the process of a pipeline, which that folder is of; `owner` holds the lease. A keeper of this machine that was killed has kept
    nothing since, though its lease ends only some seconds later.
    """
    record = read_record(folder)
    was_killed = record is not None and record.owner == owner and record.keeper.is_here and not is_alive(record.keeper)
    return owner is not None and not was_killed


def end_left(home: Path, leases: Leases, *, seconds: float) -> Iterator[int]:
    """Ends what keepers left that were killed, and takes their claims away; the numbers of the processes that it ended.

    Args:
        seconds: that a process has before it is killed.
    """
    for key in _keys(home):
        folder, lease = process_folder(home, key), process_lease(key)
        record = read_record(folder)
        if record is None or _is_kept(record, leases, lease):
            continue
        ended = record.worker is not None and end_session(record.worker, seconds=seconds)
        # First, since another keeper may write its own as soon as it has the lease.
        remove_record(folder, record.owner)
        leases.release(lease, record.owner)
        if record.worker is not None and ended:
            yield record.worker.pid


def remove_gone(home: Path, keys: Collection[int]) -> None:
    """Removes the folders that nobody keeps of pipelines that are gone; `keys` are the rows of those that are there."""
    for key in _keys(home):
        folder = process_folder(home, key)
        if key not in keys and read_record(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)


def _is_kept(record: ProcessRecord, leases: Leases, lease: str) -> bool:
    """Whether its keeper lives. One that cannot be seen from here is believed to for as long as the lease is held, which ends by itself."""
    return is_alive(record.keeper) if record.keeper.is_here else leases.is_held(lease)


def _keys(home: Path) -> list[int]:
    try:
        return [int(name) for name in os.listdir(home / _FOLDER) if name.isdigit()]
    except FileNotFoundError:
        return []
