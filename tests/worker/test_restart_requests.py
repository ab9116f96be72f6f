"""How often a worker asks the store whether the datum that runs is to be run again."""

import itertools
import threading
from collections.abc import Sequence
from typing import NoReturn

from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.worker.restart_requests import LOOK_SECONDS, MOST_LOOK_SECONDS, watch_restarts
from pachyderm_dagster.worker.work_area import WorkArea
from tests.storage.faulty import CountingStore


class Waits(threading.Event):
    """Waits that end at once, so many; then the looks are over."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.left, self.ended = number, threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout == LOOK_SECONDS
        self.left -= 1
        if self.left < 0:
            self.ended.set()
        return self.left < 0


class Looked(CountingStore):
    """An empty store that keeps, of each look into it, behind which wait it came."""

    def __init__(self, waits: Waits) -> None:
        super().__init__(open_store("memory://"))
        self.waits, self.number, self.looks = waits, waits.left, list[int]()

    def get(self, key: str) -> bytes:
        self.looks.append(self.number - self.waits.left)
        return super().get(key)


def looks_while(running: Sequence[str | None]) -> list[int]:
    """Behind which waits a worker looks that finds these datums running, wait by wait."""
    waits = Waits(len(running))
    store, found = Looked(waits), iter(running)

    def restart() -> NoReturn:
        raise AssertionError("nobody asked for it")

    watch_restarts(WorkArea(store, "job-1"), lambda: next(found), restart, waits)
    assert waits.ended.wait(60)
    return store.looks


def test_short_datum_is_never_looked_for() -> None:
    assert looks_while(["a", None, "b", "c", "d", None]) == []


def test_long_datum_is_looked_for_less_often_the_longer_it_runs() -> None:
    looks = looks_while(["a"] * 1800)
    apart = [(later - earlier) * LOOK_SECONDS for earlier, later in itertools.pairwise(looks)]
    assert looks[:3] == [2, 3, 4]
    assert apart == sorted(apart) and apart[-1] == MOST_LOOK_SECONDS
    # An hour, in which there were 1,799 looks when all were two seconds apart.
    assert len(looks) < 1799 / 7
    assert all(one <= max(LOOK_SECONDS, look * LOOK_SECONDS / 8) for look, one in zip(looks, apart, strict=False))


def test_next_datum_is_looked_for_as_often_as_the_first() -> None:
    assert looks_while([*["a"] * 100, *["b"] * 3])[-2:] == [102, 103]
