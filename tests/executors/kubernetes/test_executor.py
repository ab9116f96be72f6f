"""Jobs in pods, against an API server and pods of this process: what is made, followed, told and removed."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from pachyderm_dagster.errors import ExecutionError, StorageError, UnreachableError
from pachyderm_dagster.executors.kubernetes.cluster import Cluster
from pachyderm_dagster.executors.kubernetes.pod_run import MOST_VAIN_JOBS
from pachyderm_dagster.executors.kubernetes.starting import Starting
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.model import JobState, PipelineState
from pachyderm_dagster.pps.secret_store import Secret
from pachyderm_dagster.worker.protocol import WorkerRefused
from pachyderm_dagster.worker.work_area import Claim, Death, WorkArea
from tests.executors.in_process import put, read_all
from tests.executors.kubernetes.api_server import Manifest
from tests.executors.kubernetes.places import COPY, DiesWithTasksWritten, Killed, Place, Running, place

__all__ = ["place"]


def test_job_runs_in_pods_and_leaves_nothing(place: Place) -> None:
    job = place.run()
    assert (job.state, job.counters.data_processed) == (JobState.SUCCESS, 3)
    assert read_all(place.workspace, "copy@master") == {"/a": b"ONE", "/b": b"TWO", "/c": b"THREE"}
    assert sorted(place.pods.ran) == ["/a", "/b", "/c"]
    assert place.is_clean()


def test_requests_do_not_grow_with_datums(place: Place) -> None:
    put(place.workspace, "data@master", {f"/{number}": b"x" for number in range(200)})
    place.run()
    before = len(place.server.asked)
    assert place.run().counters.data_processed == 200
    assert len(place.server.asked) - before < 25


def test_failed_datum_fails_the_job(place: Place) -> None:
    place.run()
    put(place.workspace, "data@master", {"/d": b"bad"})
    job = place.run()
    assert job.state is JobState.FAILURE
    assert "this datum is bad" in job.reason


def test_job_that_a_killed_driver_left_is_gone_on_with(place: Place) -> None:
    with pytest.raises(Killed):
        run_job(place.workspace, place.due(), executor=DiesWithTasksWritten(place.executor(), place))
    job = place.run()
    assert (job.state, job.counters.data_processed) == (JobState.SUCCESS, 3)
    assert sorted(place.pods.ran) == ["/a", "/b", "/c"]
    assert place.pods.jobs == 1
    assert place.is_clean()


def test_copies_of_secrets_go_with_the_job_that_a_killed_driver_left(place: Place, create: Callable[..., None]) -> None:
    place.pods.starts = False
    place.workspace.secrets.create(Secret(name="ours", created=place.workspace.database.clock.now(), data={"word": b"home"}))
    create(COPY.replace("image: busybox", "image: busybox, secrets: [{name: ours, key: word, env_var: OURS}]"), update=True)
    with pytest.raises(Killed):
        run_job(place.workspace, place.due(), executor=DiesWithTasksWritten(place.executor(), place))
    assert len(place.server.objects("secrets")) == 1
    # As the cluster does, some time after its end.
    place.server.delete("jobs", place.job()["metadata"]["name"])
    assert place.server.objects("secrets") == []


def test_job_that_a_driver_of_another_version_left_is_begun_anew(place: Place) -> None:
    place.pods.starts = False
    with pytest.raises(Killed):
        run_job(place.workspace, place.due(), executor=DiesWithTasksWritten(place.executor(), place))
    key, store = f"work/{place.area().job}/setup", place.workspace.store
    store.delete(key)
    # As msgpack: {"setup": nil, "layout": 2}
    store.put_new(key, b"\x82\xa5setup\xc0\xa6layout\x02")
    place.pods.starts = True
    assert place.run().state is JobState.SUCCESS
    assert place.is_clean()


def test_record_that_is_away_before_the_first_result_leaves_no_job(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> bytes:
        raise UnreachableError("record-unreachable", "the record is away")

    with place.executor() as executor:
        monkeypatch.setattr("pachyderm_dagster.executors.run_job.jobs.find_checkpoint", away)
        with pytest.raises(UnreachableError):
            run_job(place.workspace, place.due(), executor=executor)
        assert place.is_clean()


def test_job_that_ended_without_its_driver_gives_its_results(place: Place) -> None:
    with pytest.raises(Killed):
        run_job(place.workspace, place.due(), executor=DiesWithTasksWritten(place.executor(), place))
    place.pods.join()
    left = place.job()
    place.server.put("jobs", left | {"status": {"conditions": [{"type": "Complete", "status": "True"}]}})
    assert place.run().state is JobState.SUCCESS
    assert sorted(place.pods.ran) == ["/a", "/b", "/c"]
    assert place.is_clean()


def test_pods_that_do_not_start_make_the_pipeline_crash_until_they_do(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachyderm_dagster.executors.kubernetes.starting.PATIENCE_SECONDS", 0.0)
    running, job = crash(place)
    assert "no such image: busybox" in place.state()[1]
    place.pods.gate.clear()
    for index in range(2):
        place.pods.run(job, index)
    wait = threading.Event()
    while place.state() != (PipelineState.RUNNING, ""):
        wait.wait(0.02)
    assert running.is_alive()
    place.pods.gate.set()
    running.join()
    assert running.ended[0].state is JobState.SUCCESS
    assert place.state() == (PipelineState.RUNNING, "")
    assert len(place.warnings) == 1


def crash(place: Place) -> tuple[Running, Manifest]:
    """A job that runs without a pod that starts, and its Job."""
    place.pods.starts = False
    running = Running(place)
    job = place.job()
    pulling = {"waiting": {"reason": "ErrImagePull", "message": "no such image: busybox"}}
    place.pods.pod(job, 0, {"phase": "Pending", "containerStatuses": [{"name": "user", "state": pulling}]})
    wait = threading.Event()
    while place.state()[0] is not PipelineState.CRASHING:
        wait.wait(0.02)
    return running, job


def test_pipeline_crashes_no_longer_than_its_job(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachyderm_dagster.executors.kubernetes.starting.PATIENCE_SECONDS", 0.0)
    running, _ = crash(place)
    place.workspace.database.write(lambda txn: jobs.stop(txn, jobs.list_job(txn, unfinished_only=True)[0], reason="stopped"))
    assert place.state() == (PipelineState.RUNNING, "")
    running.join()
    assert [job.state for job in running.ended] == [JobState.KILLED]
    assert place.state() == (PipelineState.RUNNING, "")


def test_pods_of_a_job_that_is_over_make_nothing_crash(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachyderm_dagster.executors.kubernetes.starting.PATIENCE_SECONDS", 0.0)
    with place.workspace.database.read() as txn:
        pipeline = pipelines.get_pipeline(txn, RepoName("default", "copy"))
    job = place.due()
    starting = Starting(place.workspace, Cluster(place.settings), pipeline, job, "copy-v1", place.warnings.append)
    waiting = {"waiting": {"reason": "ImagePullBackOff"}}
    pod = {"metadata": {"name": "copy-0"}, "status": {"phase": "Pending", "containerStatuses": [{"name": "user", "state": waiting}]}}
    starting.look([pod], [])
    assert place.state()[0] is PipelineState.CRASHING
    place.workspace.database.write(lambda txn: jobs.stop(txn, job, reason="stopped"))
    # The driver has not noticed yet, and the words changed.
    waiting["waiting"]["reason"] = "ErrImagePull"
    starting.look([pod], [])
    assert place.state() == (PipelineState.RUNNING, "")


def test_problem_whose_words_change_is_told_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachyderm_dagster.executors.kubernetes.starting.PATIENCE_SECONDS", 0.0)
    with place.workspace.database.read() as txn:
        pipeline = pipelines.get_pipeline(txn, RepoName("default", "copy"))
    starting = Starting(place.workspace, Cluster(place.settings), pipeline, place.due(), "copy-v1", place.warnings.append)
    for port in (1, 2, 3):
        waiting = {"waiting": {"reason": "ErrImagePull", "message": f"read udp 10.0.0.1:{port}: timeout"}}
        starting.look([{"metadata": {"name": "copy-0"}, "status": {"phase": "Pending", "containerStatuses": [{"name": "user", "state": waiting}]}}], [])
    assert [line.rpartition(" read ")[2] for line in place.warnings] == ["udp 10.0.0.1:1: timeout"]
    assert place.state() == (PipelineState.CRASHING, "container user of pod copy-0: ErrImagePull: read udp 10.0.0.1:3: timeout")


def test_worker_that_refuses_ends_the_attempt_in_its_words(place: Place) -> None:
    place.pods.starts = False
    running = Running(place)
    job = place.job()
    refused = StorageError("storage-full", "the disk of the store is full")
    WorkArea(place.workspace.store, job["metadata"]["name"]).note_refusal("pod-0", WorkerRefused.of(refused))
    place.pods.pod(job, 0, {"phase": "Failed", "containerStatuses": [{"name": "user", "state": {"terminated": {"exitCode": 69}}}]})
    running.join()
    (error,) = running.errors
    assert isinstance(error, StorageError)
    assert str(error) == str(refused)
    assert place.is_clean()


OUT_OF_MEMORY = {"containerStatuses": [{"name": "user", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}
SENT_SIGTERM = {"containerStatuses": [{"name": "user", "state": {"terminated": {"exitCode": 143, "reason": "Error"}}}]}
EVICTED = {"reason": "Evicted", "message": 'Usage of EmptyDir volume "pach" exceeds the limit "16Mi". '}


# Who is evicted is told to end, as is one that has to make room: only its status says more.
@pytest.mark.parametrize(
    ("status", "note", "code"),
    [(OUT_OF_MEMORY, WorkArea.note_death, "out-of-memory"), (EVICTED, WorkArea.note_told, "disk-full"), (SENT_SIGTERM, WorkArea.note_told, "worker-died")],
)
def test_datum_that_two_pods_ended_with_fails_as_their_status_says(place: Place, status: dict[str, Any], note: Callable[..., None], code: str) -> None:
    place.pods.starts = False
    running = Running(place)
    job = place.job()
    area = WorkArea(place.workspace.store, job["metadata"]["name"])
    wait = threading.Event()
    while area.sets_written() is None:
        wait.wait(0.02)
    (task,), (other,) = area.read_set(0), area.read_set(1)
    made_room = place.pods.pod(job, 9, {"phase": "Failed", "reason": "Preempted"})
    area.note_told(Death(0, made_room["metadata"]["uid"], other.index, other.id, "the pod was told to end"))
    for number in range(2):
        found = place.pods.pod(job, number, {"phase": "Failed", **status})
        note(area, Death(0, found["metadata"]["uid"], task.index, task.id, "how it ended"))
    while len(list(area.deaths())) < 2:
        wait.wait(0.02)
    for index in range(2, 4):
        place.pods.run(job, index)
    running.join()
    (found_job,) = running.ended
    assert (found_job.state, found_job.counters.data_failed, found_job.counters.data_processed) == (JobState.FAILURE, 1, 2)
    assert f"[{code}]" in found_job.reason


def test_stop_leaves_nothing(place: Place) -> None:
    place.pods.gate.clear()
    with place.executor() as executor:
        job = place.due()
        errors: list[BaseException] = []

        def run() -> None:
            try:
                run_job(place.workspace, job, executor=executor)
            except ExecutionError as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        place.job()
        executor.stop()
        assert not place.server.objects("jobs") and not place.server.objects("pods")
        thread.join()
    # The driver may have been writing when it was stopped; what it wrote goes with it, or behind it.
    assert place.is_clean()
    assert [error.code for error in errors if isinstance(error, ExecutionError)] == ["executor-stopped"]


def test_watch_that_is_too_old_is_begun_anew(place: Place) -> None:
    place.pods.gate.clear()
    running = Running(place)
    place.job()
    place.server.wait(lambda: ("WATCH", "pods") in place.server.asked and ("WATCH", "jobs") in place.server.asked)
    place.server.forget()
    place.pods.gate.set()
    running.join()
    assert [one.state for one in running.ended] == [JobState.SUCCESS]


def test_job_that_somebody_deletes_is_told_and_tried_again(place: Place) -> None:
    place.pods.gate.clear()
    running = Running(place)
    name = place.job()["metadata"]["name"]
    place.server.wait(lambda: ("WATCH", "jobs") in place.server.asked)
    place.server.delete("jobs", name)
    running.join()
    (error,) = running.errors
    assert isinstance(error, ExecutionError)
    assert error.code == "pods-lost"
    place.pods.gate.set()
    assert place.run().state is JobState.SUCCESS


def end_job(place: Place, job: Manifest, reason: str) -> None:
    """As the Job controller ends it."""
    ended = {"type": "Failed", "status": "True", "reason": reason, "message": f"as {reason} says"}
    place.server.put("jobs", job | {"status": {"conditions": [ended]}})


def next_job(place: Place, *before: Manifest) -> Manifest:
    """The Job, once it is another one than those before."""
    known = {job["metadata"]["uid"] for job in before}
    place.server.wait(lambda: any(job["metadata"]["uid"] not in known for job in place.server.objects("jobs")))
    return place.job()


def test_what_failed_indexes_left_is_done_by_another_job_of_the_same_attempt(place: Place) -> None:
    place.pods.starts = False
    running = Running(place)
    first = place.job()
    area = WorkArea(place.workspace.store, first["metadata"]["name"])
    place.server.wait(lambda: area.sets_written() is not None)
    # One index had a set and ended without a result; what others did stays.
    assert area.claim(0, Claim(0, "pod-that-ended"))
    (done,) = area.read_set(1)
    area.append_results(1, 0, [place.pods.result(done)], last=True)
    end_job(place, first, "FailedIndexes")
    second = next_job(place, first)
    for index in range(2):
        place.pods.run(second, index)
    running.join()
    assert [(job.state, job.counters.data_processed) for job in running.ended] == [(JobState.SUCCESS, 3)]
    assert sorted(place.pods.ran) == ["/a", "/b", "/c"]
    assert place.is_clean()


def test_jobs_without_a_result_are_not_made_for_ever(place: Place) -> None:
    place.pods.starts = False
    running = Running(place)
    made: list[Manifest] = []
    for _ in range(1 + MOST_VAIN_JOBS):
        made.append(next_job(place, *made))
        end_job(place, made[-1], "FailedIndexes")
    running.join()
    (error,) = running.errors
    assert isinstance(error, ExecutionError)
    assert error.code == "pods-lost"
    assert "as FailedIndexes says, and 3 datums have no result" in str(error)
    place.pods.starts = True
    assert place.run().state is JobState.SUCCESS


@pytest.mark.parametrize("reason", ["PodFailurePolicy", "DeadlineExceeded"])
def test_no_other_job_is_made_where_it_would_end_as_this_one(place: Place, reason: str) -> None:
    place.pods.starts = False
    running = Running(place)
    end_job(place, place.job(), reason)
    running.join()
    assert [getattr(error, "code", None) for error in running.errors] == ["pods-lost"]


def test_what_the_cluster_does_not_take_fails_the_job(place: Place) -> None:
    place.server.refuse["POST"] = 422
    job = place.run()
    assert job.state is JobState.FAILURE
    assert "[pod-refused]" in job.reason
    place.server.refuse.clear()
    assert place.is_clean()


@pytest.mark.parametrize(("status", "code"), [(403, "cluster-denied"), (500, "cluster-unreachable")])
def test_cluster_that_fails_is_tried_again(place: Place, status: int, code: str) -> None:
    place.server.refuse["POST"] = status
    with pytest.raises(Exception, match="as the test wants it") as raised:
        place.run()
    assert getattr(raised.value, "code", None) == code
    place.server.refuse.clear()
    assert place.run().state is JobState.SUCCESS


def test_janitor_removes_what_ended_jobs_left_and_nothing_else(place: Place) -> None:
    place.run()
    home = {"pachyderm-dagster/home": place.workspace.store.get("record").split()[0].decode()}
    place.server.put("jobs", {"metadata": {"name": "left", "labels": home | {"pachyderm-dagster/job-name": "left"}}, "spec": {}})
    place.server.put("jobs", {"metadata": {"name": "others", "labels": {"pachyderm-dagster/home": "f" * 32}}, "spec": {}})
    put(place.workspace, "data@master", {"/d": b"four"})
    place.run()
    assert [job["metadata"]["name"] for job in place.server.objects("jobs")] == ["others"]
