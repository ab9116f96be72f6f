"""Services and spouts, kept by the real keeper and run by real workers."""

import dataclasses
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from pachyderm_dagster.coordination.leases import LEASE_TIME, HeldLease
from pachyderm_dagster.coordination.names import process_lease
from pachyderm_dagster.errors import ExecutionError, PachydermError, StorageError, UnreachableError
from pachyderm_dagster.executors import keeper as keeper_module
from pachyderm_dagster.executors import kept_processes
from pachyderm_dagster.executors.backoff import Backoff
from pachyderm_dagster.executors.keeper import Keeper
from pachyderm_dagster.executors.kept_processes import ProcessRecord, process_folder, read_record, write_record
from pachyderm_dagster.executors.process_marks import ProcessMark, is_alive, mark_of
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.model import Job, JobState, Pipeline, PipelineState
from pachyderm_dagster.pps.wanted import list_wanted
from pachyderm_dagster.worker.kept_log import KeptLines
from pachyderm_dagster.workspace import Workspace
from tests.executors.in_process import put, read_all

SERVE, SPOUT = RepoName("default", "serve"), RepoName("default", "spout")
MOST_SECONDS = 60.0
AT_ONCE = Backoff(first=0.0, most=0.0, stable=30.0, crashes=3)
Create = Callable[..., None]


class Home:
    """The services and spouts of a workspace, seen from outside."""

    def __init__(self, workspace: Workspace, metadata_url: str, folder: Path) -> None:
        self.workspace, self.folder = workspace, folder
        self.environ = {**os.environ, "PACHYDERM_HOME": str(workspace.settings.home), "PACHYDERM_METADATA_URL": metadata_url}
        self.told: list[str] = []
        self.passed = 0.0

    @contextmanager
    def kept(self, rule: Backoff = AT_ONCE) -> Iterator[Keeper]:
        with Keeper(self.workspace, self.environ, rule=rule, tell=self.told.append, monotonic=self.monotonic) as keeper:
            yield keeper

    def monotonic(self) -> float:
        """The time of the keeper: more of it passes when a test says so."""
        return time.monotonic() + self.passed

    def lease(self, name: RepoName = SPOUT) -> str:
        return process_lease(self.pipeline(name).key)

    def pipeline(self, name: RepoName) -> Pipeline:
        with self.workspace.database.read() as txn:
            return pipelines.get_pipeline(txn, name)

    def jobs(self, name: RepoName = SERVE) -> list[Job]:
        """The oldest first."""
        with self.workspace.database.read() as txn:
            return jobs.list_job(txn, pipeline=name)[::-1]

    def states(self, name: RepoName = SERVE) -> list[str]:
        return [job.state.value for job in self.jobs(name)]

    def record(self, name: RepoName = SERVE) -> ProcessRecord | None:
        return read_record(process_folder(self.workspace.settings.home, self.pipeline(name).key))

    def worker(self, name: RepoName = SERVE) -> ProcessMark | None:
        record = self.record(name)
        return None if record is None else record.worker

    def log(self, name: RepoName = SERVE) -> list[str]:
        folder = process_folder(self.workspace.settings.home, self.pipeline(name).key)
        return [line.text for line in KeptLines(folder).more()]

    def said(self) -> str:
        path = self.folder / "said"
        return path.read_text() if path.exists() else ""


def until(keeper: Keeper, holds: Callable[[], object]) -> None:
    """Lets the keeper work until something holds."""
    deadline = time.monotonic() + MOST_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        keeper.step(0.05)


@pytest.fixture
def home(workspace: Workspace, metadata_url: str, tmp_path: Path) -> Home:
    workspace.pfs.create_repo("data")
    return Home(workspace, metadata_url, tmp_path)


def service(home: Home, script: str, **more: str) -> str:
    """A service that runs a script, in which `said` is a file that the test reads."""
    fields = "".join(f"{name}: {value}\n" for name, value in more.items())
    lines = f"said={home.folder}/said; {script}"
    return (
        f"pipeline: {{name: serve}}\ninput: {{pfs: {{repo: data, glob: /}}}}\nservice: {{internal_port: {free_port()}}}\n"
        f"transform:\n  cmd: [sh]\n  stdin:\n  - >-\n    {lines}\n{fields}"
    )


