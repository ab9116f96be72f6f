"""Which area an attempt has: one that a killed driver left, or one of a new name."""

import pytest

from pachyderm_dagster.executors.kubernetes.attempt_areas import choose_area
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.worker.job_queue import JobQueue
from pachyderm_dagster.worker.protocol import WorkerSetup
from pachyderm_dagster.worker.work_area import WorkArea
from tests.storage.conftest import store

__all__ = ["store"]
JOB, WORKERS = "edges-v1-0a1b", "edges-v1-workers"
SETUP = WorkerSetup(store_url="memory://", scratch="/s", cmd=("cp", "a"))


def choose(store: ObjectStore, new_id: str, coordination: str = "") -> WorkArea:
    return choose_area(store, JOB, JobQueue(store, WORKERS), coordination, new_id)


def keys(store: ObjectStore) -> list[str]:
    return [found.key for found in store.list("work")]


@pytest.mark.parametrize("coordination", ["", "etcd://etcd.lab:2379/p"])
def test_area_of_a_killed_driver_is_gone_on_with(store: ObjectStore, coordination: str) -> None:
    first = choose(store, "id1", coordination)
    assert first.job == f"{JOB}.id1"
    first.begin(SETUP, coordination)
    first.write_sets([])
    assert choose(store, "id2", coordination) == first


def test_area_with_another_place_for_claims_is_left_and_removed(store: ObjectStore) -> None:
    first, queue = choose(store, "id1"), JobQueue(store, WORKERS)
    first.begin(SETUP)
    queue.offer(first.job)
    queue.offer("others")
    assert choose(store, "id2", "etcd://etcd.lab:2379/p").job == f"{JOB}.id2"
    assert keys(store) == [f"work/{WORKERS}/jobs/others"]


def test_area_of_another_layout_is_left_and_removed(store: ObjectStore) -> None:
    # As msgpack: {"setup": nil, "layout": 2}. Its driver was of another version.
    store.put_new(f"work/{JOB}.id1/setup", b"\x82\xa5setup\xc0\xa6layout\x02")
    assert choose(store, "id2").job == f"{JOB}.id2"
    assert keys(store) == []


def test_what_is_left_of_others_is_removed_and_the_one_that_stands_found(store: ObjectStore) -> None:
    begun = choose(store, "id1")
    begun.begin(SETUP)
    # What pods wrote that had not seen the end, and a removal that was cut off.
    for name in ("id0/results/00000001/000000-last", "id01/takers/pod/00000000", "id02/removing", "id02/setup"):
        store.put_new(f"work/{JOB}.{name}", b"")
    others = [f"work/{JOB}-x.id0/results/00000000/000000", f"work/{JOB}/setup", f"work/{JOB}0.id0/setup"]
    for key in others:
        store.put_new(key, b"")
    assert choose(store, "id2") == begun
    assert keys(store) == sorted([*others, f"work/{JOB}.id1/setup"])


def test_name_of_an_area_that_was_removed_does_not_come_again(store: ObjectStore) -> None:
    first = choose(store, "id1")
    first.begin(SETUP)
    first.remove()
    assert choose(store, "id2").job == f"{JOB}.id2"
