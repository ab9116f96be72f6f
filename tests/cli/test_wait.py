import datetime as dt
import json
import os
from contextlib import closing
from pathlib import Path

import pytest

from pachyderm_dagster.cli.names import DEV_LEASE
from pachyderm_dagster.cli.waiting import Blockers, WaitReport, show_datums
from pachyderm_dagster.coordination.drivers import SENSOR_OWNER, tell_tick
from pachyderm_dagster.coordination.names import sensor_lease
from pachyderm_dagster.pps.jobs import list_job
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.record import open_record
from tests.cli.pachctl import Pachctl, process


def all_jobs() -> list[Job]:
    """The jobs of the home."""
    record = open_record(os.environ)
    with closing(record.database), record.database.read() as txn:
        return list_job(txn)


@pytest.mark.timeout(300)
def test_wait_runs_due_jobs_where_no_daemon_is_up(worked: Pachctl) -> None:
    worked("delete", "file", "books@master:/bad")
    answer = worked("wait", "commit", "loud@master")
    assert worked("get", "file", "loud@master:/all").out.split() == ["6", "3"]
    assert "no daemon is up: running due jobs in this process" in answer.err
    assert "SUCCESS, 2 skipped" in answer.err
    assert "loud" in answer.out
    (job,) = worked.json("wait", "job", "loud@master")
    assert (job["state"], job["run_id"] is None) == ("SUCCESS", False)


@pytest.mark.timeout(300)
def test_flush_waits_for_everything_downstream_and_fails_with_it(worked: Pachctl) -> None:
    commit = worked.put("books@master:/more", "x y")
    answer = worked.run("flush", "commit", "books@master", "-o", "json")
    assert (answer.status, answer.code) == (1, "commit-failed")
    assert [(found["repo"], found["id"], found["error"] is None) for found in answer.documents] == [
        ("books", commit, True),
        ("count", commit, True),
        ("loud", commit, False),
    ]
    assert "exit code 3" in answer.err


def test_finished_commit_is_not_waited_for(worked: Pachctl) -> None:
    answer = worked("wait", "commit", "count@master", "-o", "json")
    assert (answer.document["repo"], answer.err) == ("count", "")


def test_several_commits_are_waited_for_at_once(worked: Pachctl) -> None:
    commit = worked.put("books@master:/more", "x y")
    answer = worked.run("wait", "commit", "books@master", "count@master", "books@master", "-o", "json")
    assert (answer.status, [(found["repo"], found["id"]) for found in answer.documents]) == (0, [("books", commit), ("count", commit)])
    assert worked.fail("wait", "commit", "count@master", "loud@master") == "commit-failed"
    worked.misuse("wait", "commit")


@pytest.mark.parametrize(
    ("kinds", "total", "told"),
    [
        ({"processed": 3, "failed": 1}, 4, "3 processed, 1 failed"),
        ({"processed": 3, "skipped": 0}, 4, "3 processed of 4 datums"),
        ({"processed": 0}, 1, "none of 1 datum"),
        ({"processed": 0}, 1200, "none of 1,200 datums"),
        ({"processed": 0}, 0, "no datums"),
    ],
)
def test_end_of_a_job_says_how_many_of_its_datums_ended(kinds: dict[str, int], total: int, told: str) -> None:
    assert show_datums(kinds, total) == told


def test_commit_with_an_error_ends_the_wait_with_it(worked: Pachctl) -> None:
    answer = worked.run("wait", "commit", "loud@master")
    assert (answer.status, answer.code) == (1, "commit-failed")
    assert "exit code 3" in answer.err
    assert worked.fail("wait", "job", "loud@master") == "job-failed"


def test_set_is_waited_for_by_its_id(worked: Pachctl) -> None:
    newest, older = (commit["id"] for commit in worked.json("list", "commit", "books", "-n", "2"))
    assert {commit["repo"] for commit in worked.json("wait", "commit", older)} == {"books", "count", "loud"}
    assert {job["pipeline"] for job in worked.json("wait", "job", older)} == {"count", "loud"}
    assert worked.fail("wait", "commit", newest) == "commit-failed"


def test_what_does_not_exist_is_not_waited_for(worked: Pachctl) -> None:
    assert worked.fail("wait", "commit", "books@dev") == "branch-not-found"
    assert worked.fail("wait", "commit", "a" * 32) == "commit-set-not-found"
    assert worked.fail("wait", "job", "count@" + "a" * 32) == "job-not-found"
    assert worked.fail("flush", "commit", "nothing@master") == "repo-not-found"
    worked.misuse("flush", "commit")
    assert worked.fail("wait", "commit", "books@master", "--timeout", "soon") == "duration-invalid"


def test_open_commit_is_named_until_the_time_is_over(worked: Pachctl) -> None:
    opened = worked("start", "commit", "books@master").out.strip()
    for reference in ("books@master", "loud@master", opened):
        answer = worked.run("wait", "commit", reference, "--timeout", "100ms")
        assert (answer.status, answer.code) == (1, "wait-timeout")
        assert f"waiting for books@{opened} to be finished: `pachctl finish commit books@{opened}`" in answer.err


