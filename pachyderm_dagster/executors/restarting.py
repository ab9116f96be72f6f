"""Requests that datums which run be run again: files in the folder of a run, from whoever asks to the process that has the workers."""

import contextlib
import os
from pathlib import Path

from pachyderm_dagster.executors.live import Running

_REQUESTS = "restart"


def ask_restart(running: Running) -> bool:
    """Asks for a datum that runs to be run again; it is within about a second, unless it ends before. False when its run is over."""
    folder = Path(running.path).parents[1]
    try:
        (folder / _REQUESTS).mkdir(exist_ok=True)
        (folder / _REQUESTS / running.datum.datum).touch()
    except FileNotFoundError:
        return False
    return True


def take_requests(folder: str) -> list[str]:
    """The ids of datums that were asked for in the folder of a run, each once; nothing but a look at one name when nobody asks."""
    requests = f"{folder}/{_REQUESTS}"
    try:
        asked = os.listdir(requests)
    except FileNotFoundError:
        return []
    for id in asked:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{requests}/{id}")
    return asked
