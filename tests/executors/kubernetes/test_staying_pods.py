"""Jobs in pods that stay, against an API server and pods of this process: what is made, used again, freed, scaled and removed."""

import datetime as dt
import threading
from collections.abc import Callable, Sequence

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import InvalidError, UnreachableError
from pachyderm_dagster.executors.choosing import tend_workers
from pachyderm_dagster.executors.kubernetes.cluster import Cluster
from pachyderm_dagster.executors.kubernetes.gone_pods import GonePods
from pachyderm_dagster.executors.kubernetes.janitor import sweep
from pachyderm_dagster.executors.kubernetes.tending import tend_home
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.store_ids import find_store_id
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.model import JobState
from pachyderm_dagster.pps.secret_store import Secret
from pachyderm_dagster.worker.job_queue import JobQueue
from pachyderm_dagster.worker.protocol import DatumTask, WorkerRefused
from pachyderm_dagster.worker.work_area import NO_INDEX, Claim, WorkArea
from tests.executors.in_process import put, read_all
from tests.executors.kubernetes.api_server import Manifest
from tests.executors.kubernetes.places import COPY, DiesWithTasksWritten, Killed, Place, Running, place

__all__ = ["place"]
COPIES = RepoName("default", "copy")
TASK = DatumTask(id="ab" * 32, index=0, inputs=(), environment={})
STAYING = COPY + "autoscaling: true\n"


@pytest.fixture(autouse=True)
def staying(place: Place, create: Callable[..., None]) -> None:
    create(STAYING, update=True)


def deployment(place: Place) -> Manifest:
    (found,) = place.server.objects("deployments")
    return found


def pods_of(place: Place) -> list[str]:
    return sorted(pod["metadata"]["uid"] for pod in place.server.objects("pods"))


def replicas(place: Place) -> dict[str, int]:
    """By the first word of the Deployment's name."""
    return {found["metadata"]["name"].partition("-")[0]: found["spec"]["replicas"] for found in place.server.objects("deployments")}


def on_each(place: Place, act: Callable[[Transaction, RepoName], None], names: Sequence[str]) -> None:
    def change(txn: Transaction) -> None:
        for name in names:
            act(txn, RepoName("default", name))

    place.workspace.database.write(change)


def tend(place: Place) -> None:
    tend_home(place.workspace, place.settings)


def test_jobs_use_the_pods_of_those_before(place: Place) -> None:
    assert place.run().state is JobState.SUCCESS
    made = pods_of(place)
    assert len(made) == 2
    put(place.workspace, "data@master", {"/d": b"four"})
    job = place.run()
    assert (job.state, job.counters.data_processed) == (JobState.SUCCESS, 1)
    assert pods_of(place) == made
    assert read_all(place.workspace, "copy@master") == {"/a": b"ONE", "/b": b"TWO", "/c": b"THREE", "/d": b"FOUR"}
    assert not place.server.objects("jobs") and not place.areas()


def test_more_pods_are_made_for_more_work_and_none_removed_for_less(place: Place, create: Callable[..., None]) -> None:
    create(STAYING.replace("constant: 2", "constant: 3"), update=True)
    place.run()
    assert deployment(place)["spec"]["replicas"] == 3
    put(place.workspace, "data@master", {"/d": b"four"})
    place.run()
    assert deployment(place)["spec"]["replicas"] == 3


def test_job_whose_driver_was_killed_is_gone_on_with_also_for_a_pod_that_went_meanwhile(place: Place) -> None:
    place.pods.starts = False
    with pytest.raises(Killed):
        run_job(place.workspace, place.due(), executor=DiesWithTasksWritten(place.executor(), place))
    assert place.area().claim(0, Claim(NO_INDEX, "unseen"))
    place.pods.starts = True
    place.pods.replace(deployment(place))
    job = place.run()
    assert (job.state, job.counters.data_processed) == (JobState.SUCCESS, 3)
    assert sorted(place.pods.ran) == ["/a", "/b", "/c"]
    assert not place.areas()


