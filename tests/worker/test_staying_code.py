"""The worker of a service, for real: its code runs in the container of its image, is run again there, and is told to end before it."""

import os
import subprocess
from pathlib import Path

import pytest

from pachyderm_dagster.worker.processes import find_children
from pachyderm_dagster.worker.protocol import IN_CONTAINER, DatumResult, ResultState
from pachyderm_dagster.worker.starter import ANSWERS, CONTROL, OUTPUT, TRIES
from pachyderm_dagster.worker.starter_runner import StarterRunner
from pachyderm_dagster.worker.staying_code import NOT_STARTED, container_code, why_ended
from pachyderm_dagster.worker.stored_log import StoredLines, log_area
from tests.worker.pods import JOB, Pod, PodPlace, needs_pods, pods, wait_for

__all__ = ["pods"]
FILES = {"data": {"/page": b"one\n"}}


@pytest.mark.parametrize(("code", "found"), [(0, 0), (3, 3), (-15, 143), (None, NOT_STARTED)])
def test_container_ends_as_a_shell_would_with_what_its_code_ended_with(code: int | None, found: int) -> None:
    assert container_code(code) == found


@pytest.mark.parametrize(
    ("reason", "code", "found"),
    [
        ("it wanted more than 1 MiB [of memory] [out-of-memory]", None, "it wanted more than 1 MiB [of memory] [out-of-memory]"),
        ("", 3, "the command ended with exit code 3, and is to stay [command-failed]"),
    ],
)
def test_why_code_ended_is_said_with_its_own_code_once(reason: str, code: int | None, found: str) -> None:
    assert str(why_ended(DatumResult(id="0" * 64, index=0, state=ResultState.FAILED, reason=reason, exit_code=code)).error()) == found


def serve(place: PodPlace, script: str, *, user: int = 1000) -> Pod:
    place.serves = True
    place.folder.chmod(0o755)
    place.give("sh", "-c", script, tasks=[place.task(inputs=FILES)], kept_log=IN_CONTAINER, datum_tries=1, variables={"PACH_SERVICE_PORT": "80"})
    return place.start_pod(user=user)


def last_words(place: PodPlace) -> str:
    found = place.area.find_last("pod-0")
    return "" if found is None else str(found.error())


def kept(place: PodPlace) -> list[str]:
    """The lines of the log in the store."""
    return [line.text for line in StoredLines(place.store, log_area(JOB)).more()]


def in_container(pod: Pod, *command: str) -> None:
    """As the kubelet runs what `preStop` says."""
    [first] = find_children(pod.user.pid)
    with subprocess.Popen(["nsenter", "-t", str(first), "-m", "-p", "-r", "-S", "1000", "-G", "1000", *command], stderr=subprocess.DEVNULL) as process:
        process.wait()


@needs_pods
def test_code_finds_its_files_and_is_run_again_in_the_next_container(pods: PodPlace) -> None:
    pod = serve(pods, 'cat /pfs/data/page; echo "port $PACH_SERVICE_PORT"; rm /pfs/data/page 2>/dev/null; exit 3')
    assert pod.user.wait() == 3
    assert last_words(pods) == "'sh' ended with exit code 3; its last output: one | port 80 [command-failed]"
    assert "one\nport 80\n" in pods.log()
    pod.restart_container()
    assert pod.user.wait() == 3
    assert pods.log().count("one\nport 80\n") == 2


def test_next_container_that_begins_at_once_is_seen(tmp_path: Path) -> None:
    for name in (TRIES, CONTROL, ANSWERS, OUTPUT):
        os.mkfifo(tmp_path / name)
    runner = StarterRunner(str(tmp_path))
    with open(tmp_path / ANSWERS, "r+b", buffering=0) as starter:
        assert not runner.has_ended()
        starter.write(b"ready\n")
        assert runner.has_ended()


@needs_pods
def test_code_that_ends_well_did_not_stay(pods: PodPlace) -> None:
    assert serve(pods, "true").user.wait() == 0
    assert last_words(pods) == "the command ended with exit code 0, and is to stay [command-failed]"


