"""What the containers of a pod run, and what the user's sees of the volume: the only part of a pod that is not about Kubernetes."""

from collections.abc import Mapping
from dataclasses import dataclass

from pachyderm_dagster.log_lines import TEXT

PACH = "/pach"
_PYTHON = ("python", "-P", "-m")


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands of the containers.

    Args:
        worker_folders, user_folders: by path where the folder in the volume is that the container finds there.
        refused: exit code of the user's container that says that the worker refused to go on, and why is in the work area.
    """

    starter: tuple[str, ...]
    worker: tuple[str, ...]
    user: tuple[str, ...]
    worker_folders: Mapping[str, str]
    user_folders: Mapping[str, str]
    read_only: frozenset[str]
    refused: int


def job_commands(job: str, store_url: str, log_format: str = TEXT) -> Commands:
    """The commands of the pods of a Job (worker/pod.py)."""
    return _commands("pod", store_url, job, "$(JOB_COMPLETION_INDEX)", log_format=log_format)


def staying_commands(workers: str, store_url: str, log_format: str = TEXT) -> Commands:
    """The commands of the pods of a Deployment (worker/long_lived.py)."""
    return _commands("long_lived", store_url, workers, log_format=log_format)


def kept_commands(area: str, store_url: str, log_format: str = TEXT) -> Commands:
    """The commands of the pod of a service or a spout (worker/staying_code.py)."""
    return _commands("staying_code", store_url, area, log_format=log_format)


def leave_command(drain: int, grace: int) -> tuple[str, ...]:
    """What ends user code in its container when its pod is to go: after `drain` seconds, with `grace` seconds for it (worker/in_pod/leave)."""
    return ("/pach/bin/busybox", "sh", "/pach/bin/leave", str(drain), str(grace))


def _commands(module: str, *words: str, log_format: str) -> Commands:
    return Commands(
        starter=(*_PYTHON, "pachyderm_dagster.worker.starter", PACH),
        worker=(*_PYTHON, f"pachyderm_dagster.worker.{module}", *words, "$(POD_UID)", *([] if log_format == TEXT else [log_format])),
        user=("/pach/bin/busybox", "sh", "/pach/bin/starter"),
        worker_folders={PACH: "", "/pfs": "pfs"},
        user_folders={"/pfs": "pfs", "/pach/bin": "bin", "/pach/run": "run"},
        read_only=frozenset({"/pach/bin"}),
        refused=69,
    )
