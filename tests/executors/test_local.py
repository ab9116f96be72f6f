"""The local executor with real workers: what it runs, what it survives, what it leaves behind."""

import itertools
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
import pytest

from pachyderm_dagster.errors import ExecutionError, InvalidError, NotFoundError, StorageError
from pachyderm_dagster.executors import worker_process
from pachyderm_dagster.executors.live import Running, read_live
from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.executors.restarting import ask_restart
from pachyderm_dagster.executors.run_folder import RunFolder
from pachyderm_dagster.executors.worker_process import WorkerProcess
from pachyderm_dagster.storage.objects import object_key
from pachyderm_dagster.worker.cgroups import Limits, Parent
from pachyderm_dagster.worker.processes import find_children
from pachyderm_dagster.worker.protocol import DatumResult, ResultState
from tests.worker.running import ROOT, Place, unprivileged, without_namespaces

MARK = "TEST_OF_LOCAL_EXECUTOR"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[LocalExecutor]:
    """Its workers and their user code can be told from all other processes."""
    with LocalExecutor({**os.environ, MARK: str(tmp_path)}) as executor:
        yield executor


def left_by(executor: LocalExecutor, scratch: Path) -> list[Path]:
    """What an executor leaves in its folder when it ends."""
    with executor:
        pass
    return list(scratch.iterdir())


def processes_of(mark: Path) -> list[int]:
    """The processes that the executor with this mark left, whatever became of their parents."""
    wanted = f"\0{MARK}={mark}\0".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if wanted in b"\0" + environment + b"\0" and "(zombie)" not in (folder / "status").read_text():
            found.append(int(folder.name))
    return found


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def running_in(folder: Path) -> list[Running]:
    """The datums that run, whose job has no name here."""
    return [one for path in folder.glob("scratch/run-*/worker-*/live-*") if (one := read_live(str(path))) is not None]


def kill_worker(executor: LocalExecutor, which: str) -> None:
    """Kills a worker the hard way: the guard that was started, or the worker proper, its child."""
    [run] = executor._runs
    guard = run._workers[0]._process.pid
    os.kill(guard if which == "guard" else find_children(guard)[0], signal.SIGKILL)


def test_datums_run_at_the_same_time(place: Place, tmp_path: Path) -> None:
    first, second = fifo(tmp_path / "first"), fifo(tmp_path / "second")
    tasks = [place.task(0, environment={"SCRIPT": f"echo a > {first}; cat {second}"}), place.task(1, environment={"SCRIPT": f"cat {first}; echo b > {second}"})]
    results = place.run("sh", "-c", 'eval "$SCRIPT"', tasks=tasks, parallelism=2, datum_timeout=60, datum_tries=1)
    assert [ran.log for ran in results] == ["b\n", "a\n"]


def test_results_come_while_other_datums_run(place: Place, executor: LocalExecutor, tmp_path: Path) -> None:
    gate = fifo(tmp_path / "gate")
    tasks = [place.task(0, environment={"SCRIPT": "true"}), place.task(1, environment={"SCRIPT": f"cat {gate}"})]
    results = executor.run(place.setup("sh", "-c", 'eval "$SCRIPT"'), tasks, 1)
    assert next(results).index == 0
    gate.write_text("go")
    assert [result.index for result in results] == [1]


def test_tasks_are_taken_as_workers_have_room(place: Place, executor: LocalExecutor) -> None:
    taken = itertools.count()
    tasks = (place.task(next(taken)) for _ in itertools.count())
    with closing(executor.run(place.setup("true"), tasks, 2)) as results:
        assert len(list(itertools.islice(results, 5))) == 5
    assert next(taken) < 1000


def test_no_tasks_start_no_worker(place: Place, executor: LocalExecutor) -> None:
    assert list(executor.run(place.setup("true"), [], 4)) == []
    assert left_by(executor, Path(place.setup().scratch)) == []


def test_more_workers_than_datums_is_well(place: Place) -> None:
    assert len(place.run("true", parallelism=8)) == 1


def test_messages_larger_than_a_pipe_do_not_block(place: Place) -> None:
    files = {f"/{'directory' * 10}/file-{number}": b"%d" % number for number in range(2000)}
    tasks = [place.task(index, {"data": files}) for index in range(4)]
    results = place.run("cp", "-r", "/pfs/data/.", "/pfs/out", tasks=tasks, parallelism=2)
    assert [len(ran.outputs) for ran in results] == [2000] * 4