def test_sets_of_a_pod_that_is_gone_are_done_by_others(place: Place, clock: ManualClock) -> None:
    place.pods.starts = False
    running = Running(place)
    place.server.wait(lambda: bool(place.server.objects("deployments")))
    area = place.area()
    wait = threading.Event()
    while area.sets_written() is None:
        wait.wait(0.02)
    made = deployment(place)
    dead = place.pods.pod(made, 90, {"phase": "Running"})["metadata"]["uid"]
    place.server.wait(lambda: ("WATCH", "pods") in place.server.asked)
    assert area.claim(0, Claim(NO_INDEX, dead))
    assert area.claim(1, Claim(NO_INDEX, dead))
    (done,) = area.read_set(1)
    area.append_results(1, 0, [place.pods.result(done)], last=True)
    place.server.drop("pods", f"{made['metadata']['name']}-90")
    place.pods.starts = True
    place.pods.replace(made)
    # It may have gone before the driver saw it.
    while running.is_alive():
        clock.advance(dt.timedelta(seconds=6))
        wait.wait(0.2)
    running.join()
    assert [(job.state, job.counters.data_processed) for job in running.ended] == [(JobState.SUCCESS, 3)]
    assert sorted(place.pods.ran) == ["/a", "/b", "/c"]


@pytest.mark.parametrize("there", [[], [{"metadata": {"uid": "dies"}}]], ids=["never seen", "seen"])
def test_sets_that_a_pod_takes_when_it_is_gone_already_are_freed_too(place: Place, clock: ManualClock, there: list[Manifest]) -> None:
    area = WorkArea(place.workspace.store, "job")
    area.write_sets([[TASK]])
    gone = GonePods(area, clock.now)
    gone.look(there)
    gone.look([])
    # As after a forced deletion: its processes have not ended.
    assert area.claim(0, Claim(NO_INDEX, "dies"))
    gone.look([])
    assert area.list_sets() == {0}
    for _ in range(2):
        clock.advance(dt.timedelta(seconds=6))
        gone.look([])
    assert area.list_sets() == {0, 1} and area.read_set(1) == [TASK]
    area.remove()