@needs_pods
def test_code_starts_again_with_a_worker_that_was_killed(pods: PodPlace) -> None:
    pod = serve(pods, "echo begins $(cat /pfs/data/page); exec sleep 1000")
    wait_for(lambda: "begins one" in pods.log())
    pod.worker.kill()
    pod.worker.wait()
    pod.restart_worker()
    wait_for(lambda: pods.log().count("begins one") == 2)
    assert last_words(pods) == ""


@needs_pods
def test_code_is_told_to_end_before_its_container_is_and_that_is_no_failure(pods: PodPlace) -> None:
    pod = serve(pods, "trap 'echo said goodbye; exit 0' TERM; echo begins; while :; do sleep 0.01; done")
    wait_for(lambda: "begins" in pods.log())
    in_container(pod, "/pach/bin/busybox", "sh", "/pach/bin/leave", "0", "1000")
    assert pod.user.wait() == 0
    assert "said goodbye" in pods.log()
    assert last_words(pods) == ""


@needs_pods
def test_container_that_was_told_to_end_is_followed_by_one_whose_end_is_told(pods: PodPlace) -> None:
    pod = serve(pods, f"trap 'exit 0' TERM; echo begins; while [ ! -e {pods.folder}/again ]; do sleep 0.01; done; exit 4")
    wait_for(lambda: "begins" in pods.log())
    in_container(pod, "/pach/bin/busybox", "sh", "/pach/bin/leave", "0", "1000")
    assert pod.user.wait() == 0
    pod.restart_container()
    wait_for(lambda: pods.log().count("begins") == 2)
    (pods.folder / "again").touch()
    assert pod.user.wait() == 4
    assert "exit code 4" in last_words(pods)


@needs_pods
def test_what_is_not_there_to_serve_is_told(pods: PodPlace) -> None:
    pods.serves = True
    pods.folder.chmod(0o755)
    pod = pods.start_pod()
    pod.worker.wait()
    assert "there is nothing to run" in last_words(pods)


@needs_pods
def test_what_code_prints_is_kept_in_the_store_while_it_runs_and_when_it_has_ended(pods: PodPlace) -> None:
    pod = serve(pods, f"echo begins; while [ ! -e {pods.folder}/end ]; do sleep 0.01; done; echo ends; exit 3", user=0)
    wait_for(lambda: kept(pods) == ["begins"])
    (pods.folder / "end").touch()
    assert pod.user.wait() == 3
    pod.restart_container()
    ends = ["begins", "ends", "['sh' ended with exit code 3; its last output: begins | ends [command-failed]]"]
    wait_for(lambda: kept(pods)[:6] == ends * 2)


@needs_pods
def test_what_code_printed_last_is_kept_when_its_pod_is_told_to_end(pods: PodPlace) -> None:
    pod = serve(pods, "trap 'echo said goodbye; exit 0' TERM; echo begins; while :; do sleep 0.01; done")
    wait_for(lambda: "begins" in pods.log())
    in_container(pod, "/pach/bin/busybox", "sh", "/pach/bin/leave", "0", "1000")
    pod.wait()
    # The shell may tell of its own child's end between the two.
    assert kept(pods)[0] == "begins" and kept(pods)[-1] == "said goodbye"


@needs_pods
def test_code_that_is_asked_to_starts_again_in_its_container(pods: PodPlace) -> None:
    pod = serve(pods, "echo begins $(cat /pfs/data/page); exec sleep 1000")
    wait_for(lambda: "begins one" in pods.log())
    ((task,),) = [pods.area.read_set(0)]
    pods.area.ask_restart(task.id)
    wait_for(lambda: pods.log().count("begins one") == 2)
    assert not pods.area.is_restart_asked(task.id) and pod.user.poll() is None
    wait_for(lambda: kept(pods) == ["begins one", "[it was asked to start again]", "begins one"])