def test_no_process_and_no_file_is_left_after_a_run(place: Place, executor: LocalExecutor, tmp_path: Path) -> None:
    tasks = [place.task(index, {"data": {"/f": b"x"}}) for index in range(5)]
    assert len(list(executor.run(place.setup("cp", "/pfs/data/f", "/pfs/out/"), tasks, 2))) == 5
    assert processes_of(tmp_path) == []
    assert left_by(executor, tmp_path / "scratch") == []


def test_run_that_is_given_up_leaves_nothing(place: Place, executor: LocalExecutor, tmp_path: Path) -> None:
    tasks = [place.task(0, environment={"SCRIPT": "true"}), *(place.task(index, environment={"SCRIPT": "sleep 600 & sleep 600"}) for index in (1, 2))]
    with closing(executor.run(place.setup("sh", "-c", 'eval "$SCRIPT"'), tasks, 3)) as results:
        next(results)
    assert processes_of(tmp_path) == []
    assert left_by(executor, tmp_path / "scratch") == []


def test_worker_that_is_ended_while_it_starts_leaves_nothing(place: Place, tmp_path: Path) -> None:
    environment = {**os.environ, MARK: str(tmp_path)}
    starts = 20
    whole = 0.0
    for start in range(starts + 1):
        scratch = tmp_path / f"start-{start}"
        scratch.mkdir()
        began = time.monotonic()
        worker = WorkerProcess(msgspec.structs.replace(place.setup("true"), scratch=str(scratch)), environment)
        # The first is waited for; the others are ended ever later on their way.
        select.select([worker.stdout], [], [], whole * start / starts if start else None)
        whole = whole or time.monotonic() - began
        worker.ask_to_end()
        worker.wait_end(10)
        assert processes_of(tmp_path) == []
        worker.close()


def test_stop_from_another_thread_kills_user_code_and_ends_the_run(place: Place, executor: LocalExecutor, tmp_path: Path) -> None:
    started = fifo(tmp_path / "started")
    left: list[int] = []

    def stop() -> None:
        started.read_text()
        executor.stop()
        left.extend(processes_of(tmp_path))

    stopper = threading.Thread(target=stop)
    stopper.start()
    tasks = [place.task(index) for index in range(10)]
    results = list(executor.run(place.setup("sh", "-c", f"echo x > {started}; sleep 600 & sleep 600"), tasks, 1))
    stopper.join()
    assert results == []
    assert left == []
    assert left_by(executor, tmp_path / "scratch") == []


def test_stop_before_the_first_result_is_asked_for_is_not_lost(place: Place, executor: LocalExecutor) -> None:
    results = executor.run(place.setup("sleep", "600"), [place.task()], 1)
    executor.stop()
    assert list(results) == []
    assert place.read(next(executor.run(place.setup("echo", "again"), [place.task()], 1))).log == "again\n"


@pytest.mark.parametrize("which", ["worker", "guard"])
def test_datum_of_a_killed_worker_is_run_by_another(place: Place, executor: LocalExecutor, tmp_path: Path, which: str) -> None:
    started = fifo(tmp_path / "started")

    def kill() -> None:
        started.read_text()
        kill_worker(executor, which)

    killer = threading.Thread(target=kill)
    killer.start()
    script = f"if mkdir {tmp_path}/once 2> /dev/null; then echo x > {started}; sleep 600; fi; echo done > /pfs/out/f"
    results = list(executor.run(place.setup("sh", "-c", script), [place.task(index) for index in range(5)], 1))
    killer.join()
    assert sorted(result.index for result in results) == [0, 1, 2, 3, 4]
    assert {result.state for result in results} == {ResultState.SUCCESS}
    assert processes_of(tmp_path) == []


def test_datum_that_kills_two_workers_fails_and_others_do_not(place: Place, executor: LocalExecutor, tmp_path: Path) -> None:
    started = fifo(tmp_path / "started")

    def kill() -> None:
        for _ in range(2):
            started.read_text()
            kill_worker(executor, "worker")

    killer = threading.Thread(target=kill)
    killer.start()
    tasks = [place.task(index, environment={"SCRIPT": f"echo x > {started}; sleep 600" if index == 2 else "true"}) for index in range(6)]
    results = {result.index: result for result in executor.run(place.setup("sh", "-c", 'eval "$SCRIPT"'), tasks, 1)}
    killer.join()
    assert [results[index].state for index in range(6)] == [ResultState.FAILED if index == 2 else ResultState.SUCCESS for index in range(6)]
    assert results[2].reason == "two worker processes ended while they ran this datum; the last one was ended by signal 9 [worker-died]"