def spout(home: Home, script: str) -> str:
    return f"pipeline: {{name: spout}}\nspout: {{}}\ntransform:\n  cmd: [sh]\n  stdin:\n  - >-\n    said={home.folder}/said; {script}\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


SAYS_CONTENT = "cat $data/f >> $said; exec sleep 600"


def test_service_serves_the_newest_commit_and_its_job_lasts_until_the_next(home: Home, create: Create) -> None:
    put(home.workspace, "data@master", {"/f": b"one\n"})
    create(service(home, SAYS_CONTENT))
    with home.kept() as keeper:
        until(keeper, lambda: home.said() == "one\n")
        assert home.states() == ["RUNNING"]
        first = home.worker()
        put(home.workspace, "data@master", {"/f": b"two\n"})
        until(keeper, lambda: home.said() == "one\ntwo\n")
        assert home.states() == ["SUCCESS", "RUNNING"]
        assert first is not None
        assert not is_alive(first)
    assert read_all(home.workspace, f"serve@{home.jobs()[0].id}") == {}


def test_jobs_of_services_are_not_due_for_others(home: Home, create: Create) -> None:
    put(home.workspace, "data@master", {"/f": b"one\n"})
    create(service(home, SAYS_CONTENT))
    with home.workspace.database.read() as txn:
        assert jobs.list_due_set(txn, "default") == []


def test_commits_that_came_while_nobody_kept_it_are_passed_over(home: Home, create: Create) -> None:
    create(service(home, SAYS_CONTENT))
    for content in (b"one\n", b"two\n", b"three\n"):
        put(home.workspace, "data@master", {"/f": content})
    with home.kept() as keeper:
        until(keeper, lambda: home.said() == "three\n")
        until(keeper, lambda: home.states() == ["SUCCESS", "SUCCESS", "SUCCESS", "RUNNING"])


def test_end_of_the_keeper_ends_the_process_and_the_next_goes_on_with_the_job(home: Home, create: Create) -> None:
    put(home.workspace, "data@master", {"/f": b"one\n"})
    create(service(home, SAYS_CONTENT))
    with home.kept() as keeper:
        until(keeper, lambda: home.said() == "one\n")
        worker = home.worker()
    assert worker is not None
    assert not is_alive(worker)
    assert home.record() is None
    assert home.states() == ["RUNNING"]
    with home.kept() as keeper:
        until(keeper, lambda: home.said() == "one\none\n")
    assert [(job.state, job.restarts) for job in home.jobs()] == [(JobState.RUNNING, 1)]


def test_input_of_several_datums_fails_its_job_and_what_is_served_goes_on(home: Home, create: Create) -> None:
    put(home.workspace, "data@master", {"/f": b"one\n"})
    create(service(home, "cat $data >> $said; exec sleep 600").replace("glob: /", "glob: /*"))
    with home.kept() as keeper:
        until(keeper, lambda: home.said() == "one\n")
        put(home.workspace, "data@master", {"/g": b"two\n"})
        until(keeper, lambda: home.states() == ["RUNNING", "FAILURE"])
        keeper.step(0)
        worker = home.worker()
        assert worker is not None
        assert is_alive(worker)
    assert "the input of service 'serve' gives 2 datums, and a service serves one" in home.jobs()[1].reason
    assert [job.restarts for job in home.jobs()] == [0, 0]
    assert home.said() == "one\n"


def test_commit_with_an_error_is_not_served(home: Home, create: Create) -> None:
    put(home.workspace, "data@master", {"/f": b"one\n"})
    create(service(home, SAYS_CONTENT))
    with home.kept() as keeper:
        until(keeper, lambda: home.said() == "one\n")
        commit = home.workspace.pfs.start_commit("data@master")
        home.workspace.pfs.finish_commit(f"data@{commit.id}", error="no good")
        until(keeper, lambda: home.states() == ["RUNNING", "UNRUNNABLE"])
    assert home.said() == "one\n"


