"""Work in forked children."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from pachyderm_dagster.errors import ExecutionError, StorageError
from pachyderm_dagster.storage.forked import run_forked, split_parts


def test_parts_are_neighbours_that_make_up_the_whole() -> None:
    items = list(range(10_001))
    parts = split_parts(items, 1000)
    assert [item for part in parts for item in part] == items
    assert len(parts) == min(len(os.sched_getaffinity(0)), 8)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("count", [0, 1, 1999])
def test_few_items_stay_together(count: int) -> None:
    assert split_parts(range(count), 1000) == [range(count)]


def test_answers_come_in_the_order_of_the_parts() -> None:
    answers = run_forked(lambda part: b"%d:%d" % (sum(part), os.getpid()), [[1], [2, 3], [4], [5]])
    sums, pids = zip(*(answer.split(b":") for answer in answers), strict=True)
    assert sums == (b"1", b"5", b"4", b"5")
    assert len(set(pids)) == 4
    assert pids[0] == b"%d" % os.getpid()


def test_long_answers_of_several_children_are_whole() -> None:
    sizes = [10, 5_000_000, 0, 3_000_000]
    assert run_forked(lambda part: b"x" * part[0], [[size] for size in sizes]) == [b"x" * size for size in sizes]


def test_error_of_a_child_is_raised_as_it_was() -> None:
    parent = os.getpid()

    def work(part: Sequence[int]) -> bytes:
        if os.getpid() != parent:
            raise StorageError("storage-full", "no room")
        return b""

    with pytest.raises(StorageError, match="no room") as caught:
        run_forked(work, [[1], [2]])
    assert caught.value.code == "storage-full"


def test_bug_in_a_child_is_raised_as_it_was() -> None:
    parent = os.getpid()
    with pytest.raises(ZeroDivisionError):
        run_forked(lambda part: b"x" * (1 // (os.getpid() == parent)), [[1], [2]])


def test_child_that_is_killed_is_reported() -> None:
    parent = os.getpid()

    def work(part: Sequence[int]) -> bytes:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return b""

    with pytest.raises(ExecutionError) as caught:
        run_forked(work, [[1], [2]])
    assert caught.value.code == "process-died"


def children() -> list[str]:
    """The processes that this one has, those of other tests too."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_children_end_when_the_parent_fails() -> None:
    before = set(children())
    read_end, write_end = os.pipe()
    parent = os.getpid()

    def work(part: Sequence[int]) -> bytes:
        if os.getpid() == parent:
            raise KeyboardInterrupt
        os.close(read_end)
        signal.pause()
        return b""

    with pytest.raises(KeyboardInterrupt):
        run_forked(work, [[1], [2], [3]])
    os.close(write_end)
    assert os.read(read_end, 1) == b""  # every child, each of which held the other end, is gone
    os.close(read_end)
    assert set(children()) <= before  # and waited for


def test_children_end_with_a_parent_that_is_killed() -> None:
    work = "def work(part): os.write(1, b'%d\\n' % os.getpid()); time.sleep(5); os.write(1, b'went on'); return b''"
    code = f"import os, time\nfrom pachyderm_dagster.storage.forked import run_forked\n{work}\nrun_forked(work, [[1], [2], [3]])"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        started = [int(parent.stdout.readline()) for _ in range(3)]
        assert parent.pid in started
        parent.kill()
        assert parent.stdout.read() == ""  # every child, each of which holds the other end, is gone


def test_threads_of_the_parent_do_not_hang_the_children() -> None:
    stop = threading.Event()
    lock = threading.Lock()

    def keep_locking() -> None:
        while not stop.is_set():
            with lock:
                bytes(10_000)

    threads = [threading.Thread(target=keep_locking) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            assert run_forked(lambda part: bytes(part[0]), [[100_000]] * 3) == [bytes(100_000)] * 3
    finally:
        stop.set()
        for thread in threads:
            thread.join()