def test_wait_goes_on_when_the_commit_is_finished(worked: Pachctl) -> None:
    worked("start", "commit", "books@other")
    with process("wait", "commit", "books@other", "-o", "json") as waiting:
        assert waiting.stderr is not None
        assert "waiting for books@" in waiting.stderr.readline()
        worked("finish", "commit", "books@other")
        printed, _ = waiting.communicate()
    assert waiting.returncode == 0
    assert json.loads(printed)["finished"] is not None


def test_commit_that_nobody_writes_is_named(worked: Pachctl) -> None:
    worked("create", "repo", "copies")
    worked("create", "branch", "copies@master", "-p", "books@master")
    answer = worked.run("wait", "commit", "copies@master", "--timeout", "100ms")
    assert answer.code == "wait-timeout"
    assert "which no pipeline writes" in answer.err


def test_running_daemon_is_left_to_do_the_work(worked: Pachctl, environment_of_its_own: Path) -> None:
    worked.put("books@master:/more", "x y")
    record = open_record(os.environ)
    record.leases.acquire("sensor/default", "a daemon", dt.timedelta(minutes=5))
    record.database.close()
    answer = worked.run("wait", "commit", "count@master", "--timeout", "100ms")
    assert answer.code == "wait-timeout"
    assert "waiting for the daemon" in answer.err
    assert worked("inspect", "job", "count@master", "-o", "json").document["state"] == "CREATED"


def test_daemon_that_has_just_started_is_left_to_do_the_work(worked: Pachctl) -> None:
    worked.put("books@master:/more", "x y")
    record = open_record(os.environ)
    record.leases.acquire(DEV_LEASE, "a daemon", dt.timedelta(minutes=5))
    record.database.close()
    answer = worked.run("wait", "commit", "count@master", "--timeout", "100ms")
    assert (answer.code, answer.err.splitlines()[0]) == ("wait-timeout", "waiting for the daemon to finish what is due")


def test_jobs_of_a_daemon_with_another_executor_are_left_to_it_though_it_is_not_up(worked: Pachctl) -> None:
    worked.put("books@master:/more", "x y")
    record = open_record(os.environ)
    tell_tick(record.leases, "default", "kubernetes")
    record.leases.release(sensor_lease("default"), SENSOR_OWNER)
    answer = worked.run("wait", "commit", "count@master", "--timeout", "100ms")
    assert answer.code == "wait-timeout"
    assert answer.err.startswith("waiting for the daemon, which is not up and runs jobs by kubernetes; ")
    assert worked("inspect", "job", "count@master", "-o", "json").document["state"] == "CREATED"
    # A daemon that is given the executor of the commands is the last one that counts.
    tell_tick(record.leases, "default", "local")
    record.leases.release(sensor_lease("default"), SENSOR_OWNER)
    record.database.close()
    assert "no daemon is up: running due jobs in this process" in worked("wait", "commit", "count@master").err


def test_what_is_waited_for_is_not_said_again_after_each_job(worked: Pachctl, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    jobs = [job for job in all_jobs() if job.pipeline.name == "count"]
    with WaitReport() as report:
        for job in jobs[:2]:
            report.blocked(Blockers(jobs=(job,)), daemon=True)
            report.job(job, job.state, job.counters)
    assert [line.partition(" ")[0] for line in capsysbinary.readouterr().err.decode().splitlines()] == ["waiting", "job", "job"]


def test_ends_of_all_jobs_that_were_waited_for_are_told(worked: Pachctl) -> None:
    first, second, *_ = all_jobs()
    with WaitReport() as report:
        report.blocked(Blockers(jobs=(first, second)), daemon=True)
        assert report.begun >= {second.key}


def test_end_of_a_job_that_a_daemon_runs_is_told(worked: Pachctl, environment_of_its_own: Path) -> None:
    commit = worked.put("books@master:/more", "x y")
    record = open_record(os.environ)
    record.leases.acquire("sensor/default", "a daemon", dt.timedelta(minutes=5))
    record.database.close()
    with process("wait", "commit", "count@master") as waiting:
        assert waiting.stderr is not None
        assert "waiting for the daemon" in waiting.stderr.readline()
        worked("stop", "job", f"count@{commit}")
        _, said = waiting.communicate()
    assert waiting.returncode == 1
    assert f"job count@{commit}: KILLED, no datums" in said
    assert said.endswith("[commit-failed]\n")


def test_commit_that_is_deleted_meanwhile_ends_the_wait(worked: Pachctl) -> None:
    worked("create", "repo", "scratch")
    worked("start", "commit", "scratch@master")
    with process("wait", "commit", "scratch@master") as waiting:
        assert waiting.stderr is not None
        assert "waiting for scratch@" in waiting.stderr.readline()
        worked("delete", "repo", "scratch")
        _, said = waiting.communicate()
    assert waiting.returncode == 1
    assert said.endswith("[commit-not-found]\n")