@pytest.mark.parametrize("change", ["stop", "delete", "stop job"])
def test_process_ends_with_what_it_is_for(home: Home, create: Create, change: str) -> None:
    put(home.workspace, "data@master", {"/f": b"one\n"})
    create(service(home, f"trap 'echo bye >> $said; exit' TERM; {SAYS_CONTENT.replace('exec sleep 600', 'sleep 600 & wait')}"))
    with home.kept() as keeper:
        until(keeper, lambda: home.said() == "one\n")
        worker, folder = home.worker(), process_folder(home.workspace.settings.home, home.pipeline(SERVE).key)
        assert worker is not None
        with_txn: Mapping[str, Callable[..., object]] = {
            "stop": lambda txn: pipelines.stop_pipeline(txn, SERVE),
            "delete": lambda txn: pipelines.delete_pipeline(txn, SERVE),
            "stop job": lambda txn: jobs.stop(txn, home.jobs()[0], reason="a test"),
        }
        home.workspace.database.write(with_txn[change])
        until(keeper, lambda: not is_alive(worker))
        keeper.step(0)
    # It was asked to end before it was killed.
    assert home.said() == "one\nbye\n"
    assert folder.exists() is (change != "delete")


def test_started_pipeline_and_updated_one_get_a_new_process(home: Home, create: Create) -> None:
    put(home.workspace, "data@master", {"/f": b"one\n"})
    create(service(home, SAYS_CONTENT))
    with home.kept() as keeper:
        until(keeper, lambda: home.said() == "one\n")
        home.workspace.database.write(lambda txn: pipelines.stop_pipeline(txn, SERVE))
        until(keeper, lambda: home.worker() is None)
        home.workspace.database.write(lambda txn: pipelines.start_pipeline(txn, SERVE))
        until(keeper, lambda: home.said() == "one\none\n")
        create(service(home, "echo new >> $said; exec sleep 600"), update=True)
        until(keeper, lambda: home.said() == "one\none\nnew\n")
    assert home.states() == ["KILLED", "KILLED", "RUNNING"]


def test_process_that_fails_again_and_again_is_said_to_crash_until_an_update(home: Home, create: Create) -> None:
    create(spout(home, "echo about to fail; exit 3"))
    with home.kept() as keeper:
        until(keeper, lambda: home.pipeline(SPOUT).state is PipelineState.CRASHING)
        crashed = home.pipeline(SPOUT)
        assert "'sh' ended with exit code 3; its last output: about to fail [command-failed]" in crashed.reason
        assert [line for line in home.log(SPOUT) if not line.startswith("[")][:3] == ["about to fail"] * 3
        create(spout(home, "echo well >> $said; exec sleep 600"), update=True)
        assert (home.pipeline(SPOUT).state, home.pipeline(SPOUT).reason) == (PipelineState.RUNNING, "")
        until(keeper, lambda: home.said() == "well\n")
    assert home.pipeline(SPOUT).state is PipelineState.RUNNING


def test_crashing_pipeline_still_gets_jobs_and_recovers_after_a_while(home: Home, create: Create) -> None:
    put(home.workspace, "data@master", {"/f": b"exit 1"})
    create(service(home, "eval $(cat $data/f)"))
    with home.kept() as keeper:
        until(keeper, lambda: home.pipeline(SERVE).state is PipelineState.CRASHING)
        put(home.workspace, "data@master", {"/f": b"exec sleep 600"})
        until(keeper, lambda: len(home.states()) == 2 and home.states()[1] == "RUNNING" and home.worker() is not None)
        assert home.pipeline(SERVE).state is PipelineState.CRASHING
        home.passed += AT_ONCE.stable
        keeper.step(0)
        assert home.pipeline(SERVE).state is PipelineState.RUNNING
    assert len(home.jobs()) == 2


def test_process_that_ends_well_is_started_again_and_does_not_crash(home: Home, create: Create) -> None:
    create(spout(home, "echo round >> $said"))
    with home.kept(dataclasses.replace(AT_ONCE, quick=0.0)) as keeper:
        until(keeper, lambda: home.said().count("round") >= 4)
    assert home.pipeline(SPOUT).state is PipelineState.RUNNING
    assert any("spout spout: the command ended with exit code 0, and is to stay; it starts again in 0 s" in line for line in home.told)