def test_datum_that_was_asked_for_runs_again_before_those_that_wait(place: Place, executor: LocalExecutor, tmp_path: Path) -> None:
    started = fifo(tmp_path / "started")
    restarts: list[int] = []

    def restart() -> None:
        for _ in range(3):
            started.read_text()
            while not (found := running_in(tmp_path)):
                pass
            assert ask_restart(found[0])
            restarts.append(executor.restart_asked())
            restarts.append(executor.restart_asked())

    restarter = threading.Thread(target=restart)
    restarter.start()
    count = f"ls -d {tmp_path}/try-* 2> /dev/null | wc -l"
    script = f"n=$({count}); test $n = 3 && exit; mkdir {tmp_path}/try-$n; echo x > {started}; sleep 600"
    tasks = [place.task(0, environment={"SCRIPT": script}), *(place.task(index, environment={"SCRIPT": "true"}) for index in range(1, 300))]
    results = list(executor.run(place.setup("sh", "-c", 'eval "$SCRIPT"', datum_tries=1), tasks, 1))
    restarter.join()
    assert restarts == [1, 0] * 3
    assert [results[0].index, results[0].state, results[0].tries] == [0, ResultState.SUCCESS, 1]
    assert sorted(result.index for result in results) == list(range(300))
    assert running_in(tmp_path) == []
    assert processes_of(tmp_path) == []


def test_datum_of_a_batch_runs_again_with_those_of_its_set_that_had_not_ended(place: Place, executor: LocalExecutor, tmp_path: Path) -> None:
    started = fifo(tmp_path / "started")

    def restart() -> None:
        started.read_text()
        while not (found := running_in(tmp_path)):
            pass
        assert ask_restart(found[0])
        assert executor.restart_asked() == 1

    restarter = threading.Thread(target=restart)
    restarter.start()
    hang = f"if test $(cat $data) = 1 && mkdir {tmp_path}/once; then echo x > {started}; sleep 600; fi"
    script = f"while pachctl next datum; do . /pfs/.env; {hang}; cp $data /pfs/out/; done"
    tasks = [msgspec.structs.replace(place.task(index, {"data": {f"/{index}": b"%d" % index}}), datum_set=0) for index in range(4)]
    results = [place.read(result) for result in executor.run(place.setup("sh", "-c", script, datum_batching=True), tasks, 1)]
    restarter.join()
    assert sorted((ran.state, *ran.outputs) for ran in results) == [("SUCCESS", f"/{index}") for index in range(4)]


def test_nothing_is_asked_of_a_run_that_is_over(place: Place, executor: LocalExecutor, tmp_path: Path) -> None:
    started, gate = fifo(tmp_path / "started"), fifo(tmp_path / "gate")
    found: list[Running] = []

    def look() -> None:
        started.read_text()
        while not found:
            found.extend(running_in(tmp_path))
        gate.write_text("go")

    looker = threading.Thread(target=look)
    looker.start()
    list(executor.run(place.setup("sh", "-c", f"echo x > {started}; cat {gate}"), [place.task(0)], 1))
    looker.join()
    assert not ask_restart(found[0])
    assert executor.restart_asked() == 0
    assert left_by(executor, tmp_path / "scratch") == []


def start_elsewhere(place: Place, prefix: list[str], script: str) -> "subprocess.Popen[str]":
    """A process that runs an executor on one datum, marked as the others."""
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tests.worker.running import Place\n"
        f"place = Place(Path({str(place.folder)!r}))\n"
        f"place.run('sh', '-c', {script!r}, tasks=[place.task(0)])\n"
    )
    environment = {**os.environ, MARK: str(place.folder)}
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", program], cwd=ROOT, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.parametrize("rights", [list, unprivileged, without_namespaces])
def test_everything_ends_when_the_executor_is_killed(place: Place, tmp_path: Path, rights: Callable[[], list[str]]) -> None:
    started = fifo(tmp_path / "started")
    with start_elsewhere(place, rights(), f"(setsid sleep 600 &); echo x > {started}; sleep 600") as parent, ExitStack() as descriptors:
        assert started.read_text() == "x\n"
        ends = select.poll()
        for process in processes_of(tmp_path):
            descriptor = os.pidfd_open(process)
            descriptors.callback(os.close, descriptor)
            ends.register(descriptor, select.POLLIN)
        parent.kill()
        parent.wait()
        while waited := processes_of(tmp_path):
            for descriptor, _ in ends.poll(30_000) or pytest.fail(f"still there: {waited}"):
                ends.unregister(descriptor)
    assert processes_of(tmp_path) == []


