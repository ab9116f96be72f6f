"""How many pods of a job work, as the log of its run says."""

import itertools
import threading

from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.executors.kubernetes.working_pods import WorkingPods
from tests.executors.kubernetes.places import Place, Running, place

__all__ = ["place"]


def pods(number: int) -> list[Manifest]:
    """So many that work."""
    both = {"initContainerStatuses": [{"name": "worker", "state": {"running": {}}}], "containerStatuses": [{"name": "user", "state": {"running": {}}}]}
    return [{"metadata": {"name": f"copy-{index}"}, "status": {"phase": "Running", **both}} for index in range(number)]


def job(**status: int) -> list[Manifest]:
    return [{"metadata": {"name": "copy"}, "spec": {"parallelism": 4, "completions": 4}, "status": status}]


def test_what_changes_is_told_soon_and_what_does_not_ever_more_rarely() -> None:
    told: list[str] = []
    working = WorkingPods("Job copy", told.append)
    found: list[tuple[int, str]] = []
    for second in range(1500):
        running, status = (0, {}) if second < 2 else (3, {}) if second < 10 else (3, {"failed": 1}) if second < 20 else (4, {"failed": 1})
        working.look(pods(running), job(**status), 1000.0 + second)
        found += [(second, line) for line in told]
        told.clear()
    assert found[:4] == [
        (0, "Job copy: 0 of 4 pods work"),
        (5, "Job copy: 3 of 4 pods work"),
        (10, "Job copy: 3 of 4 pods work, 1 failed before"),
        (20, "Job copy: 4 of 4 pods work, 1 failed before"),
    ]
    assert {line for _, line in found[4:]} == {"Job copy: 4 of 4 pods work, 1 failed before"}
    between = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(found[3:])]
    # A tenth of 1,400 s are 140.
    assert between[0] == 60 and between == sorted(between) and 120 < between[-1] < 150


def test_nothing_is_told_before_it_is_seen_what_makes_the_pods() -> None:
    told: list[str] = []
    WorkingPods("Job copy", told.append).look([], [], 0.0)
    assert told == []


def test_log_names_the_job_of_the_cluster_and_its_pods(place: Place) -> None:
    place.pods.gate.clear()
    running = Running(place)
    name = place.job()["metadata"]["name"]
    wait = threading.Event()
    while not place.told:
        wait.wait(0.02)
    place.pods.gate.set()
    running.join()
    assert place.told[0].startswith(f"Job {name}: ") and place.told[0].endswith(" of 2 pods work")
