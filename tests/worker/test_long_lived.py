"""Workers that stay between jobs, for real: one pod serves job after job, ends what is not wanted any more, and is freed of what it had when it is gone."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pachyderm_dagster.worker.job_queue import JobQueue, next_job
from pachyderm_dagster.worker.long_lived import idle_seconds
from pachyderm_dagster.worker.work_area import WorkArea
from tests.etcds import needs_etcd, new_address
from tests.worker.pods import WORKERS, PodPlace, needs_pods, pods, wait_for
from tests.worker.running import Ran

__all__ = ["pods"]


@pytest.mark.parametrize(
    ("offered", "last", "found"),
    [([], "", None), ([], "a", None), (["a", "b"], "", "a"), (["a", "b"], "a", "b"), (["a", "b"], "b", "a"), (["a"], "a", "a"), (["b"], "a", "b")],
)
def test_jobs_have_their_turns(offered: list[str], last: str, found: str | None) -> None:
    assert next_job(offered, last) == found


def test_looks_come_seldom_when_nothing_came_for_long() -> None:
    assert [round(idle_seconds(idle), 2) for idle in (0, 30, 300, 10_000)] == [0.1, 0.2, 1.0, 1.0]


class Driver:
    """What drivers do with pods that stay."""

    def __init__(self, place: PodPlace) -> None:
        self.place, self.queue = place, JobQueue(place.store, WORKERS)
        place.stay = True
        place.folder.chmod(0o755)

    def offer(self, job: str, *cmd: str, count: int = 1, **more: Any) -> WorkArea:
        self.place.area = WorkArea(self.place.store, job)
        tasks = [self.place.task(index, environment={"PACH_DATUM_ID": str(index)}) for index in range(count)]
        self.place.give("sh", "-c", *cmd, tasks=tasks, **more)
        self.queue.offer(job)
        return self.place.area

    def results(self, count: int) -> list[Ran]:
        wait_for(lambda: len(self.place.new_results()) == count)
        return self.place.results()

    def end(self, job: str) -> None:
        self.queue.remove(job)
        WorkArea(self.place.store, job).remove()

    def run(self, job: str, *cmd: str, count: int = 1) -> list[Ran]:
        self.offer(job, *cmd, count=count)
        ran = self.results(count)
        self.end(job)
        return ran


@pytest.fixture
def driver(pods: PodPlace) -> Driver:
    return Driver(pods)


@needs_pods
def test_one_pod_serves_job_after_job(driver: Driver) -> None:
    pod = driver.place.start_pod()
    first = driver.run("job-1", "echo one >/pfs/out/$PACH_DATUM_ID; echo left >/pfs/left", count=3)
    assert [(ran.state, ran.outputs) for ran in first] == [("SUCCESS", {f"/{index}": "one\n"}) for index in range(3)]
    again = driver.run("job-2", "ls /pfs; cat >/pfs/out/x", count=1)
    assert [(ran.state, ran.log) for ran in again] == [("SUCCESS", "out\n")]
    # It waits for the next one, with the same two processes.
    assert pod.user.poll() is None and pod.worker.poll() is None
    pod.user.terminate()
    assert pod.wait() == 143


@needs_pods
def test_datum_of_an_attempt_that_ended_is_ended_and_the_next_one_served(driver: Driver) -> None:
    pod = driver.place.start_pod()
    begun = driver.place.folder / "begun"
    driver.offer("job-1.first", f"touch {begun}; exec sleep 1000")
    wait_for(begun.exists)
    driver.end("job-1.first")
    # Of the next attempt at the job, at once.
    ran = driver.run("job-1.second", "ps -e -o args= | grep -c '^sleep 1000'; true")
    assert [(one.state, one.log) for one in ran] == [("SUCCESS", "0\n")]
    # What it claimed at the moment of the end it gives back.
    wait_for(lambda: not list(driver.place.store.list("work")))
    assert pod.worker.poll() is None


@needs_pods
def test_what_a_pod_had_that_is_gone_is_done_by_another(driver: Driver) -> None:
    begun = driver.place.folder / "begun"
    script = f"mkdir {begun} 2>/dev/null && exec sleep 1000; echo x >/pfs/out/$PACH_DATUM_ID"
    dies = driver.place.start_pod()
    area = driver.offer("job-1", script, count=6, set_size=2)
    wait_for(begun.exists)
    lives = driver.place.start_pod()
    wait_for(lambda: len(driver.place.new_results()) == 4)
    dies.kill_machine()
    assert area.holders() == {dies.uid, lives.uid}
    assert len(area.free(dies.uid)) == 2
    assert area.free(dies.uid) == []
    assert [(one.index, one.state) for one in driver.results(6)] == [(index, "SUCCESS") for index in range(6)]
    assert driver.place.deaths() == []
    driver.end("job-1")


@needs_pods
@needs_etcd
def test_sets_that_a_pod_claimed_in_etcd_are_another_one_s_when_its_lease_ends(driver: Driver) -> None:
    begun, etcd = driver.place.folder / "begun", new_address()
    script = f"mkdir {begun} 2>/dev/null && exec sleep 1000; echo x >/pfs/out/$PACH_DATUM_ID"
    dies = driver.place.start_pod()
    driver.offer("job-1", script, count=4, set_size=2, etcd=etcd)
    wait_for(begun.exists)
    driver.place.start_pod()
    wait_for(lambda: len(driver.place.new_results()) == 2)
    dies.kill_machine()
    assert [(one.index, one.state) for one in driver.results(4)] == [(index, "SUCCESS") for index in range(4)]
    driver.end("job-1")
    driver.offer("job-2", "true", etcd=etcd)
    assert [one.state for one in driver.results(1)] == ["SUCCESS"]


@needs_pods
def test_container_that_ends_under_a_datum_is_told_each_time_and_the_pod_goes_on(driver: Driver) -> None:
    pod = driver.place.start_pod()
    begun = driver.place.folder / "begun"
    area = driver.offer("job-1", f"echo x >>{begun}; [ $PACH_DATUM_ID != 0 ] || exec sleep 1000", count=2)
    # The datum comes behind the other one the second time.
    for runs in (1, 3):
        wait_for(partial(has_lines, begun, runs))
        pod.kill_container()
        pod.user.wait()
        pod.restart_container()
    wait_for(lambda: len(list(area.deaths())) == 2)
    assert [(death.datum, death.pod, death.how) for death in area.deaths()] == [(0, pod.uid, "the container of user code ended")] * 2
    assert [ran.index for ran in driver.results(1)] == [1]
    driver.end("job-1")
    assert [ran.state for ran in driver.run("job-2", "true")] == ["SUCCESS"]


@needs_pods
@pytest.mark.parametrize("etcd", [False, pytest.param(True, marks=needs_etcd)])
def test_datum_that_sends_sigterm_to_the_first_process_is_blamed_when_the_pod_goes_on(driver: Driver, *, etcd: bool) -> None:
    pod = driver.place.start_pod()
    ran = driver.place.folder / "ran"
    script = f"[ $PACH_DATUM_ID = 0 ] || exit 0; echo x >>{ran}; kill -TERM 1; exec sleep 1000"
    area = driver.offer("job-1", script, count=2, etcd=new_address() if etcd else None)
    for ends in (1, 2):
        assert pod.user.wait() == 143
        wait_for(lambda: area.find_told(pod.uid) is not None)
        # Nobody is to blame yet: the pod may be ending.
        assert len(list(area.deaths())) == ends - 1
        if ends == 1:
            # Anywhere in it.
            pod.worker.kill()
            pod.worker.wait()
            pod.restart_worker()
        pod.restart_container()
        wait_for(partial(has_deaths, area, ends))
    assert [(death.datum, death.pod) for death in area.deaths()] == [(0, pod.uid)] * 2
    assert "SIGTERM" in [death.how for death in area.deaths()][-1]
    # What two ended with is the driver's.
    wait_for(lambda: [one.name for one in area.parts(0) if one.is_last])
    assert ([one.index for one in driver.results(1)], ran.read_text()) == ([1], "x\nx\n")
    driver.end("job-1")
    assert [one.state for one in driver.run("job-2", "true")] == ["SUCCESS"]


@needs_pods
def test_pod_that_is_told_to_end_under_a_datum_blames_none(driver: Driver) -> None:
    pod = driver.place.start_pod()
    begun = driver.place.folder / "begun"
    area = driver.offer("job-1", f"touch {begun}; exec sleep 1000")
    wait_for(begun.exists)
    pod.user.terminate()
    assert pod.wait() == 143
    assert area.find_told(pod.uid) is not None
    # A worker that comes all the same, as on a node that begins anew.
    pod.restart_worker()
    pod.restart_container()
    begun.unlink()
    wait_for(begun.exists)
    assert list(area.deaths()) == []


@needs_pods
def test_worker_that_is_killed_goes_on_with_its_set(driver: Driver) -> None:
    pod = driver.place.start_pod()
    begun, go = driver.place.folder / "begun", driver.place.folder / "go"
    area = driver.offer("job-1", f"echo x >>{begun}; while [ ! -e {go} ]; do sleep 0.02; done", count=2)
    wait_for(begun.exists)
    pod.worker.kill()
    pod.worker.wait()
    go.touch()
    pod.restart_worker()
    assert [ran.state for ran in driver.results(2)] == ["SUCCESS"] * 2
    assert [death.how for death in area.deaths()] == ["the worker was killed"]
    driver.end("job-1")


@needs_pods
def test_what_keeps_it_from_a_job_is_told_to_that_driver_alone(driver: Driver) -> None:
    driver.place.start_pod()
    driver.place.store.put_new("work/job-1/setup", b"\x82\xa5setup\xc0\xa6layout\x02")
    driver.queue.offer("job-1")
    area = WorkArea(driver.place.store, "job-1")
    wait_for(lambda: list(area.refusals()))
    [(pod, refused)] = area.refusals()
    assert (pod, refused.code) == ("pod-0", "area-too-new")
    # It is still offered, and holds up no other.
    assert [ran.state for ran in driver.run("job-2", "true")] == ["SUCCESS"]
    driver.end("job-1")


def has_deaths(area: WorkArea, count: int) -> bool:
    return len(list(area.deaths())) == count


def has_lines(path: Path, count: int) -> bool:
    return path.exists() and len(path.read_text().split()) == count
