"""The lines that user code printed, with their times, in the order in which they came."""

import datetime as dt
import heapq
import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.results import DatumDetails

# So many datums are told interleaved; more of one job come in groups of so many.
WINDOW = 50_000


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that user code printed.

    Attributes:
        job: its name; empty of a spout, which has none.
        datum: empty of a service or spout.
        details: of the datum; of one that has not ended only what it reads.
        time: when it came; where that was not noted, about when.
        end: how many bytes of the datum's output there are up to the line's end.
    """

    pipeline: RepoName
    job: str
    datum: str
    details: DatumDetails
    text: str
    time: dt.datetime
    end: int


@dataclass(frozen=True, slots=True)
class SaidDatum:
    """A datum with output: when it was started, and how to get its lines."""

    started: dt.datetime
    lines: Callable[[], Iterator[LogLine]]


def cut_lines(text: bytes, started: dt.datetime, marks: Sequence[tuple[int, int]], start: int = 0) -> Iterator[tuple[str, dt.datetime, int]]:
    """The lines of output behind its first `start` bytes: each as text, when it began to come, and where in the output it ends.

    Args:
        marks: places in the output, and the milliseconds after `started` at which what is there came.
    """
    places = [place for place, _ in marks]
    while start < len(text):
        found = text.find(b"\n", start)
        end = len(text) if found < 0 else found + 1
        mark = bisect_right(places, start) - 1
        time = started + dt.timedelta(milliseconds=marks[mark][1]) if mark >= 0 else started
        yield text[start:end].decode(errors="replace").rstrip("\r\n"), time, end
        start = end


def interleave(datums: Iterable[SaidDatum]) -> Iterator[LogLine]:
    """The lines of many datums by their times, those of a datum in their order. Holds the output of datums that ran at the same time."""
    datums = iter(datums)
    while window := sorted(itertools.islice(datums, WINDOW), key=lambda datum: datum.started):
        yield from _merge(window)


def _merge(datums: Sequence[SaidDatum]) -> Iterator[LogLine]:
    """A heap of the next line of each datum that has begun; the number keeps apart what came at one time."""
    heap: list[tuple[dt.datetime, int, LogLine, Iterator[LogLine]]] = []
    for number, datum in enumerate(datums):
        while heap and heap[0][0] <= datum.started:
            yield _take(heap)
        lines = datum.lines()
        _push(heap, number, lines)
    while heap:
        yield _take(heap)


def _take(heap: list[tuple[dt.datetime, int, LogLine, Iterator[LogLine]]]) -> LogLine:
    _, number, line, lines = heapq.heappop(heap)
    _push(heap, number, lines)
    return line


def _push(heap: list[tuple[dt.datetime, int, LogLine, Iterator[LogLine]]], number: int, lines: Iterator[LogLine]) -> None:
    line = next(lines, None)
    if line is not None:
        heapq.heappush(heap, (line.time, number, line, lines))