def test_process_that_ends_at_once_again_and_again_crashes_with_exit_code_0_too(home: Home, create: Create) -> None:
    create(spout(home, "echo round >> $said"))
    with home.kept(dataclasses.replace(AT_ONCE, quick=MOST_SECONDS, stable=MOST_SECONDS)) as keeper:
        until(keeper, lambda: home.pipeline(SPOUT).state is PipelineState.CRASHING)
    assert home.said() == "round\n" * 3
    assert home.pipeline(SPOUT).reason == "the command ended with exit code 0, and is to stay"


def test_port_that_is_taken_is_told_and_waited_for(home: Home, create: Create) -> None:
    put(home.workspace, "data@master", {"/f": b"one\n"})
    create(service(home, "echo at $PACH_SERVICE_HOST:$PACH_SERVICE_PORT >> $said; exec sleep 600"))
    port = home.pipeline(SERVE).spec.port
    assert port is not None
    with home.kept() as keeper:
        with socket.socket() as other:
            other.bind(("127.0.0.1", port))
            other.listen()
            until(keeper, lambda: home.pipeline(SERVE).state is PipelineState.CRASHING)
            assert f"port {port} of 127.0.0.1 cannot be had: Address already in use" in home.pipeline(SERVE).reason
            assert home.pipeline(SERVE).reason.endswith("[port-taken]")
        until(keeper, lambda: home.said() == f"at 127.0.0.1:{port}\n")


def test_spout_writes_commits_that_feed_what_reads_it(home: Home, create: Create) -> None:
    create(spout(home, "echo line | pachctl put file spout@master:/log -f - && echo done >> $said; exec sleep 600"))
    create("pipeline: {name: reader}\ninput: {pfs: {repo: spout, glob: /*}}\ntransform: {cmd: [in-process]}\n")
    with home.kept() as keeper:
        until(keeper, lambda: home.said() == "done\n")
    assert read_all(home.workspace, "spout@master") == {"/log": b"line\n"}
    assert home.jobs(SPOUT) == []
    assert len(home.jobs(RepoName("default", "reader"))) == 2


def test_rerun_of_a_spout_starts_it_again(home: Home, create: Create) -> None:
    create(spout(home, "echo begun >> $said; exec sleep 600"))
    with home.kept() as keeper:
        until(keeper, lambda: home.said() == "begun\n")
        home.workspace.database.write(lambda txn: pipelines.rerun_pipeline(txn, SPOUT))
        until(keeper, lambda: home.said() == "begun\nbegun\n")
    assert home.pipeline(SPOUT).version == 2


def test_transformation_that_becomes_a_spout_and_back_keeps_its_repo(home: Home, create: Create) -> None:
    put(home.workspace, "data@master", {"/f": b"one\n"})
    transformation = "pipeline: {name: spout}\ninput: {pfs: {repo: data, glob: /}}\ntransform: {cmd: [in-process]}\n"
    create(transformation)
    create(spout(home, "exec sleep 600"), update=True)
    assert home.states(SPOUT) == ["KILLED"]
    put(home.workspace, "spout@master", {"/by-hand": b"x"})
    put(home.workspace, "data@master", {"/f": b"two\n"})
    assert len(home.jobs(SPOUT)) == 1
    create(transformation, update=True)
    assert home.states(SPOUT) == ["KILLED", "CREATED"]


def test_what_a_killed_keeper_left_is_ended_and_its_claim_is_taken_over(home: Home, create: Create) -> None:
    """A process that outlived its keeper cannot be made on purpose: the kernel ends it. So the record names one of the test's."""
    create(spout(home, "echo begun >> $said; exec sleep 600"))
    folder = process_folder(home.workspace.settings.home, home.pipeline(SPOUT).key)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as left:
        mark = mark_of(left.pid)
        assert mark is not None
        write_record(folder, ProcessRecord(owner="the one that was killed", keeper=ProcessMark(mark.pid, mark.start - 1), worker=mark))
        with home.kept() as keeper:
            keeper.step(0)
            assert left.wait() == -15
            until(keeper, lambda: home.said() == "begun\n")
    assert any(f"ended process {left.pid}" in line for line in home.told)


