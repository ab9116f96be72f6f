"""Commands that leave workers that stay without work, against an API server of this process, with nothing else that looks after those."""

import datetime as dt
import threading
from collections.abc import Callable, Sequence

import pytest

from pachyderm_dagster.cli.documents import pipeline_document
from pachyderm_dagster.cli.pipelines import COLUMNS
from pachyderm_dagster.cli.printing import Times
from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.coordination.names import job_lease, sensor_lease
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.model import JobState, PipelineState
from pachyderm_dagster.worker.job_queue import JobQueue
from tests.cli.pachctl import Pachctl
from tests.executors.kubernetes.places import COPY, DiesWithTasksWritten, Killed, Place, home_of_commands, place

__all__ = ["home_of_commands", "place"]
pytestmark = pytest.mark.usefixtures("home_of_commands")


@pytest.fixture(autouse=True)
def staying(place: Place, create: Callable[..., None]) -> None:
    create(COPY + "autoscaling: true\n", update=True)


def kill_driver(place: Place) -> JobQueue:
    """Begins the job of now, whose driver dies with the job in the queue, which is given."""
    place.pods.starts = False
    with pytest.raises(Killed):
        run_job(place.workspace, place.due(), executor=DiesWithTasksWritten(place.executor(), place))
    (workers,) = place.server.objects("deployments")
    queue = JobQueue(place.workspace.store, workers["metadata"]["name"])
    assert len(queue.jobs()) == 1
    return queue


@pytest.mark.parametrize(
    "commands",
    [
        [["delete", "all", "--yes"]],
        [["start", "transaction"], ["delete", "pipeline", "copy"], ["finish", "transaction"]],
        [["start", "transaction"], ["stop", "pipeline", "copy"], ["delete", "pipeline", "copy"], ["finish", "transaction"]],
    ],
    ids=lambda commands: " ".join(commands[-1]),
)
def test_workers_go_with_their_pipeline(place: Place, pachctl: Pachctl, commands: Sequence[Sequence[str]]) -> None:
    place.run()
    assert place.server.objects("pods")
    for command in commands:
        pachctl(*command)
    assert not place.server.objects("deployments") and place.is_clean()


@pytest.mark.parametrize("command", [["stop", "job"], ["delete", "job"]], ids=lambda words: " ".join(words))
def test_job_that_is_stopped_without_its_driver_is_let_go_of(place: Place, pachctl: Pachctl, command: Sequence[str]) -> None:
    queue = kill_driver(place)
    pachctl(*command, f"copy@{place.due().id}")
    assert queue.jobs() == []
    assert place.server.objects("deployments")
    if command == ["stop", "job"]:
        assert not place.areas()


def test_area_of_a_driver_that_lives_is_left_to_it(place: Place, pachctl: Pachctl) -> None:
    queue = kill_driver(place)
    job, area = place.due(), place.area()
    # By the clock of the command too, which is not that of the place.
    assert place.workspace.leases.acquire(job_lease(job.key), "driver", dt.timedelta(days=36_500))
    pachctl("stop", "job", f"copy@{job.id}")
    assert queue.jobs() == []
    assert area.list_sets() == {0, 1, 2}


def test_next_look_takes_what_a_killed_driver_left_of_a_job_that_is_over(place: Place, pachctl: Pachctl) -> None:
    queue = kill_driver(place)
    left = place.area()
    pachctl("stop", "job", f"copy@{place.due().id}")
    # As by a driver that was at this point when it was killed.
    queue.offer(left.job)
    pachctl("start", "pipeline", "copy")
    assert queue.jobs() == []


def test_commit_after_a_stopped_job_is_worked_on(place: Place, pachctl: Pachctl) -> None:
    kill_driver(place)
    pachctl("stop", "job", f"copy@{place.due().id}")
    pachctl("put", "file", "data@master:/d", "-f", "-", stdin=b"four")
    place.pods.starts = True
    (workers,) = place.server.objects("deployments")
    place.pods.replace(workers)
    job = place.run()
    assert (job.state, job.counters.data_processed) == (JobState.SUCCESS, 4)


def test_words_of_the_cluster_are_told_by_who_drives_the_job_and_in_the_list(place: Place, pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachyderm_dagster.executors.kubernetes.starting.PATIENCE_SECONDS", 0.0)
    words = "container user of pod copy-0: ImagePullBackOff: no such image: busybox"
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image: busybox"}}
    listed: list[str] = []
    place.pods.starts = False

    def follow() -> None:
        """As a node that finds the image at last."""
        place.server.wait(lambda: bool(place.server.objects("deployments")))
        (workers,) = place.server.objects("deployments")
        pod = {"name": "copy-0", "uid": "copy-0", "labels": workers["metadata"]["labels"]}
        place.server.put("pods", {"metadata": pod, "status": {"phase": "Pending", "containerStatuses": [{"name": "user", "state": waiting}]}})
        wait = threading.Event()
        while place.state()[0] is not PipelineState.CRASHING:
            wait.wait(0.02)
        listed.extend([place.state()[1], show(place)])
        place.server.drop("pods", "copy-0")
        place.pods.starts = True
        place.pods.replace(workers)

    cluster = threading.Thread(target=follow)
    cluster.start()
    told = pachctl("wait", "commit", f"copy@{place.due().id}").err
    cluster.join()
    assert told.splitlines().count(f"note: pipeline copy: {words}") == 1
    assert listed[0] == words and words in listed[1]
    assert words not in pachctl("list", "pipeline").out


@pytest.mark.parametrize("command", [["wait", "commit", "copy@master"], ["wait", "job", "copy@master"]], ids=" ".join)
def test_command_that_finds_nothing_to_run_has_idle_workers_go(place: Place, pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch, command: Sequence[str]) -> None:
    place.run()
    monkeypatch.setenv("PACHYDERM_KUBERNETES_COOLDOWN_SECONDS", "0")
    pachctl(*command)
    (workers,) = place.server.objects("deployments")
    assert workers["spec"]["replicas"] == 0


def test_command_that_finds_nothing_to_run_leaves_workers_to_a_daemon(place: Place, pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch) -> None:
    place.run()
    monkeypatch.setenv("PACHYDERM_KUBERNETES_COOLDOWN_SECONDS", "0")
    # By the clock of the command too, which is not that of the place.
    assert place.workspace.leases.acquire(sensor_lease("default"), "daemon", dt.timedelta(days=36_500))
    pachctl("wait", "commit", "copy@master")
    (workers,) = place.server.objects("deployments")
    assert workers["spec"]["replicas"] == 2


def show(place: Place) -> str:
    """The row of the pipeline in the table, as it is now; another thread may be in a command at this moment."""
    with place.workspace.database.read() as txn:
        document = {**pipeline_document(pipelines.get_pipeline(txn, RepoName("default", "copy"))), "alerts": []}
    return " | ".join(column.show(document, Times(full=False, now=SystemClock().now())) for column in COLUMNS)
