"""What people ask of code in pods by commands: to run a datum again, and what services printed."""

import threading
from collections.abc import Iterator

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.executors.kubernetes.pod_keeper import PodKeeper
from pachyderm_dagster.worker.kept_log import KeptLog
from pachyderm_dagster.worker.stored_log import StoredLog, log_area
from pachyderm_dagster.worker.work_area import WorkArea
from tests.cli.pachctl import Pachctl
from tests.executors.kubernetes.places import COPY, Place, Running, home_of_commands, place
from tests.worker.pods import wait_for

__all__ = ["home_of_commands", "place"]
pytestmark = pytest.mark.usefixtures("home_of_commands")
SERVICE = COPY.replace("/*", "/").replace("name: copy", "name: web").replace("parallelism_spec: {constant: 2}", "service: {internal_port: 8080}")
NAME = "pipeline-default-web"


@pytest.fixture
def running(place: Place) -> Iterator[WorkArea]:
    """A job of which some datums run, and its area."""
    place.pods.gate.clear()
    job = Running(place)
    area = place.area()
    wait_for(lambda: list(area.begun()))
    yield area
    place.pods.gate.set()
    job.join()


def file_of(area: WorkArea) -> str:
    """One that a datum reads which runs."""
    id = next(area.begun())
    (task,) = [task for number in area.list_sets() for task in area.read_set(number) if task.id == id]
    return task.inputs[0].files[0][0]


def restart(pachctl: Pachctl, area: WorkArea, job: str, file: str, *, runs: bool) -> tuple[str, str]:
    """What the command says while a worker looks for requests, or none does: the datums, and the error."""
    over = threading.Event()

    def take() -> None:
        while runs and not over.wait(0.01):
            for datum in area.begun():
                area.take_restart(datum)

    worker = threading.Thread(target=take)
    worker.start()
    try:
        answer = pachctl.run("restart", "datum", job, file)
    finally:
        over.set()
        worker.join()
    return answer.out, answer.err


def test_datum_that_runs_in_a_pod_is_asked_to_run_again(place: Place, pachctl: Pachctl, running: WorkArea) -> None:
    file = file_of(running)
    out, _ = restart(pachctl, running, f"copy@{place.due().id}", file, runs=True)
    assert file in out and len(out.splitlines()) == 2
    assert not any(running.is_restart_asked(datum) for datum in running.begun())


def test_datum_that_no_worker_takes_up_was_not_restarted_and_is_not_later(
    place: Place, pachctl: Pachctl, running: WorkArea, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pachyderm_dagster.executors.restarting_in_pods.WAIT_SECONDS", 0.1)
    _, err = restart(pachctl, running, f"copy@{place.due().id}", file_of(running), runs=False)
    assert "[datum-not-running]" in err
    assert not any(running.is_restart_asked(datum) for datum in running.begun())


def test_service_in_a_pod_is_asked_to_start_again(place: Place, pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch) -> None:
    pachctl("create", "pipeline", stdin=SERVICE.encode())
    PodKeeper(place.workspace, place.settings).step()
    area = WorkArea(place.workspace.store, place.server.objects("deployments")[0]["metadata"]["annotations"]["pachyderm-dagster/area"])
    (task,) = area.read_set(0)
    monkeypatch.setattr(WorkArea, "begun", lambda _area: iter([task.id]))
    out, err = restart(pachctl, area, "web@master", "/a", runs=True)
    assert task.id[:8] in out, err


def test_what_a_service_printed_in_its_pods_is_shown_by_job_and_as_a_whole(place: Place, pachctl: Pachctl) -> None:
    pachctl("create", "pipeline", stdin=SERVICE.encode())
    PodKeeper(place.workspace, place.settings).step()
    job = pachctl.json("list", "job", "-p", "web")[0]["id"]
    clock = ManualClock()
    for pod, of, text in (("pod-0", "0" * 32, b"earlier\n"), ("pod-1", job, b"GET / 200\n")):
        with StoredLog(place.workspace.store, log_area(NAME), pod, clock=clock) as log:
            KeptLog(log.add, of, clock=clock).write(text)
    assert pachctl("logs", "-p", "web").out == "earlier\nGET / 200\n"
    assert pachctl("logs", "-j", f"web@{job}").out == "GET / 200\n"
    assert pachctl.json("logs", "-p", "web", "-o", "json")[1]["job"] == f"web@{job}"


def test_log_of_a_service_stays_with_its_next_versions_and_goes_with_it(place: Place, pachctl: Pachctl) -> None:
    pachctl("create", "pipeline", stdin=SERVICE.encode())
    keeper = PodKeeper(place.workspace, place.settings)
    keeper.step()
    with StoredLog(place.workspace.store, log_area(NAME), "pod-0", clock=ManualClock()) as log:
        log.add(b'{"time": 1.0, "text": "hello"}\n')
    pachctl("stop", "pipeline", "web")
    assert pachctl("logs", "-p", "web").out == "hello\n"
    pachctl("delete", "pipeline", "web")
    keeper.step()
    assert not [key for key in place.areas() if NAME in key]
