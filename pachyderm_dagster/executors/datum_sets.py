"""Datum sets: how many datums a worker is given at a time, and, under datum batching, how many one process works on."""

from collections.abc import Iterable, Iterator

import msgspec

from pachyderm_dagster.pps.spec import DatumSetSpec
from pachyderm_dagster.worker.protocol import DatumTask

SETS_PER_WORKER = 4
MOST_DATUMS = 1000
"""In a set whose size nobody chose: a set is in memory whole, and a worker that is lost leaves all of it undone."""


def choose_sets(spec: DatumSetSpec | None, datums: int, workers: int) -> DatumSetSpec:
    """The number and bytes after which a set is full. When a pipeline says neither, so many datums that each worker gets `per_worker` sets."""
    if spec is not None and (spec.number or spec.size_bytes):
        return spec
    per_worker = (spec.per_worker if spec else 0) or SETS_PER_WORKER
    return DatumSetSpec(number=min(max(datums // (workers * per_worker), 1), MOST_DATUMS))


def in_sets(tasks: Iterable[DatumTask], sets: DatumSetSpec) -> Iterator[DatumTask]:
    """The tasks, in their order, each with the number of its set; a set takes the datum that fills it."""
    current = count = size = 0
    for task in tasks:
        if (sets.number and count >= sets.number) or (sets.size_bytes and size >= sets.size_bytes):
            current, count, size = current + 1, 0, 0
        count += 1
        if sets.size_bytes:
            size += sum(content.size for file in task.inputs for _, content in file.files)
        yield msgspec.structs.replace(task, datum_set=current)


def gather(tasks: Iterable[DatumTask]) -> Iterator[tuple[DatumTask, ...]]:
    """The sets, each whole; a task without one is alone."""
    gathered: list[DatumTask] = []
    for task in tasks:
        if gathered and task.datum_set != gathered[0].datum_set:
            yield tuple(gathered)
            gathered = []
        if task.datum_set is None:
            yield (task,)
        else:
            gathered.append(task)
    if gathered:
        yield tuple(gathered)
