"""Output that goes on to a folder or a database before the job ends."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.errors import InvalidError, StateError, UnreachableError
from pachyderm_dagster.executors.egress import EgressRun, EgressStopped, run_egress
from pachyderm_dagster.executors.retry_egress import retry_egress
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pps import jobs, recovery
from pachyderm_dagster.pps.egress import Egress, ObjectStorage, SqlDatabase, SqlFileFormat
from pachyderm_dagster.pps.model import Counters, Job, JobState
from pachyderm_dagster.sql.vocabulary import FileType
from pachyderm_dagster.workspace import Workspace
from tests.executors.in_process import InProcessExecutor, put, read_all, run_due

COPY = """
pipeline: {{name: copy}}
transform: {{cmd: [in-process]}}
input: {{pfs: {{repo: data, glob: /*}}}}
egress: {egress}
"""
SECOND = """
pipeline: {name: second}
transform: {cmd: [in-process]}
input: {pfs: {repo: copy, glob: /*}}
"""


def same(files: dict[str, bytes]) -> dict[str, bytes]:
    return files


def to_sql(path: Path, *columns: str) -> str:
    return json.dumps({"sql_database": {"url": f"sqlite:///{path}", "file_format": {"type": "CSV", "columns": columns}}})


def to_folder(path: Path) -> str:
    return json.dumps({"URL": path.as_uri()})


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "tables.db", isolation_level=None)
    connection.execute("CREATE TABLE scores (name TEXT, points INTEGER)")
    connection.execute("INSERT INTO scores VALUES ('old', 0)")
    yield connection
    connection.close()


@pytest.fixture
def executor(workspace: Workspace) -> InProcessExecutor:
    workspace.pfs.create_repo("data")
    return InProcessExecutor(same)


def rows(tables: sqlite3.Connection) -> list[tuple[str, int]]:
    return tables.execute("SELECT name, points FROM scores ORDER BY name").fetchall()


def newest(workspace: Workspace) -> Job:
    with workspace.database.read() as txn:
        return jobs.list_job(txn)[0]


def test_output_is_written_below_a_url_and_nothing_there_is_deleted(
    workspace: Workspace, create: Callable[..., None], executor: InProcessExecutor, tmp_path: Path
) -> None:
    put(workspace, "data@master", {"/a": b"one", "/deep/100% #ü.txt": b"two", "/empty": b""})
    create(COPY.format(egress=to_folder(tmp_path / "out")))
    (job,) = run_due(workspace, executor)
    assert job.state is JobState.SUCCESS
    assert job.delivered is not None
    assert (job.delivered.files, job.delivered.bytes, job.delivered.tries, job.delivered.rows) == (3, 6, 1, None)
    assert files_below(tmp_path / "out") == {"a": b"one", "deep/100% #ü.txt": b"two", "empty": b""}
    put(workspace, "data@master", {"/a": None, "/b": b"three"})
    run_due(workspace, executor)
    assert set(files_below(tmp_path / "out")) == {"a", "b", "deep/100% #ü.txt", "empty"}


def test_states_go_from_running_over_egressing_to_success(
    workspace: Workspace, create: Callable[..., None], executor: InProcessExecutor, tmp_path: Path
) -> None:
    put(workspace, "data@master", {"/a": b"one"})
    create(COPY.format(egress=to_folder(tmp_path / "out")))
    seen: list[tuple[JobState, JobState, bool]] = []

    def look(state: JobState, _counters: Counters) -> None:
        seen.append((state, newest(workspace).state, workspace.pfs.inspect_commit("copy@master").finished is None))

    assert run_job(workspace, newest(workspace), executor=executor, on_progress=look).state is JobState.SUCCESS
    assert seen == [(JobState.EGRESSING, JobState.EGRESSING, True)]


def test_rows_replace_those_of_the_table(workspace: Workspace, create: Callable[..., None], executor: InProcessExecutor, tables: sqlite3.Connection) -> None:
    create(COPY.format(egress=to_sql(Path(tables.execute("PRAGMA database_list").fetchone()[2]))))
    put(workspace, "data@master", {"/scores/a.csv": b"ann,1\n", "/scores/b.csv": b"bob,2\n"})
    first, second = run_due(workspace, executor)
    assert (first.delivered and first.delivered.rows, second.delivered and second.delivered.rows) == ({}, {"scores": 2})
    assert rows(tables) == [("ann", 1), ("bob", 2)]
    put(workspace, "data@master", {"/scores/a.csv": b"ann,3\n"})
    run_due(workspace, executor)
    assert rows(tables) == [("ann", 3), ("bob", 2)]


def test_failed_egress_leaves_the_output_good_and_is_retried_alone(
    workspace: Workspace, create: Callable[..., None], executor: InProcessExecutor, tables: sqlite3.Connection, tmp_path: Path
) -> None:
    put(workspace, "data@master", {"/scores/a.csv": b"ann,1\n", "/later/a.csv": b"x\n"})
    create(COPY.format(egress=to_sql(tmp_path / "tables.db")))
    create(SECOND)
    failed, downstream = run_due(workspace, executor)
    assert failed.state is JobState.EGRESS_FAILURE
    assert "/later/a.csv: there is no table 'later'" in failed.reason
    assert downstream.state is JobState.SUCCESS
    assert workspace.pfs.inspect_commit("copy@master").error is None
    assert read_all(workspace, "copy@master") == {"/scores/a.csv": b"ann,1\n", "/later/a.csv": b"x\n"}
    assert rows(tables) == [("old", 0)]
    ran = list(executor.ran)

    assert retry_egress(workspace, failed).state is JobState.EGRESS_FAILURE
    tables.execute("CREATE TABLE later (a TEXT)")
    done = retry_egress(workspace, failed)
    assert (done.state, done.reason, done.delivered and done.delivered.rows) == (JobState.SUCCESS, "", {"later": 1, "scores": 1})
    assert (done.finished, done.counters) == (failed.finished, failed.counters)
    assert rows(tables) == [("ann", 1)]
    assert executor.ran == ran


def test_job_after_a_failed_egress_builds_on_its_output(workspace: Workspace, create: Callable[..., None], executor: InProcessExecutor, tmp_path: Path) -> None:
    (tmp_path / "tables.db").touch()
    create(COPY.format(egress=to_sql(tmp_path / "tables.db")))
    put(workspace, "data@master", {"/scores": b"ann,1\n"})
    run_due(workspace, executor)
    put(workspace, "data@master", {"/more": b"1\n"})
    (job,) = run_due(workspace, executor)
    assert (job.counters.data_total, job.counters.data_processed, job.counters.data_skipped) == (2, 1, 1)


def test_egress_that_was_interrupted_is_done_again_without_running_datums(
    workspace: Workspace, create: Callable[..., None], executor: InProcessExecutor, tmp_path: Path
) -> None:
    put(workspace, "data@master", {"/a": b"one"})
    create(COPY.format(egress=to_folder(tmp_path / "out")))

    def die(_state: JobState, _counters: Counters) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(workspace, newest(workspace), executor=executor, on_progress=die)
    assert newest(workspace).state is JobState.EGRESSING
    (job,) = run_due(workspace, executor)
    assert (job.state, job.restarts) == (JobState.SUCCESS, 1)
    assert executor.ran == [("/a",)]
    assert files_below(tmp_path / "out") == {"a": b"one"}


def test_job_that_a_user_stops_while_it_egresses_is_killed(
    workspace: Workspace, create: Callable[..., None], executor: InProcessExecutor, tmp_path: Path
) -> None:
    put(workspace, "data@master", {"/a": b"one"})
    create(COPY.format(egress=to_folder(tmp_path / "out")))
    job = newest(workspace)

    def stop(_state: JobState, _counters: Counters) -> None:
        workspace.database.write(lambda txn: jobs.stop(txn, job, reason="a user stopped it"))

    assert run_job(workspace, job, executor=executor, on_progress=stop).state is JobState.KILLED


def test_only_a_job_with_a_good_output_and_an_egress_can_retry_it(
    workspace: Workspace, create: Callable[..., None], executor: InProcessExecutor, tmp_path: Path
) -> None:
    put(workspace, "data@master", {"/a": b"one"})
    create(COPY.format(egress=to_folder(tmp_path / "out")))
    with pytest.raises(StateError) as raised:
        retry_egress(workspace, newest(workspace))
    assert raised.value.code == "job-without-output"
    (job,) = run_due(workspace, executor)
    (tmp_path / "out" / "a").unlink()
    assert retry_egress(workspace, job).state is JobState.SUCCESS
    assert files_below(tmp_path / "out") == {"a": b"one"}
    create(SECOND)
    (without,) = run_due(workspace, executor)
    with pytest.raises(InvalidError) as refused:
        retry_egress(workspace, without)
    assert refused.value.code == "no-egress"


def test_what_egress_wrote_is_in_the_record_of_the_commit(
    workspace: Workspace, create: Callable[..., None], executor: InProcessExecutor, tmp_path: Path
) -> None:
    put(workspace, "data@master", {"/a": b"one"})
    create(COPY.format(egress=to_folder(tmp_path / "out")))
    (job,) = run_due(workspace, executor)
    with workspace.database.read() as txn:
        stored = recovery.from_builtins(recovery.jobs_of(txn, [job.output_commit])[job.output_commit])
    assert stored.delivered == job.delivered
    assert stored.delivered is not None


def send_to_nobody(workspace: Workspace, tries: int, stopped: threading.Event) -> None:
    egress = Egress(sql_database=SqlDatabase(url="postgresql://nobody@127.0.0.1:1/none", file_format=SqlFileFormat(type=FileType.CSV)), tries=tries)
    pfs = workspace.pfs
    run_egress(EgressRun(egress, pfs.trees, pfs.reader, None, lambda _: None, workspace.settings.home, workspace.database.clock, first_pause=0.0), stopped)


def test_a_destination_that_does_not_answer_is_asked_as_often_as_the_spec_says(workspace: Workspace) -> None:
    class Pauses(threading.Event):
        def __init__(self) -> None:
            super().__init__()
            self.waited: list[float | None] = []

        def wait(self, timeout: float | None = None) -> bool:
            self.waited.append(timeout)
            return False

    pauses = Pauses()
    with pytest.raises(UnreachableError):
        send_to_nobody(workspace, 4, pauses)
    assert pauses.waited == [0.0, 0.0, 0.0]


def test_an_egress_can_be_stopped(workspace: Workspace, tmp_path: Path) -> None:
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(EgressStopped):
        send_to_nobody(workspace, 4, stopped)
    pfs = workspace.pfs
    egress = Egress(object_storage=ObjectStorage(tmp_path.as_uri()))
    with pytest.raises(EgressStopped):
        run_egress(EgressRun(egress, pfs.trees, pfs.reader, None, lambda _: None, tmp_path, workspace.database.clock), stopped)