def test_keeper_that_is_killed_leaves_no_process_and_the_next_need_not_wait_for_its_lease(home: Home, create: Create) -> None:
    create(spout(home, "echo begun >> $said; exec sleep 600"))
    with subprocess.Popen([sys.executable, "-m", "pachyderm_dagster", "run", "service"], env=home.environ, stderr=subprocess.PIPE) as first:
        assert first.stderr is not None
        assert b"started" in first.stderr.readline()
        deadline = time.monotonic() + MOST_SECONDS
        while home.said() != "begun\n" or home.worker(SPOUT) is None:
            assert first.poll() is None
            assert time.monotonic() < deadline, "it never began"
        left = home.worker(SPOUT)
        first.kill()
    assert left is not None
    with home.kept() as keeper:
        until(keeper, lambda: home.said() == "begun\nbegun\n")
        assert not is_alive(left)


def test_two_keepers_do_not_keep_one_pipeline(home: Home, create: Create) -> None:
    create(spout(home, "echo begun >> $said; exec sleep 600"))
    with home.kept() as first:
        until(first, lambda: home.said() == "begun\n")
        with home.kept() as second:
            second.step(0)
            assert home.told[-1] == "spout spout: another process keeps it; it is taken over when that ends"
            worker = home.worker(SPOUT)
        assert worker is not None
        assert is_alive(worker)
        assert home.record(SPOUT) is not None


def test_pipeline_whose_command_has_the_words_of_a_service_is_none(home: Home, create: Create) -> None:
    create("""pipeline: {name: copy}\ninput: {pfs: {repo: data, glob: /}}\ntransform: {cmd: [sh, -c, 'echo {"service":{},"spout":{}}']}\n""")
    with home.workspace.database.read() as txn:
        assert list_wanted(txn) == []


