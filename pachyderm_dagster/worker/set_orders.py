"""Datums from the sets of a work area: claims one set after another, hands out its tasks, adds results to it in parts."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from pachyderm_dagster.worker.protocol import DatumResult, DatumTask
from pachyderm_dagster.worker.work_area import Claim, WorkArea

MOST_DEATHS_OF_A_DATUM = 2
_PART_SECONDS = 1.0
# Of the time since the set was begun: a set that takes hours has some dozens of parts, not thousands, which the driver has to list.
_PART_SHARE = 1 / 8
# With datums as short as this the next set is claimed before the last datum has ended, and nobody else waits long for one.
_SHORT_SECONDS = 0.25
_LOOK_SECONDS = 0.5
# Workers begin to look at places that are spread evenly however many they are: multiples of the golden ratio.
_SPREAD = 0.6180339887498949


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
    """The sets of one worker. `next_task` is called by one thread, `answer` by another; `tell` runs in a third.

    Args:
        told: is called when results are told, by the third.
        wait: waits so many seconds, for a set that may come.
        now: seconds, of a clock that is never set.
    """

    def __init__(
        self,
        area: WorkArea,
        claim: Claim,
        *,
        told: Callable[[], None] = lambda: None,
        wait: Callable[[float], object] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._area, self._claim, self._told = area, claim, told
        self._wait, self._now = wait, now
        self._tasks: deque[DatumTask] = deque()
        self._own: deque[int] | None = None
        self._next: int | None = None
        # Held for all below.
        self._changed = threading.Condition()
        self._sets: dict[int, _Set] = {}
        self._set_of: dict[int, int] = {}
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

    def answer(self, results: Sequence[DatumResult]) -> None:
        """Takes results; they are in a part of their set soon, and at once when the set has no other."""
        with self._changed:
            for result in results:
                one = self._sets[self._set_of.pop(result.index)]
                one.results.append(result)
                one.waiting.discard(result.index)
                self._seconds += result.process_seconds + result.download_seconds + result.upload_seconds
                self._answered += 1
            self._changed.notify_all()

    def tell(self) -> None:
        """Writes the parts as they are due, until `close`. Errors as the store's."""
        while (one := self._next_due()) is not None:
            self._write(one)

    def close(self, seconds: float | None = None) -> None:
        """Waits until all results are in parts, so long at most; `tell` returns then."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._writing and not any(one.results or not one.waiting for one in self._sets.values()), seconds)

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
            self._changed.wait_for(lambda: not self._set_of or (self._answered and self._seconds / self._answered < _SHORT_SECONDS))

    def _take(self) -> int | None:
        """Claims a set; first those that this completion index has already."""
        if self._own is None:
            self._own = deque(self._area.claims_of(self._claim.index))
        if self._own:
            return self._own.popleft()
        while True:
            # In this order: a set that comes later is then not overlooked.
            total = self._area.sets_written()
            for number in self._free(total):
                # After a lost race the next one may be had.
                if self._area.claim(number, self._claim):
                    self._next = number + 1
                    return number
            if total is not None:
                return None
            self._wait(_LOOK_SECONDS)

    def _free(self, total: int | None) -> Iterable[int]:
        """The sets that nobody has, from where this worker is on, and then those before: where that is, all that is listed is one page."""
        if total is None:
            free = list(self._area.free_sets(0))
            start = int(self._claim.index * _SPREAD % 1 * len(free))
            return free[start:] + free[:start]
        if self._next is None:
            self._next = int(self._claim.index * _SPREAD % 1 * total)
        return chain(self._area.free_sets(self._next), self._area.free_sets(0))

    def _open(self, number: int) -> None:
        """Queues the tasks of a set that have no result. Those under which a pod died once come last, and none under which two did: its driver answers that."""
        done, part = self._area.results_of(number)
        deaths = Counter(death.datum for death in self._area.deaths())
        tasks = [task for task in self._area.read_set(number) if task.index not in done and deaths[task.index] < MOST_DEATHS_OF_A_DATUM]
        tasks.sort(key=lambda task: deaths[task.index])
        with self._changed:
            now = self._now()
            self._sets[number] = _Set(number, part, {task.index for task in tasks}, now, now + _PART_SECONDS)
            self._set_of.update((task.index, number) for task in tasks)
            self._changed.notify_all()
        self._tasks.extend(tasks)
