"""Word of changes through a key of etcd, which is put at each change and watched; a watch goes on by revision where it broke off."""

import contextlib
import json
import logging
import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

import requests

from pachyderm_dagster.coordination import etcd_messages as m
from pachyderm_dagster.coordination.changes import Watcher
from pachyderm_dagster.coordination.etcd import Etcd
from pachyderm_dagster.coordination.etcd_messages import Message
from pachyderm_dagster.errors import PachydermError

log = logging.getLogger(__name__)

SILENT_SECONDS = 10.0
"""How long nothing is announced after an attempt that failed, so that an etcd that is away does not hold up each change."""
QUIET_SECONDS = 30.0
"""How long a watch is believed that says nothing; then it is opened again, for its member may be gone without a word."""
LEAST_SECONDS = 0.02
"""Between two returns of a wait: a burst of changes wakes nobody for each of them."""
_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0


class EtcdChanges:
    """Word of the changes of one record: a key below the prefix of an etcd. Whose revision it has is of no matter, only that it moved."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd
        self._key = f"{etcd.address.prefix}/changed"
        self._silent_until = 0.0

    def announce(self) -> None:
        if time.monotonic() < self._silent_until:
            return
        try:
            self._etcd.call("kv/put", {"key": m.encoded(self._key)}, patience_seconds=0)
        except PachydermError as error:
            self._silent_until = time.monotonic() + SILENT_SECONDS
            log.debug("a change is not announced: %s", error)

    def watch(self) -> AbstractContextManager[Watcher]:
        return EtcdWatcher(self._etcd, self._key)


class WatchBroken(Exception):
    """A watch ended, and is to be opened again."""


class EtcdWatcher:
    """A watch on a key, read by a thread for the length of a `with` block."""

    def __init__(self, etcd: Etcd, key: str) -> None:
        self._etcd, self._key = etcd, key
        self._word, self._done = threading.Event(), threading.Event()
        self._is_live = False
        self._returned = 0.0
        # What was seen last; 0: the watch begins with whatever comes next.
        self._revision = 0
        self._answer: requests.Response | None = None
        self._thread = threading.Thread(target=self._follow, name=f"watch {key}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        answer = self._answer
        if answer is not None:
            # Wakes the thread that reads it; closing it from here would wait for that thread. One that has ended cannot be shut down.
            with contextlib.suppress(ValueError, OSError):
                answer.raw.shutdown()
        # One that still connects ends by itself.
        self._thread.join(1)

    def wait(self, poll_seconds: float, longest_seconds: float) -> None:
        time.sleep(min(max(self._returned + LEAST_SECONDS - time.monotonic(), 0), longest_seconds))
        self._word.wait(longest_seconds if self._is_live else poll_seconds)
        # Before the caller looks, so that what comes from now on is waited for no more.
        self._word.clear()
        self._returned = time.monotonic()

    def _follow(self) -> None:
        pause = _PAUSE_SECONDS
        while not self._done.is_set():
            before = self._revision
            try:
                self._read()
            except (WatchBroken, PachydermError, requests.RequestException, ValueError, OSError) as error:
                # The last two: an answer that is cut off, a socket that was shut down.
                log.debug("the watch on %s is opened again: %s", self._key, error)
            self._is_live = False
            pause = _PAUSE_SECONDS if self._revision != before else min(2 * pause, _LONGEST_PAUSE_SECONDS)
            self._done.wait(pause)

    def _read(self) -> None:
        since = {"start_revision": str(self._revision + 1)} if self._revision else {}
        request = {"create_request": {"key": m.encoded(self._key), **since}}
        with self._etcd.stream("watch", request, quiet_seconds=QUIET_SECONDS) as answer:
            self._answer = answer
            if self._done.is_set():
                return
            for line in answer.iter_lines():
                if line:
                    self._take(json.loads(line))

    def _take(self, message: Message) -> None:
        if "result" not in message:
            raise WatchBroken(str(message.get("error")))
        result = message["result"]
        # The end of a compacted watch says no revision.
        seen = int(result["header"].get("revision", 0))
        if result.get("canceled", False) or seen < self._revision:
            # What was to come next is compacted away, or etcd begins anew with other data: anything may have been missed.
            self._revision = 0
            self._word.set()
            raise WatchBroken(f"at revision {seen}: {result.get('cancel_reason', 'canceled')}")
        if result.get("created", False):
            if self._revision == 0:
                # Of what changed before there is no word.
                self._word.set()
            self._is_live = True
        elif result.get("events"):
            self._word.set()
        self._revision = seen
