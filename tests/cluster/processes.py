"""A cluster's daemons, one file with its pid each; a pid counts only together with the time at which that process began and with its command line."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.cluster.commands import last_lines, wait_until
from tests.cluster.errors import ClusterError

ENDING_SECONDS = 10


class Started(msgspec.Struct, frozen=True):
    """What a pid file holds."""

    pid: int
    began: int
    command: list[str]


def start(name: str, command: Sequence[str], *, folder: Path, logs: Path, group_files: Sequence[Path]) -> bool:
    """Starts a daemon unless it runs with this command line; one that runs with another is ended first. Returns whether it was started."""
    running = find_running(name, folder=folder)
    if running is not None:
        if running.command == list(command):
            return False
        end(name, folder=folder)
    join = "".join(f'echo $$ >"{file}"\n' for file in group_files)
    joined = ["/bin/sh", "-ec", f'{join}exec "$@"', name, *command]
    # Through a shell that ends at once, so that the daemon is nobody's child and outlives whoever starts it.
    starting = ["/bin/sh", "-c", 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!', "start", str(logs / f"{name}.log"), *joined]
    pid = int(subprocess.run(starting, stdout=subprocess.PIPE, text=True, start_new_session=True, cwd=folder, check=True).stdout)
    began = _began(pid)
    if began is None:
        raise ClusterError(f"{name} ended at once:\n{last_log_lines(name, logs=logs)}")
    beside = folder / f"{name}.pid.new"
    beside.write_bytes(msgspec.json.encode(Started(pid, began, list(command))))
    beside.rename(folder / f"{name}.pid")
    return True


def find_running(name: str, *, folder: Path) -> Started | None:
    """The daemon of that name, or None when it does not run."""
    try:
        started = msgspec.json.decode((folder / f"{name}.pid").read_bytes(), type=Started)
    except FileNotFoundError:
        return None
    return started if _began(started.pid) == started.began else None


def end(name: str, *, folder: Path) -> None:
    running = find_running(name, folder=folder)
    if running is None:
        return
    subprocess.run(["kill", "-TERM", str(running.pid)], check=False, stderr=subprocess.DEVNULL)
    if not wait_until(lambda: find_running(name, folder=folder) is None, seconds=ENDING_SECONDS):
        subprocess.run(["kill", "-KILL", str(running.pid)], check=False, stderr=subprocess.DEVNULL)
        wait_until(lambda: find_running(name, folder=folder) is None, seconds=ENDING_SECONDS)


def last_log_lines(name: str, *, logs: Path) -> str:
    return last_lines((logs / f"{name}.log").read_text(errors="replace"))


def _began(pid: int) -> int | None:
    """When a process began, in ticks since the machine did; None when there is none or it is a zombie."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if after_name[0] == "Z" else int(after_name[19])
