"""While a call of the store takes for ever: others go on, an interrupt ends the command, and nothing is lost or half done."""

import dataclasses
import datetime as dt
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import ConflictError, NotFoundError
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pps.checking import check_home
from pachyderm_dagster.workspace import Workspace, open_workspace
from tests.storage.failing import SlowStore


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def workspace(tmp_path: Path, metadata_url: str, clock: ManualClock) -> Iterator[Workspace]:
    environ = {"PACHYDERM_HOME": str(tmp_path), "PACHYDERM_METADATA_URL": metadata_url, "PACHYDERM_STORAGE_URL": "memory://"}
    opened = open_workspace(environ, clock=clock)
    opened.pfs.create_repo("data")
    put(opened.pfs, "/first")
    yield opened
    opened.close()


@pytest.fixture
def slow(workspace: Workspace) -> SlowStore:
    return SlowStore(workspace.store)


def put(pfs: Pfs, path: str, data: bytes = b"x" * 1000) -> str:
    with pfs.modify_file("data@master") as changes:
        changes.put_bytes(path, data)
    return changes.commit.id


def paths(pfs: Pfs) -> list[str]:
    return [row["path"] for row in pfs.glob_file("data@master", "/*").to_pylist()]


def interrupted(slow: SlowStore, act: Callable[[], object], *, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Does something whose first call of the store takes until, after `meanwhile`, Ctrl-C was pressed."""
    main = threading.main_thread().ident
    assert main is not None

    def press() -> None:
        assert slow.reached.wait(60)
        meanwhile()
        signal.pthread_kill(main, signal.SIGINT)

    slow.hold()
    pressing = threading.Thread(target=press)
    pressing.start()
    with pytest.raises(KeyboardInterrupt):
        act()
    pressing.join()
    slow.release()


def test_others_read_and_write_while_one_writes_slowly(workspace: Workspace, slow: SlowStore) -> None:
    slow.hold()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(put, Pfs(workspace.database, slow), "/slow")
        assert slow.reached.wait(60)
        put(workspace.pfs, "/fast")
        assert paths(workspace.pfs) == ["/fast", "/first"]
        assert not writing.done()
        slow.release()
        head = writing.result()
    assert workspace.pfs.inspect_branch("data@master").head == head
    assert paths(workspace.pfs) == ["/fast", "/first", "/slow"]


def test_slow_finish_of_a_commit_keeps_what_was_put_into_it_meanwhile(workspace: Workspace, slow: SlowStore) -> None:
    workspace.pfs.start_commit("data@master")
    put(workspace.pfs, "/before")
    slow.hold()
    with ThreadPoolExecutor(1) as pool:
        finishing = pool.submit(Pfs(workspace.database, slow).finish_commit, "data@master")
        assert slow.reached.wait(60)
        put(workspace.pfs, "/meanwhile")
        slow.release()
        assert finishing.result().finished is not None
    assert paths(workspace.pfs) == ["/before", "/first", "/meanwhile"]


def test_interrupt_during_a_slow_write_leaves_nothing(workspace: Workspace, slow: SlowStore) -> None:
    pfs = Pfs(workspace.database, slow)
    head = pfs.inspect_branch("data@master").head
    interrupted(slow, lambda: put(pfs, "/never"))
    assert pfs.inspect_branch("data@master").head == head
    put(pfs, "/next")
    assert paths(pfs) == ["/first", "/next"]
    assert check_home(workspace.database, workspace.store, deep=True, progress=lambda _: None) == []


def test_writer_that_waits_for_an_interrupted_one_goes_on(workspace: Workspace, slow: SlowStore) -> None:
    pfs = Pfs(workspace.database, slow)
    with ThreadPoolExecutor(1) as pool:
        waiting: list[Future[str]] = []
        interrupted(slow, lambda: put(pfs, "/never"), meanwhile=lambda: waiting.append(pool.submit(put, pfs, "/second")))
        assert waiting[0].result(60) == pfs.inspect_branch("data@master").head
    assert paths(pfs) == ["/first", "/second"]


def test_interrupt_during_a_slow_read_leaves_a_reader_that_reads(workspace: Workspace, slow: SlowStore) -> None:
    pfs = Pfs(workspace.database, slow)
    interrupted(slow, lambda: b"".join(pfs.get_file("data@master:/first")))
    assert b"".join(pfs.get_file("data@master:/first")) == b"x" * 1000


def test_write_that_takes_longer_than_the_grace_of_a_collection_is_done_again_or_refused(workspace: Workspace, slow: SlowStore, clock: ManualClock) -> None:
    slow.hold()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(put, Pfs(workspace.database, slow), "/late")
        assert slow.reached.wait(60)
        clock.advance(dt.timedelta(days=3))
        workspace.collect_garbage(grace=dt.timedelta(0))
        slow.release()
        failure = writing.exception()
    assert paths(workspace.pfs) == ["/first", *([] if failure else ["/late"])]
    assert failure is None or (isinstance(failure, ConflictError) and failure.code == "write-collected")
    found = check_home(workspace.database, workspace.store, deep=True, progress=lambda _: None)
    # What a refused write stored cannot be told from what a record that was restored forgot.
    assert {finding.problem.code for finding in found} <= ({"commits-unknown"} if failure else set())


def test_slow_collection_takes_nothing_that_was_written_meanwhile(workspace: Workspace, slow: SlowStore, clock: ManualClock) -> None:
    put(workspace.pfs, "/dropped")
    workspace.pfs.drop_commit("data@master")
    clock.advance(dt.timedelta(days=3))
    slow.hold()
    with ThreadPoolExecutor(1) as pool:
        collecting = pool.submit(dataclasses.replace(workspace, store=slow).collect_garbage, grace=dt.timedelta(0))
        assert slow.reached.wait(60)
        put(workspace.pfs, "/meanwhile", b"y" * 5000)
        slow.release()
        collecting.result()
    assert b"".join(workspace.pfs.get_file("data@master:/meanwhile")) == b"y" * 5000
    with pytest.raises(NotFoundError):
        b"".join(workspace.pfs.get_file("data@master:/dropped"))
    assert check_home(workspace.database, workspace.store, deep=True, progress=lambda _: None) == []
