"""Watches folders, also those that are replaced by others of their name, or are gone for a while."""

import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TypeAlias

from watchfiles import Change, watch

QUIET_MILLISECONDS = 50
"""So long nothing changes before what changed is looked at, unless something changes without end."""
MOST_MILLISECONDS = 1000
_LOOK_SECONDS = 0.1
_MOST_UNQUIET = 5
"""So many changes of a folder that came back are waited for, until it stands still: whoever copies it is not done before."""

Identity: TypeAlias = tuple[int, int] | None
"""Which folder it is that has a name; None when there is none."""


class FolderWatch:
    """Says when something below folders changed. What the system tells of is a folder, not its name: so it is looked whether the names mean the same ones.

    Args:
        stop: ends what `changes` gives.
        tell: takes lines for people.
    """

    def __init__(self, stop: threading.Event, tell: Callable[[str], None]) -> None:
        self._stop, self._tell = stop, tell

    def changes(self, folders: Collection[str]) -> Iterator[None]:
        """Gives something when watching has begun, and whenever something changed since the last time and stands still."""
        known = identities(folders)
        is_due, waits = True, 0
        while not self._stop.is_set():
            for found in self._batches(known):
                if identities(folders) != known or any(kind is Change.deleted and path in known for kind, path in found):
                    break
                if is_due and found and waits > 0:
                    waits -= 1
                elif is_due or found:
                    is_due = False
                    yield
            now = identities(folders)
            self._tell_of(known, now)
            # The last may have been replaced by one that has its number.
            is_due = any(now.values())
            known, waits = now, _MOST_UNQUIET

    def _batches(self, known: Mapping[str, Identity]) -> Iterator[set[tuple[Change, str]]]:
        """What changes, a batch whenever it stands still; an empty one after a moment without any. Ends when there is nothing that can be watched."""
        there = [folder for folder, identity in known.items() if identity is not None]
        milliseconds = int(_LOOK_SECONDS * 1000)
        try:
            if there:
                yield from watch(
                    *there,
                    step=QUIET_MILLISECONDS,
                    debounce=MOST_MILLISECONDS,
                    rust_timeout=milliseconds,
                    yield_on_timeout=True,
                    stop_event=self._stop,
                )
        except FileNotFoundError:
            # It went away between the look and the watch.
            pass
        self._stop.wait(_LOOK_SECONDS)

    def _tell_of(self, before: Mapping[str, Identity], now: Mapping[str, Identity]) -> None:
        for folder in sorted(now):
            if before[folder] is not None and now[folder] is None:
                self._tell(f"{folder} is gone; it is watched again when it is back")
            elif before[folder] is None and now[folder] is not None:
                self._tell(f"{folder} is back")


def identities(folders: Collection[str]) -> dict[str, Identity]:
    """Which folders have these names now."""
    return {folder: _identity(folder) for folder in folders}


def _identity(folder: str) -> Identity:
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if os.path.isdir(folder) else None
