"""The content of the open commit that was looked at last: looking again and again must not store its tree each time."""

import contextlib
import datetime as dt
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from pachyderm_dagster.metadata.database import Database
from pachyderm_dagster.pfs.finishing import Staged
from pachyderm_dagster.pfs.horizon import is_collected
from pachyderm_dagster.storage.tree_reading import TreeRoot


@dataclass(frozen=True, slots=True)
class Merged:
    """What an open commit would hold if it were finished now.

    Attributes:
        since: from when on it was stored; as nothing refers to it, it may be collected.
    """

    staged: Staged
    root: TreeRoot
    since: dt.datetime


class LastMerged:
    """Keeps the newest answer, and knows who is writing. For several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._last: Merged | None = None
        self._writers: list[dt.datetime] = []

    @contextlib.contextmanager
    def writing(self) -> Iterator[dt.datetime]:
        """Gives the time from when on the block may have found what it refers to: meanwhile nothing older is given to those who look."""
        since = self._database.clock.now()
        with self._lock:
            self._writers.append(since)
        try:
            yield since
        finally:
            with self._lock:
                self._writers.remove(since)

    def find(self, staged: Staged) -> Merged | None:
        """What is kept of an open commit, when it was not collected; to be referred to only by who minds its `since`."""
        last = self._last
        if last is None or last.staged != staged:
            return None
        with self._database.read() as txn:
            return None if is_collected(txn, last.since) else last

    def find_to_read(self, staged: Staged) -> TreeRoot | None:
        """The same for who looks: it may be copied from into what is being written."""
        found = self.find(staged)
        with self._lock:
            return None if found is None or any(found.since < writer for writer in self._writers) else found.root

    def keep(self, merged: Merged) -> None:
        """Keeps an answer in place of the one before."""
        self._last = merged
