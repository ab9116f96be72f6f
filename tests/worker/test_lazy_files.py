"""Lazy files: what user code reads of them, what is left of those that it does not read, and how they become output."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.storage.objects import object_key
from pachyderm_dagster.worker.protocol import DatumTask
from tests.worker.running import Files, Place, Ran

LARGE = b"0123456789abcdef" * (1 << 18)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def lazy(place: Place, **inputs: Files) -> DatumTask:
    task = place.task(0, inputs)
    return msgspec.structs.replace(task, inputs=tuple(msgspec.structs.replace(file, lazy=True) for file in task.inputs))


def run(place: Place, script: str, *, inputs: dict[str, Files], **more: Any) -> Ran:
    [ran] = place.run("sh", "-c", script, tasks=[lazy(place, **inputs)], **more)
    return ran


def test_pipes_are_filled_when_they_are_opened_and_only_then(place: Place) -> None:
    ran = run(place, "test -p /pfs/data/a/b; cat /pfs/data/a/b", inputs={"data": {"/a/b": b"hello", "/c": LARGE}})
    assert (ran.state, ran.log, ran.download_bytes) == ("SUCCESS", "hello", 5)


def test_file_that_is_opened_again_begins_anew(place: Place) -> None:
    ran = run(place, "for n in 1 2 3 4 5 6 7 8; do cat $data; done", inputs={"data": {"/f": b"hello "}})
    assert (ran.state, ran.log) == ("SUCCESS", "hello " * 8)


def test_large_file_comes_whole(place: Place) -> None:
    assert run(place, "cp $data /pfs/out/f", inputs={"data": {"/f": LARGE}}).outputs == {"/f": LARGE.decode()}


def test_reader_may_stop_early(place: Place) -> None:
    ran = run(place, "head -c 4 $data", inputs={"data": {"/f": LARGE}})
    assert (ran.state, ran.log) == ("SUCCESS", "0123")
    assert ran.download_bytes < len(LARGE)


def test_reader_that_is_left_in_the_middle_hangs_nothing(place: Place) -> None:
    ran = run(place, "exec 3< $data; head -c 4 <&3; sleep 600 3<&3 & exit 0", inputs={"data": {"/f": LARGE}})
    assert (ran.state, ran.log) == ("SUCCESS", "0123")


def test_link_to_a_lazy_file_is_output_without_a_copy(place: Place) -> None:
    script = "ln -s /pfs/data/d /pfs/out/folder; ln -s /pfs/data/e /pfs/out/file; mkfifo /pfs/out/own"
    ran = run(place, script, inputs={"data": {"/d/a": b"1", "/d/b": b"2", "/e": LARGE}})
    assert ran.outputs == {"/folder/a": "1", "/folder/b": "2", "/file": LARGE.decode()}
    assert (ran.upload_bytes, ran.download_bytes) == (0, 0)


def test_next_try_finds_fresh_pipes(place: Place, tmp_path: Path) -> None:
    script = f"cat $data; rm $data; test -e {tmp_path}/second || {{ touch {tmp_path}/second; exit 1; }}"
    ran = run(place, script, inputs={"data": {"/f": b"hello"}}, datum_tries=2)
    assert (ran.state, ran.tries, ran.log.count("hello")) == ("SUCCESS", 2, 2)


def test_many_unread_files_cost_little(place: Place) -> None:
    ran = run(place, "cat /pfs/data/1999", inputs={"data": {f"/{number}": b"%d" % number for number in range(2000)}})
    assert (ran.state, ran.log) == ("SUCCESS", "1999")


def test_more_files_than_there_may_be_fail_the_datum(place: Place) -> None:
    ran = run(place, "true", inputs={"data": {f"/{number}": b"" for number in range(10_001)}})
    assert ran.state == "FAILED"
    assert "a datum has more than 10,000 lazy files" in ran.reason


def test_content_that_the_store_lost_ends_the_worker_and_not_the_datum(place: Place) -> None:
    task = lazy(place, data={"/f": LARGE})
    [(_, content)] = task.inputs[0].files
    place.store.delete(object_key(content.refs[0].object))
    with pytest.raises(NotFoundError, match="is not in the store"):
        place.run("sh", "-c", "cat $data | wc -c", tasks=[task])