def test_pipeline_that_is_deleted_while_it_is_looked_after_ends_nothing_else(home: Home, create: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    put(home.workspace, "data@master", {"/f": b"one\n"})
    create(service(home, SAYS_CONTENT))
    create(spout(home, "echo begun >> $said; exec sleep 600"))
    with home.workspace.database.read() as txn:
        before = list_wanted(txn)
    home.workspace.database.write(lambda txn: pipelines.delete_pipeline(txn, SERVE))
    with home.kept() as keeper:
        monkeypatch.setattr(keeper_module, "list_wanted", lambda _txn, _names: before)
        until(keeper, lambda: home.said() == "begun\n")
        begun = home.worker(SPOUT)
        for _ in range(3):
            keeper.step(0)
        assert begun is not None
        assert is_alive(begun)
        assert home.worker(SPOUT) == begun


@pytest.mark.parametrize("error", [StorageError("storage-failed", "no such disk"), UnreachableError("database-unreachable", "gone"), OSError(28, "no room")])
def test_error_of_one_pipeline_is_told_once_and_stops_no_other(
    home: Home, create: Create, monkeypatch: pytest.MonkeyPatch, error: PachydermError | OSError
) -> None:
    put(home.workspace, "data@master", {"/f": b"one\n"})
    create(service(home, SAYS_CONTENT))
    create(spout(home, "echo begun >> $said; exec sleep 600"))

    def fail(*_: object) -> None:
        raise error

    with home.kept() as keeper:
        with monkeypatch.context() as broken:
            broken.setattr(keeper_module, "start_of_service", fail)
            until(keeper, lambda: home.said() == "begun\n")
            keeper.step(0)
        assert [line for line in home.told if line.startswith("service serve")] == [f"service serve: {error}; this is tried again"]
        until(keeper, lambda: home.said() == "begun\none\n")


def test_pipeline_that_failed_is_left_alone_for_longer_each_time(home: Home, create: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    put(home.workspace, "data@master", {"/f": b"one\n"})
    create(service(home, SAYS_CONTENT))
    tries: list[float] = []

    def fail(*_: object) -> None:
        tries.append(home.passed)
        raise StorageError("storage-failed", "no such disk")

    monkeypatch.setattr(keeper_module, "start_of_service", fail)
    monkeypatch.setattr(home, "monotonic", lambda: home.passed)
    with home.kept(Backoff(first=1.0, most=60.0, stable=30.0, crashes=3)) as keeper:
        for _ in range(16):
            keeper.step(0)
            home.passed += 0.5
    assert tries == [0.0, 1.0, 3.0, 7.0]


def test_record_that_cannot_be_read_ends_no_process(home: Home, create: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    create(spout(home, "echo begun >> $said; exec sleep 600"))

    def fail(*_: object) -> None:
        raise UnreachableError("database-unreachable", "gone")

    with home.kept() as keeper:
        until(keeper, lambda: home.said() == "begun\n")
        worker = home.worker(SPOUT)
        assert worker is not None
        monkeypatch.setattr(keeper_module, "list_wanted", fail)
        keeper.step(0)
        keeper.step(0)
        assert home.told[-1] == "the record: gone [database-unreachable]; this is tried again"
        assert is_alive(worker)
        # When the lease is lost meanwhile, somebody else may have started one.
        monkeypatch.setattr(HeldLease, "is_lost", lambda _lease: True)
        keeper.step(0)
        assert not is_alive(worker)


def test_worker_that_cannot_be_made_is_a_crash_that_says_why(home: Home, create: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    create(spout(home, "echo begun >> $said; exec sleep 600"))

    def fail(*_: object) -> None:
        raise ExecutionError("limits-not-set", "no such group")

    with home.kept() as keeper:
        with monkeypatch.context() as broken:
            broken.setattr(keeper_module, "WorkerProcess", fail)
            keeper.step(0)
            assert home.pipeline(SPOUT).reason == "no such group [limits-not-set]"
            assert home.pipeline(SPOUT).state is PipelineState.CRASHING
        until(keeper, lambda: home.said() == "begun\n")


def test_claim_is_given_back_when_the_process_cannot_be_written_down(home: Home, create: Create) -> None:
    create(spout(home, "echo begun >> $said; exec sleep 600"))
    folder = process_folder(home.workspace.settings.home, home.pipeline(SPOUT).key)
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way")
    with home.kept() as keeper:
        keeper.step(0)
        assert "File exists" in home.told[-1]
        assert not home.workspace.leases.is_held(home.lease())
        folder.unlink()
        until(keeper, lambda: home.said() == "begun\n")


def test_record_of_a_keeper_that_takes_over_while_another_clears_up_stays(home: Home, create: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    create(spout(home, "exec sleep 600"))
    folder = process_folder(home.workspace.settings.home, home.pipeline(SPOUT).key)
    me = mark_of(os.getpid())
    assert me is not None
    gone = ProcessMark(me.pid, me.start - 1, me.place)
    write_record(folder, ProcessRecord(owner="killed", keeper=gone, worker=gone))
    taken_over = ProcessRecord(owner="faster", keeper=me)
    monkeypatch.setattr(kept_processes, "end_session", lambda _mark, seconds: write_record(folder, taken_over))
    assert list(kept_processes.end_left(home.workspace.settings.home, home.workspace.leases, seconds=0.0)) == []
    assert read_record(folder) == taken_over


def test_keeper_of_another_machine_or_container_is_believed_to_live_while_its_lease_does(home: Home, create: Create) -> None:
    create(spout(home, "echo begun >> $said; exec sleep 600"))
    folder = process_folder(home.workspace.settings.home, home.pipeline(SPOUT).key)
    me = mark_of(os.getpid())
    assert me is not None
    elsewhere = ProcessRecord(owner="elsewhere", keeper=ProcessMark(me.pid, me.start - 1, "another boot/1"))
    write_record(folder, elsewhere)
    assert home.workspace.leases.acquire(home.lease(), "elsewhere", LEASE_TIME)
    with home.kept() as keeper:
        keeper.step(0)
        assert read_record(folder) == elsewhere
        home.workspace.leases.release(home.lease(), "elsewhere")
        until(keeper, lambda: home.said() == "begun\n")
