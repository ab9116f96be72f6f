"""Small datums by the worker of a pod, with user code in a container of its own, against the worker on this machine: 2,000 of them, one at a time.

Aim: 1.5 times as long a datum, once both have begun. Both processes of the pod run here, without Kubernetes; takes root and a static busybox.
"""

import os
import statistics
from pathlib import Path

from benchmarks.measuring import line, places
from pachyderm_dagster.executors.datum_sets import in_sets
from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.pps.spec import DatumSetSpec
from pachyderm_dagster.worker.protocol import DatumTask
from tests.worker.pods import BUSYBOX, PodPlace
from tests.worker.running import Place

DATUMS, ROUNDS, SET_SIZE = int(os.environ.get("DATUMS", "2000")), 3, 500
COMMAND = ("sh", "-c", "cat /pfs/in/a >/pfs/out/a")


def main() -> None:
    """Prints the ratio, on disk and on tmpfs."""
    if os.geteuid() != 0 or BUSYBOX is None:
        line("datums in pods: takes root and busybox-static", None)
        return
    for folder in places():
        here, there = [], []
        for number in range(ROUNDS):
            here.append(on_this_machine(folder / f"here-{number}"))
            there.append(in_a_pod(folder / f"there-{number}"))
        local, pod = statistics.median(here), statistics.median(there)
        line("a small datum in a pod against one here", pod / local, 1.5, detail=f"{pod * 1000:.2f} ms, {local * 1000:.2f} ms")


def tasks(place: Place) -> list[DatumTask]:
    return list(in_sets((place.task(number, {"in": {"/a": b"%d" % number}}) for number in range(DATUMS)), DatumSetSpec(number=SET_SIZE)))


def on_this_machine(folder: Path) -> float:
    """Seconds a datum."""
    folder.mkdir()
    place = Place(folder)
    given = tasks(place)
    with LocalExecutor(os.environ) as executor:
        return seconds_each(sorted((result.started, result.process_seconds) for result in executor.run(place.setup(*COMMAND), given, 1)))


def in_a_pod(folder: Path) -> float:
    """Seconds a datum."""
    folder.mkdir()
    place = PodPlace(folder)
    try:
        place.give(*COMMAND, tasks=tasks(place), set_size=SET_SIZE)
        place.start_pod().wait()
        return seconds_each(sorted((result.started, result.process_seconds) for result in place.new_results()))
    finally:
        place.close()


def seconds_each(runs: list[tuple[float, float]]) -> float:
    """From the start of the first datum to the end of the last, by their number."""
    assert len(runs) == DATUMS
    return (runs[-1][0] + runs[-1][1] - runs[0][0]) / DATUMS


if __name__ == "__main__":
    main()
