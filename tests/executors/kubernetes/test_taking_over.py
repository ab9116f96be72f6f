"""A driver that was slow, and lost its job to another one: it takes nothing away from that."""

import datetime as dt
import threading
from collections.abc import Callable

import pytest

from pachyderm_dagster.coordination.names import job_lease
from pachyderm_dagster.errors import ConflictError, ExecutionError
from pachyderm_dagster.pps.model import JobState
from pachyderm_dagster.worker.job_queue import JobQueue
from tests.executors.in_process import read_all
from tests.executors.kubernetes.places import COPY, Place, Running, place

__all__ = ["place"]


@pytest.mark.parametrize("more", ["", "autoscaling: true\n"], ids=["job", "staying"])
def test_driver_that_lost_its_job_leaves_the_pods_and_their_area_to_the_next_one(
    place: Place, create: Callable[..., None], monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    create(COPY + more, update=True)
    monkeypatch.setattr("pachyderm_dagster.coordination.leases.LEASE_TIME", dt.timedelta(seconds=1))
    place.pods.gate.clear()
    job = place.due()
    slow = Running(place)
    area, wait = place.area(), threading.Event()
    while area.sets_written() is None:
        wait.wait(0.01)
    leases, name = place.workspace.leases, job_lease(job.key)
    owner = leases.find_owner(name)
    assert owner is not None
    # As when it stood still for longer than the lease lives.
    leases.release(name, owner)
    next_one = Running(place)
    slow.join()
    place.pods.gate.set()
    next_one.join()
    (lost,) = slow.errors
    assert isinstance(lost, ConflictError)
    assert lost.code == "job-running"
    assert not next_one.errors
    assert [ended.state for ended in next_one.ended] == [JobState.SUCCESS]
    assert read_all(place.workspace, "copy@master") == {"/a": b"ONE", "/b": b"TWO", "/c": b"THREE"}
    assert sorted(place.pods.ran) == ["/a", "/b", "/c"]
    assert not place.areas()


def test_driver_of_a_job_that_is_not_offered_any_more_does_not_wait_for_ever(
    place: Place, create: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    create(COPY + "autoscaling: true\n", update=True)
    monkeypatch.setattr("pachyderm_dagster.executors.kubernetes.staying_pods.OFFER_SECONDS", 0.0)
    place.pods.gate.clear()
    running = Running(place)
    place.server.wait(lambda: bool(place.server.objects("deployments")))
    workers = place.server.objects("deployments")[0]["metadata"]["name"]
    JobQueue(place.workspace.store, workers).remove(place.area().job)
    place.pods.gate.set()
    running.join()
    (error,) = running.errors
    assert isinstance(error, ExecutionError)
    assert error.code == "pods-lost"
    assert place.run().state is JobState.SUCCESS