def test_interrupt_ends_everything_before_the_executor_ends(place: Place, tmp_path: Path) -> None:
    started = fifo(tmp_path / "started")
    with start_elsewhere(place, [], f"(setsid sleep 600 &); echo x > {started}; sleep 600") as parent:
        assert started.read_text() == "x\n"
        os.killpg(parent.pid, signal.SIGINT)
        said = parent.communicate()[0]
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert processes_of(tmp_path) == []
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("which", ["worker", "guard"])
@pytest.mark.parametrize("rights", [list, without_namespaces])
def test_user_code_ends_with_its_worker(place: Place, tmp_path: Path, rights: Callable[[], list[str]], which: str) -> None:
    started = fifo(tmp_path / "started")
    script = f"exec 9> {fifo(tmp_path / 'alive')}; echo x > {started}; (setsid sleep 600 &); sleep 600"
    with start_elsewhere(place, rights(), f"mkdir {tmp_path}/once || exit 0; {script}") as parent, (tmp_path / "alive").open() as alive:
        assert started.read_text() == "x\n"
        [guard] = find_children(parent.pid)
        [worker] = find_children(guard)
        os.kill(guard if which == "guard" else worker, signal.SIGKILL)
        # Reaches its end when nobody has the other side open any more.
        assert alive.read() == ""
        said = parent.communicate()[0]
    assert parent.returncode == 0, said


def test_folder_of_a_killed_run_is_removed_by_the_next(place: Place, tmp_path: Path) -> None:
    started = fifo(tmp_path / "started")
    with start_elsewhere(place, [], f"echo x > {started}; sleep 600") as parent:
        assert started.read_text() == "x\n"
        parent.kill()
    assert len(list((tmp_path / "scratch").iterdir())) == 1
    place.run("true")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_folder_of_another_run_under_way_is_left_alone(place: Place, executor: LocalExecutor, tmp_path: Path) -> None:
    gate = fifo(tmp_path / "gate")
    script = f"if test $index = 1; then cat {gate}; fi; echo done > /pfs/out/f"
    tasks = [place.task(index, environment={"index": str(index)}) for index in range(2)]
    results = executor.run(place.setup("sh", "-c", script), tasks, 1)
    next(results)
    place.run("true")
    gate.write_text("go")
    assert next(results).state is ResultState.SUCCESS


def test_store_that_cannot_be_opened_is_an_error_with_its_code(place: Place, executor: LocalExecutor) -> None:
    setup = msgspec.structs.replace(place.setup("true"), store_url="ftp://somewhere")
    with pytest.raises(InvalidError) as caught:
        list(executor.run(setup, [place.task()], 1))
    assert caught.value.code == "storage-url-invalid"


def test_store_that_takes_no_output_is_an_error_and_fails_no_datum(place: Place, executor: LocalExecutor) -> None:
    tasks = [place.task(index) for index in range(3)]
    incoming = place.folder / "store" / "incoming"
    script = f"rm -rf {incoming}; echo in the way > {incoming}; echo x > /pfs/out/f"
    with pytest.raises(StorageError) as caught:
        list(executor.run(place.setup("sh", "-c", script), tasks, 1))
    assert caught.value.code == "storage-failed"
    assert str(place.folder / "store") in caught.value.message


def test_input_that_is_gone_from_the_store_is_an_error_and_the_datums_before_it_keep_their_results(place: Place, executor: LocalExecutor) -> None:
    tasks = [place.task(index, {"data": {"/f": b"%d" % index}}) for index in range(3)]
    place.store.delete(object_key(tasks[2].inputs[0].files[0][1].refs[0].object))
    results = executor.run(place.setup("cp", "/pfs/data/f", "/pfs/out/"), tasks, 1)
    assert [place.read(next(results)).outputs for _ in range(2)] == [{"/f": "0"}, {"/f": "1"}]
    with pytest.raises(NotFoundError) as caught:
        next(results)
    assert caught.value.code == "object-not-found"


