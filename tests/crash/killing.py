"""Kills the process that it is in before a chosen one of the calls by which it changes what outlives it."""

import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

# What the folder store and SQLite's copies do to files. Calls that only look change nothing, so a kill before one is a kill before the next of these.
CALLS = ("link", "unlink", "rename", "replace", "mkdir", "utime")
LOOKS = ("SELECT", "BEGIN", "PRAGMA", "SAVEPOINT", "RELEASE", "ROLLBACK")


class Killer:
    """Counts calls from `arm` on."""

    def __init__(self) -> None:
        self.calls = 0
        self._at: int | None = None
        self._lock = threading.Lock()

    def arm(self, at: int | None) -> None:
        """Lets the call of this number, from now on, be the last thing that the process begins; with None it only counts."""
        with self._lock:
            self.calls, self._at = 0, at

    def count(self, last_words: Callable[[], object] = lambda: None) -> None:
        """One call is about to be made; `last_words` is done when it is not."""
        with self._lock:
            self.calls += 1
            if self.calls == self._at:
                last_words()
                os.kill(os.getpid(), signal.SIGKILL)


def count_calls(killer: Killer) -> None:
    """Has `killer` count the calls of this process, for ever: for a forked child."""
    for name in CALLS:
        setattr(os, name, _counted(killer, getattr(os, name)))
    make, write = os.open, os.writev

    def make_counted(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            killer.count()
        return make(path, flags, *rest, **named)

    def write_counted(descriptor: int, views: Sequence[Any]) -> int:
        # Cut short: a file with half of its bytes is what a killed write leaves.
        killer.count(lambda: os.write(descriptor, memoryview(views[0]).cast("B")[: len(views[0]) // 2]))
        return write(descriptor, views)

    # What is synced outlives a machine without power; a process without its life leaves the same, synced or not.
    for name, counted in (("open", make_counted), ("writev", write_counted), ("fsync", lambda _descriptor: killer.count())):
        setattr(os, name, counted)

    @event.listens_for(sa.Engine, "before_cursor_execute")
    def execute(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.lstrip().upper().startswith(LOOKS):
            killer.count()

    @event.listens_for(sa.Engine, "commit")
    def commit(_connection: object) -> None:
        killer.count()


def do_not_sync() -> None:
    """Has SQLite leave to the kernel when to write what: that outlives a process, however it ends."""

    @event.listens_for(sa.pool.Pool, "checkout")
    def checkout(connection: Any, *_: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")


def _counted(killer: Killer, call: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*words: Any, **named: Any) -> Any:
        killer.count()
        return call(*words, **named)

    return counted