def test_looks_for_what_pods_left_do_not_grow_with_pods_that_went(place: Place, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    area = WorkArea(place.workspace.store, "copy-v1-0a1b.id1")
    area.write_sets([[TASK]])
    gone = GonePods(area, clock.now)
    gone.look([{"metadata": {"uid": f"pod-{number}"}, "status": {"phase": "Running"}} for number in range(50)])
    assert area.claim(0, Claim(NO_INDEX, "pod-7"))
    freed: list[str] = []
    free = WorkArea.free

    def noting(self: WorkArea, holder: str) -> list[int]:
        freed.append(holder)
        return free(self, holder)

    monkeypatch.setattr(WorkArea, "free", noting)
    for _ in range(3):
        gone.look([])
        clock.advance(dt.timedelta(seconds=10))
    assert freed == ["pod-7"]
    assert area.list_sets() == {0, 1}


def test_worker_that_refuses_ends_the_attempt_in_its_words_and_stays(place: Place) -> None:
    place.pods.starts = False
    running = Running(place)
    place.server.wait(lambda: bool(place.server.objects("deployments")))
    area = place.area()
    area.note_refusal("pod-0", WorkerRefused.of(InvalidError("area-too-new", "another layout")))
    running.join()
    assert [str(error) for error in running.errors] == ["another layout [area-too-new]"]
    assert not place.areas()
    assert place.server.objects("deployments")


def test_what_pods_write_for_an_attempt_that_ended_is_none_of_the_next_ones(place: Place) -> None:
    place.pods.starts = False
    running = Running(place)
    area = place.area()
    place.server.wait(lambda: bool(place.server.objects("deployments")))
    wait = threading.Event()
    while area.sets_written() is None:
        wait.wait(0.02)
    (first,), (second,) = area.read_set(0), area.read_set(1)
    area.append_results(0, 0, [place.pods.result(first)], last=True)
    area.note_refusal("pod-0", WorkerRefused.of(InvalidError("area-too-new", "another layout")))
    running.join()
    # A pod that had not seen the end yet: what was its set 1 is set 0 now, and another datum is in set 1.
    claim = Claim(NO_INDEX, "slow")
    assert area.claim(1, claim)
    area.append_results(1, 0, [place.pods.result(second)], last=True)
    place.pods.starts = True
    place.pods.replace(deployment(place))
    job = place.run()
    assert (job.state, job.counters.data_processed) == (JobState.SUCCESS, 3)
    assert sorted(place.pods.ran) == ["/a", "/b", "/b", "/c"]
    assert read_all(place.workspace, "copy@master") == {"/a": b"ONE", "/b": b"TWO", "/c": b"THREE"}
    assert not place.areas()


def test_stop_leaves_the_pods_for_other_jobs(place: Place) -> None:
    place.pods.gate.clear()
    running = Running(place)
    place.server.wait(lambda: len(place.server.objects("pods")) == 2)
    place.workspace.database.write(lambda txn: jobs.stop(txn, jobs.list_job(txn, unfinished_only=True)[0], reason="stopped"))
    running.join()
    place.pods.gate.set()
    put(place.workspace, "data@master", {"/d": b"four"})
    assert place.run().state is JobState.SUCCESS
    assert len(place.pods.made) == 2


def test_deployment_that_somebody_removes_is_made_again(place: Place) -> None:
    place.pods.gate.clear()
    running = Running(place)
    place.server.wait(lambda: ("WATCH", "deployments") in place.server.asked and len(place.server.objects("pods")) == 2)
    first = deployment(place)
    place.server.delete("deployments", first["metadata"]["name"])
    place.server.wait(lambda: [one["metadata"]["uid"] for one in place.server.objects("deployments")] not in ([], [first["metadata"]["uid"]]))
    place.pods.gate.set()
    running.join()
    assert [job.state for job in running.ended] == [JobState.SUCCESS]


def test_idle_workers_go_and_come_back(place: Place, clock: ManualClock) -> None:
    place.run()
    clock.advance(dt.timedelta(seconds=299))
    tend(place)
    assert len(pods_of(place)) == 2
    clock.advance(dt.timedelta(seconds=2))
    tend(place)
    assert deployment(place)["spec"]["replicas"] == 0 and not pods_of(place)
    put(place.workspace, "data@master", {"/d": b"four"})
    assert place.run().state is JobState.SUCCESS
    assert deployment(place)["spec"]["replicas"] == 1


def test_workers_of_a_running_job_stay_however_long_it_takes(place: Place, clock: ManualClock) -> None:
    place.pods.gate.clear()
    running = Running(place)
    place.server.wait(lambda: len(place.server.objects("pods")) == 2)
    clock.advance(dt.timedelta(hours=1))
    tend(place)
    assert len(pods_of(place)) == 2
    place.pods.gate.set()
    running.join()


def test_update_has_other_workers_and_the_old_ones_go(place: Place, create: Callable[..., None]) -> None:
    place.run()
    old = deployment(place)["metadata"]["name"]
    create(STAYING.replace("busybox", "busybox:2"), update=True, reprocess=True)
    assert place.run().state is JobState.SUCCESS
    tend(place)
    assert deployment(place)["metadata"]["name"] != old
    assert deployment(place)["spec"]["template"]["spec"]["containers"][0]["image"] == "busybox:2"


def test_deleted_pipeline_and_one_that_wants_none_any_more_leave_nothing(place: Place, create: Callable[..., None]) -> None:
    secret = Secret(name="ours", created=place.workspace.database.clock.now(), data={"word": b"home"})
    place.workspace.secrets.create(secret)
    create(STAYING.replace("image: busybox", "image: busybox, secrets: [{name: ours, key: word, env_var: OURS}]"), update=True)
    place.run()
    assert len(place.server.objects("secrets")) == 1
    create(COPY, update=True, reprocess=True)
    assert place.run().state is JobState.SUCCESS
    tend(place)
    assert not place.server.objects("deployments") and place.is_clean()
    create(STAYING, update=True, reprocess=True)
    place.run()
    place.workspace.database.write(lambda txn: pipelines.delete_pipeline(txn, COPIES))
    tend(place)
    assert not place.server.objects("deployments") and place.is_clean()


def test_secret_that_is_made_anew_makes_other_workers(place: Place, create: Callable[..., None], clock: ManualClock) -> None:
    names: set[str] = set()
    for word in (b"one", b"two"):
        clock.advance(dt.timedelta(seconds=1))
        place.workspace.secrets.create(Secret(name="ours", created=clock.now(), data={"word": word}))
        if not names:
            create(STAYING.replace("image: busybox", "image: busybox, secrets: [{name: ours, mount_path: /ours}]"), update=True)
        put(place.workspace, "data@master", {"/d": word})
        place.run()
        tend(place)
        names.add(deployment(place)["metadata"]["name"])
        (copied,) = place.server.objects("secrets")
        assert copied["metadata"]["name"] == deployment(place)["spec"]["template"]["spec"]["volumes"][1]["secret"]["secretName"]
        place.workspace.secrets.delete("ours")
    assert len(names) == 2


def test_workers_that_are_never_to_go_are_there_before_the_first_job(place: Place, create: Callable[..., None], clock: ManualClock) -> None:
    create(STAYING + "metadata: {annotations: {pachyderm-dagster/cooldown-seconds: never}}\n", update=True)
    tend(place)
    assert len(pods_of(place)) == 2
    clock.advance(dt.timedelta(days=9))
    tend(place)
    assert len(pods_of(place)) == 2
    place.workspace.database.write(lambda txn: pipelines.stop_pipeline(txn, COPIES))
    tend(place)
    assert not pods_of(place)
    place.workspace.database.write(lambda txn: pipelines.start_pipeline(txn, COPIES))
    tend(place)
    assert len(pods_of(place)) == 2


def test_jobs_that_have_ended_are_taken_from_the_queue(place: Place) -> None:
    place.run()
    name = deployment(place)["metadata"]["name"]
    place.workspace.store.put_new(f"work/{name}/jobs/ended", b"")
    tend(place)
    assert place.areas() == []


def test_job_whose_driver_was_killed_stays_in_the_queue_until_it_ends(place: Place, clock: ManualClock) -> None:
    place.pods.starts = False
    with pytest.raises(Killed):
        run_job(place.workspace, place.due(), executor=DiesWithTasksWritten(place.executor(), place))
    queue = JobQueue(place.workspace.store, deployment(place)["metadata"]["name"])
    left = place.area()
    place.workspace.store.put_new("work/gone-v1.id/setup", b"")
    clock.advance(dt.timedelta(days=36_500))
    tend(place)
    home = find_store_id(place.workspace.store)
    assert home is not None
    sweep(place.workspace, Cluster(place.settings), home)
    assert queue.jobs() == [left.job] and place.area() == left and left.list_sets() == {0, 1, 2}
    place.pods.starts = True
    place.pods.replace(deployment(place))
    assert place.run().state is JobState.SUCCESS
    assert place.areas() == []


def test_one_deployment_that_is_refused_keeps_no_other_from_what_it_is_to_be(
    place: Place, create: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    names = ("another", "copy", "zebra")
    never = STAYING + "metadata: {annotations: {pachyderm-dagster/cooldown-seconds: never}}\n"
    for name in names:
        create(never.replace("name: copy", f"name: {name}"), update=True)
    place.server.refuse_named["copy-"] = 422
    tend(place)
    assert replicas(place) == {"another": 2, "zebra": 2}
    (said,) = caplog.messages
    assert said.startswith("the workers copy-v") and "could not be made now: " in said and said.endswith("[pod-refused]")
    place.server.refuse_named.clear()
    tend(place)
    on_each(place, pipelines.stop_pipeline, names)
    place.server.refuse_named["copy-"] = 403
    tend(place)
    assert replicas(place) == {"another": 0, "copy": 2, "zebra": 0}
    on_each(place, pipelines.delete_pipeline, names)
    tend(place)
    assert replicas(place) == {"copy": 2}


def test_store_that_is_away_is_told_and_raises_nothing(place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def away(*_: object) -> bytes:
        raise UnreachableError("storage-unreachable", "the store does not answer")

    monkeypatch.setattr(type(place.workspace.store), "get", away)
    tend(place)
    assert caplog.messages == ["workers that stay between jobs could not be looked after now: the store does not answer [storage-unreachable]"]


def test_account_that_may_not_see_deployments_still_runs_jobs(place: Place, create: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    create(COPY, update=True)
    place.server.refuse_kind["deployments"] = 403
    assert place.run().state is JobState.SUCCESS
    tend(place)
    assert caplog.text == ""


def test_nothing_is_to_be_looked_after_on_one_machine(place: Place) -> None:
    tend_workers(place.workspace)
    assert place.server.asked == []
