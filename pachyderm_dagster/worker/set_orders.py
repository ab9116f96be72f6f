"""Datums from the sets of a work area: claims one set after another, hands out its tasks, adds results to it in parts."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pachyderm_dagster.worker.deaths import Deaths
from pachyderm_dagster.worker.protocol import MOST_DEATHS_OF_A_DATUM, DatumResult, DatumTask
from pachyderm_dagster.worker.set_claims import SetClaims
from pachyderm_dagster.worker.work_area import WorkArea

_PART_SECONDS = 1.0
# Of the time since the set was begun: a set that takes hours has some dozens of parts, not thousands, which the driver has to list.
_PART_SHARE = 1 / 8
# With datums as short as this the next set is claimed before the last datum has ended, and nobody else waits long for one.
_SHORT_SECONDS = 0.25
_LOOK_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class Looks:
    """For how long a worker waits that found nothing to do, at first and at most."""

    first_seconds: float = 0.5
    longest_seconds: float = 5.0

    def next(self, seconds: float) -> float:
        """The wait behind one of so many seconds."""
        return min(seconds * _LOOK_GROWTH, self.longest_seconds)


USUAL_LOOKS = Looks()


@dataclass(slots=True)
class _Set:
    """A set that this worker has: the datums without a result, and results that are in no part yet."""

    number: int
    part: int
    waiting: set[int]
    begun: float
    due: float
    results: list[DatumResult] = field(default_factory=list)


class SetOrders:
    """The sets of one worker. `next_task`, `ran` and `answer` are called by a thread each; `tell` runs in another.

    Args:
        claims: makes them, when the first set is asked for.
        looks: for a set that may come.
        told: is called when results are told, by the third.
        wait: waits so many seconds, for a set that may come.
        now: seconds, of a clock that is never set.
    """

    def __init__(
        self,
        area: WorkArea,
        claims: Callable[[], SetClaims],
        *,
        looks: Looks = USUAL_LOOKS,
        told: Callable[[], None] = lambda: None,
        wait: Callable[[float], object] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._area, self._open_claims, self._told = area, claims, told
        self._deaths = Deaths(area)
        self._looks, self._wait, self._now = looks, wait, now
        self._claims: SetClaims | None = None
        self._tasks: deque[DatumTask] = deque()
        # Held for all below.
        self._changed = threading.Condition()
        self._sets: dict[int, _Set] = {}
        self._set_of: dict[int, int] = {}
        self._to_run: set[int] = set()
        self._seconds = 0.0
        self._answered = 0
        self._writing = False
        self._closed = False

    def next_task(self) -> DatumTask | None:
        """Waits for the next datum of a set of this worker; None when every set there is has a worker, and no more will come."""
        while not self._tasks:
            self._await_room()
            number = self._take()
            if number is None:
                return None
            self._open(number)
        return self._tasks.popleft()

    def ran(self, index: int) -> None:
        """Takes that a datum has run, whose files are still to be stored."""
        with self._changed:
            self._to_run.discard(index)
            self._changed.notify_all()

    def answer(self, results: Sequence[DatumResult]) -> None:
        """Takes results; they are in a part of their set soon, and at once when the set has no other."""
        with self._changed:
            for result in results:
                one = self._sets[self._set_of.pop(result.index)]
                one.results.append(result)
                one.waiting.discard(result.index)
                self._to_run.discard(result.index)
                self._seconds += result.process_seconds + result.download_seconds + result.upload_seconds
                self._answered += 1
            self._changed.notify_all()

    def tell(self) -> None:
        """Writes the parts as they are due, until `close`. Errors as the store's."""
        while (one := self._next_due()) is not None:
            self._write(one)

    def close(self, seconds: float | None = None) -> None:
        """Waits until all results are in parts, so long at most; `tell` returns then, and what is not finished is given back."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._writing and not any(one.results or not one.waiting for one in self._sets.values()), seconds)
        if self._claims is not None:
            self._claims.close()

    def _next_due(self) -> _Set | None:
        """Waits for a set whose results are to be written; None at the end."""
        with self._changed:
            while True:
                full = [one for one in self._sets.values() if one.results or not one.waiting]
                ready = next((one for one in full if not one.waiting or self._closed or one.due <= self._now()), None)
                if ready is not None:
                    self._writing = True
                    return ready
                if self._closed:
                    return None
                self._changed.wait(min((one.due - self._now() for one in full), default=None))

    def _write(self, one: _Set) -> None:
        with self._changed:
            results, one.results = one.results, []
            is_last = not one.waiting
        part = self._area.append_results(one.number, one.part, results, last=is_last)
        if is_last and self._claims is not None:
            self._claims.finish(one.number)
        self._told()
        with self._changed:
            one.part = part
            one.due = self._now() + max(_PART_SECONDS, (self._now() - one.begun) * _PART_SHARE)
            if is_last:
                del self._sets[one.number]
            self._writing = False
            self._changed.notify_all()

    def _await_room(self) -> None:
        """Waits until this worker may have another set: others would wait for the datums of one that it cannot begin."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_free() or (self._answered and self._seconds / self._answered < _SHORT_SECONDS))

    def _is_free(self) -> bool:
        """Whether a datum could run at once. What one set made may wait to be stored, not more: a disk has to hold it."""
        return not self._to_run and len(set(self._set_of.values())) <= 1

    def _take(self) -> int | None:
        """Claims a set; None when every set there is has a worker, and no more will come."""
        if self._claims is None:
            self._claims = self._open_claims()
        seconds = self._looks.first_seconds
        while (number := self._claims.take()) is None:
            if not self._claims.may_come():
                return None
            self._wait(seconds)
            seconds = self._looks.next(seconds)
        return number

    def _open(self, number: int) -> None:
        """Queues the tasks of a set that have no result. Those under which a pod died once come last, and none under which two did: its driver answers that."""
        done, part = self._area.results_of(number)
        deaths = Counter(death.datum for death in self._deaths.look())
        tasks = [task for task in self._area.read_set(number) if task.index not in done and deaths[task.index] < MOST_DEATHS_OF_A_DATUM]
        tasks.sort(key=lambda task: deaths[task.index])
        with self._changed:
            now = self._now()
            self._sets[number] = _Set(number, part, {task.index for task in tasks}, now, now + _PART_SECONDS)
            self._set_of.update((task.index, number) for task in tasks)
            self._to_run.update(task.index for task in tasks)
            self._changed.notify_all()
        self._tasks.extend(tasks)