def test_pipes_of_a_worker_that_cannot_be_started_are_closed(place: Place) -> None:
    before = set(os.listdir("/proc/self/fd"))
    setup = msgspec.structs.replace(place.setup("true"), scratch=str(place.folder))
    with pytest.raises(OSError, match="Argument list too long"):
        WorkerProcess(setup, {"TOO_LONG": "x" * 3_000_000})
    assert set(os.listdir("/proc/self/fd")) == before


def test_control_group_of_a_worker_that_cannot_be_started_is_removed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    group = place.folder / "group"

    def make_groups(_limits: Limits, _parents: object, _name: str) -> tuple[str, ...]:
        group.mkdir()
        return (str(group),)

    monkeypatch.setattr(worker_process, "parents_here", lambda limits: {Parent(str(place.folder), 2): limits.controllers})
    monkeypatch.setattr(worker_process, "make_groups", make_groups)
    setup = msgspec.structs.replace(place.setup("true"), scratch=str(place.folder), limits=Limits(memory=1 << 30))
    with pytest.raises(OSError, match="Argument list too long"):
        WorkerProcess(setup, {"TOO_LONG": "x" * 3_000_000})
    assert not group.exists()


KILLED_WITHOUT_LOCK = """
import fcntl, os, signal, sys
from pachyderm_dagster.executors.run_folder import RunFolder
fcntl.flock = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
RunFolder(sys.argv[1]).__enter__()
"""


def test_folder_of_a_run_that_was_killed_before_it_was_locked_is_removed_by_the_next(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_WITHOUT_LOCK, str(tmp_path)], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    with RunFolder(str(tmp_path)) as run:
        assert list(tmp_path.iterdir()) == [Path(run.path)]


def test_folder_that_is_removed_later_is_no_run_any_more_and_is_left_alone_by_the_next(tmp_path: Path) -> None:
    removals: list[Callable[[], None]] = []
    with RunFolder(str(tmp_path), call=removals.append) as run:
        Path(run.add("worker"), "file").write_text("x")
    assert list(tmp_path.glob("run-*")) == []
    with RunFolder(str(tmp_path)):
        assert len(list(tmp_path.glob("*/worker/file"))) == 1
    [remove] = removals
    remove()
    assert list(tmp_path.iterdir()) == []


def test_runs_that_begin_at_the_same_time_leave_each_other_alone(tmp_path: Path) -> None:
    def begin_often(_: int) -> None:
        for _ in range(200):
            with RunFolder(str(tmp_path)) as run:
                Path(run.add("worker"), "file").write_text("x")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(begin_often, range(4)))
    assert list(tmp_path.iterdir()) == []


def test_worker_that_cannot_start_is_an_error_with_its_last_words(place: Place) -> None:
    with LocalExecutor({**os.environ, "PYTHONHOME": "/nowhere"}) as executor, pytest.raises(ExecutionError) as caught:
        list(executor.run(place.setup("true"), [place.task()], 1))
    assert caught.value.code == "worker-not-started"
    assert "its last words: " in caught.value.message


def test_url_of_the_record_is_kept_from_user_code(place: Place) -> None:
    environment = {**os.environ, "PACHYDERM_METADATA_URL": "postgresql://user:secret@host/db", "PACHYDERM_HOME": "/home"}
    with LocalExecutor(environment) as executor:
        script = "cat /proc/1/environ /proc/self/environ | tr '\\0' '\\n'"
        [result] = executor.run(place.setup("sh", "-c", script), [place.task()], 1)
    log = place.read(result).log
    assert "PACHYDERM_HOME=/home" in log
    assert "secret" not in log


def test_two_runs_of_one_executor_do_not_meet(place: Place, executor: LocalExecutor) -> None:
    runs = [executor.run(place.setup("sh", "-c", f"echo {number} > /pfs/out/f"), [place.task(index) for index in range(3)], 1) for number in (1, 2)]
    results: list[list[DatumResult]] = [[], []]
    for pair in zip(*runs, strict=True):
        for number, result in enumerate(pair):
            results[number].append(result)
    assert [{place.read(result).outputs["/f"] for result in some} for some in results] == [{"1\n"}, {"2\n"}]
