"""The driver's look at the results of a job: each look lists what may have come since the last, not all that ever came."""

from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from pachyderm_dagster.worker.protocol import DatumResult
from pachyderm_dagster.worker.work_area import Part, WorkArea

# So many finished sets in a row are not listed. Fewer are: another request for what is behind them would cost more.
_SKIPPED_SETS = 100
# Of small objects, each a round trip to the store.
_READ_AT_ONCE = 16


class Numbers:
    """A set of numbers of which most are neighbours; in memory is their first and last, where they are."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self._starts, number)
        return place > 0 and number < self._ends[place - 1]

    def add(self, number: int) -> None:
        if number in self:
            return
        place = bisect_right(self._starts, number)
        joins_before = place > 0 and self._ends[place - 1] == number
        joins_behind = place < len(self._starts) and self._starts[place] == number + 1
        if joins_before and joins_behind:
            self._ends[place - 1] = self._ends.pop(place)
            del self._starts[place]
        elif joins_before:
            self._ends[place - 1] += 1
        elif joins_behind:
            self._starts[place] -= 1
        else:
            self._starts.insert(place, number)
            self._ends.insert(place, number + 1)

    def others(self, shortest: int) -> Iterator[tuple[int, int | None]]:
        """Stretches, from a number to before another, or without an end, with all numbers that are not here. Runs shorter than `shortest` are in them."""
        first = 0
        for start, end in zip(self._starts, self._ends, strict=True):
            if end - start >= shortest:
                if start > first:
                    yield first, start
                first = end
        yield first, None


class Bits:
    """A set of numbers, a bit each up to the greatest."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        place = number >> 3
        return place < len(self._bytes) and bool(self._bytes[place] & 1 << (number & 7))

    def add(self, number: int) -> bool:
        """Whether it was not there."""
        place = number >> 3
        if place >= len(self._bytes):
            self._bytes.extend(bytes(place + 1 - len(self._bytes) + len(self._bytes) // 4))
        is_new = number not in self
        self._bytes[place] |= 1 << (number & 7)
        self._count += is_new
        return is_new

    def remove(self, number: int) -> bool:
        """Whether it was there."""
        if number not in self:
            return False
        self._bytes[number >> 3] &= ~(1 << (number & 7))
        self._count -= 1
        return True


@dataclass(slots=True)
class ResultsReader:
    """Reads the results of a job as they appear, each datum's once: the first that is found.

    In memory are a bit a datum, and the parts of sets that are begun.
    """

    area: WorkArea
    _finished: Numbers = field(default_factory=Numbers)
    _begun: dict[int, set[Part]] = field(default_factory=dict)
    _answered: Bits = field(default_factory=Bits)

    def new(self) -> Iterator[DatumResult]:
        """The results that came since the last look, some parts in memory at a time."""
        parts = self._new_parts()
        with ThreadPoolExecutor(_READ_AT_ONCE, thread_name_prefix="results") as pool:
            while some := list(islice(parts, _READ_AT_ONCE)):
                for part, results in zip(some, pool.map(self.area.read_part, some), strict=True):
                    self._note(part)
                    yield from (result for result in results if self._answered.add(result.index))

    def _new_parts(self) -> Iterator[Part]:
        for first, end in list(self._finished.others(_SKIPPED_SETS)):
            for part in self.area.parts(first):
                if end is not None and part.set_number >= end:
                    break
                if part.set_number not in self._finished and part not in self._begun.get(part.set_number, ()):
                    yield part

    def _note(self, part: Part) -> None:
        """Remembers that a part was read. A set is finished with its last part, when those before that were read."""
        parts = self._begun.setdefault(part.set_number, set())
        parts.add(part)
        last = min((one.number for one in parts if one.is_last), default=None)
        # The listing of a folder may show the last part, and not yet one that was written while it was made.
        if last is not None and {one.number for one in parts} >= set(range(last)):
            self._finished.add(part.set_number)
            del self._begun[part.set_number]
