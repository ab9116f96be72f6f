"""Limits as the kernel keeps them: real workers in real control groups. Skipped, with the reason, where a system gives none."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.executors.limit_groups import limits_problem, make_groups, parents_here
from pachyderm_dagster.worker.cgroups import Limits, end_groups
from pachyderm_dagster.worker.processes import find_children
from tests.worker.running import ROOT, Place

MEBIBYTE = 1 << 20
LIMITS = Limits(memory=64 * MEBIBYTE, cpu=0.5)
PROBLEM = limits_problem(LIMITS)
ALLOCATE = "import os; data = b'1' * (int(os.environ['MEBIBYTES']) << 20); print(len(data))"
# How long half a second of processor time took: on a busy machine more, but never less than its limit lets it.
SPIN = """
import time
began = time.monotonic()
while time.process_time() < 0.5:
    pass
print(time.monotonic() - began)
"""

pytestmark = pytest.mark.skipif(PROBLEM is not None, reason=f"control groups cannot be made here: {PROBLEM}")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(autouse=True)
def _own_groups_are_removed() -> Iterator[None]:
    yield
    assert not groups_of(os.getpid())


def groups_here() -> set[str]:
    """Groups of workers, those of other programs that run at the same time too."""
    parents = parents_here(LIMITS)
    assert not isinstance(parents, str)
    return {f"{parent.folder}/{name}" for parent in parents for name in os.listdir(parent.folder) if name.startswith("pachyderm-")}


@pytest.fixture
def running(place: Place) -> Iterator["subprocess.Popen[str]"]:
    """A program that runs an executor, whose only worker runs a datum that waits the first time."""
    started = place.folder / "started"
    os.mkfifo(started)
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pachyderm_dagster.worker.cgroups import Limits\n"
        "from tests.worker.running import Place\n"
        "[ran] = Place(Path(sys.argv[1])).run('sh', '-c', sys.argv[2], limits=Limits(memory=1 << 26, cpu=0.5))\n"
        "assert ran.state == 'SUCCESS', ran\n"
    )
    script = f"mkdir {place.folder}/once || exit 0; (setsid sleep 600 &); echo begun > {started}; sleep 600"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(place.folder), script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert started.read_text() == "begun\n"
        yield process
        process.kill()


def groups_of(process: int) -> set[str]:
    return {group for group in groups_here() if os.path.basename(group).startswith(f"pachyderm-{process}-")}


def test_only_the_datum_that_wants_too_much_memory_fails(place: Place) -> None:
    tasks = [place.task(index, environment={"MEBIBYTES": str(size)}) for index, size in enumerate((1, 200, 2, 3))]
    ran = place.run(sys.executable, "-c", ALLOCATE, tasks=tasks, limits=Limits(memory=64 * MEBIBYTE), datum_tries=1)
    assert [one.state for one in ran] == ["SUCCESS", "FAILED", "SUCCESS", "SUCCESS"]
    problem = "the code wanted more memory than resource_limits.memory gives it, 67108864 bytes, and was ended by the kernel"
    assert ran[1].reason == f"{problem}; give it more, or let a datum be smaller [out-of-memory]"
    assert [one.log for one in ran] == ["1048576\n", "", "2097152\n", "3145728\n"]


def test_each_worker_has_its_own_memory(place: Place) -> None:
    tasks = [place.task(index, environment={"MEBIBYTES": "24"}) for index in range(8)]
    ran = place.run(sys.executable, "-c", ALLOCATE, tasks=tasks, parallelism=4, limits=Limits(memory=64 * MEBIBYTE), datum_tries=1)
    assert {one.state for one in ran} == {"SUCCESS"}


def test_busy_datum_gets_its_part_of_a_processor(place: Place) -> None:
    ran = place.run_one(sys.executable, "-c", SPIN, limits=Limits(cpu=0.5))
    assert ran.state == "SUCCESS"
    # Half a second of processor time: ten periods of 50 of 100 ms, of which the first may begin late and the last end early.
    assert float(ran.log) > 0.8


def test_all_processes_of_a_datum_share_its_part(place: Place) -> None:
    script = '$1 -c "$2" & $1 -c "$2" & wait'
    ran = place.run_one("sh", "-c", script, "-", sys.executable, SPIN, limits=Limits(cpu=0.5))
    # Twice half a second, side by side.
    assert max(float(line) for line in ran.log.split()) > 1.6


def test_another_user_is_held_too(place: Place) -> None:
    if os.geteuid():
        pytest.skip("only root changes users")
    # tail keeps a line whole, and this is one.
    ran = place.run_one("sh", "-c", "head -c 200M /dev/zero | tail > /dev/null", limits=LIMITS, user="nobody", datum_tries=1)
    assert ran.reason.endswith("[out-of-memory]")


def test_processes_that_stay_for_a_set_are_held_and_the_next_begin_anew(place: Place) -> None:
    loop = f'while pachctl next datum; do MEBIBYTES=$(cat /pfs/in/size) {sys.executable} -c "$0" || exit 1; done'
    tasks = [place.task(index, {"in": {"/size": size}}) for index, size in enumerate((b"1", b"200", b"2"))]
    ran = place.run("sh", "-c", loop, ALLOCATE, tasks=tasks, limits=LIMITS, datum_tries=1, datum_batching=True)
    assert [one.state for one in ran] == ["SUCCESS", "FAILED", "SUCCESS"]
    assert ran[1].reason.endswith("[out-of-memory]")


def test_groups_are_removed_when_the_worker_is_killed(running: "subprocess.Popen[str]") -> None:
    held = groups_of(running.pid)
    assert len(held) == 2
    [guard] = find_children(running.pid)
    [worker] = find_children(guard)
    os.kill(worker, signal.SIGKILL)
    said = running.communicate()[0]
    assert running.returncode == 0, said
    assert not groups_of(running.pid)


def test_groups_are_removed_when_the_guard_is_killed(running: "subprocess.Popen[str]") -> None:
    [guard] = find_children(running.pid)
    os.kill(guard, signal.SIGKILL)
    said = running.communicate()[0]
    assert running.returncode == 0, said
    assert not groups_of(running.pid)


def test_groups_are_removed_when_the_executor_is_killed(running: "subprocess.Popen[str]") -> None:
    [guard] = find_children(running.pid)
    end = os.pidfd_open(guard)
    running.kill()
    running.wait()
    assert select.select([end], [], [], 60)[0]
    os.close(end)
    assert not groups_of(running.pid)


def test_what_killed_executors_left_is_removed_by_the_next(place: Place) -> None:
    parents = parents_here(LIMITS)
    assert not isinstance(parents, str)
    # As one that is gone would have named it.
    left = [f"{parent.folder}/pachyderm-1-1-1" for parent in parents]
    for folder in left:
        os.mkdir(folder)
    end_groups(make_groups(LIMITS, parents, "test"))
    assert not any(os.path.exists(folder) for folder in left)
