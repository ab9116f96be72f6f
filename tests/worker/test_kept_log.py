"""The log of a process that stays."""

import datetime as dt
import os
from pathlib import Path
from typing import BinaryIO

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.worker.kept_log import LOG, OLDER_LOG, KeptLines, KeptLog, LogFiles


def texts(lines: KeptLines) -> list[str]:
    return [line.text for line in lines.more()]


def test_line_is_kept_once_it_is_whole(tmp_path: Path) -> None:
    clock, lines = ManualClock(), KeptLines(tmp_path)
    log = KeptLog(LogFiles(str(tmp_path)).add, "job-1", clock=clock)
    log.write(b"one\ntw")
    (first,) = lines.more()
    assert (first.text, first.job, first.time) == ("one", "job-1", clock.now().timestamp())
    log.write(b"o\n")
    assert texts(lines) == ["two"]
    assert texts(lines) == []


def test_last_line_without_an_end_is_kept_when_the_process_ends(tmp_path: Path) -> None:
    log = KeptLog(LogFiles(str(tmp_path)).add, "", clock=ManualClock())
    log.write(b"half a line")
    assert texts(KeptLines(tmp_path)) == []
    log.close()
    assert texts(KeptLines(tmp_path)) == ["half a line"]


def test_full_file_takes_the_place_of_the_older_one_and_readers_miss_nothing(tmp_path: Path) -> None:
    log, reader = KeptLog(LogFiles(str(tmp_path), most_bytes=150).add, "", clock=ManualClock()), KeptLines(tmp_path)
    seen = []
    for number in range(20):
        log.write(f"line {number}\n".encode())
        seen += texts(reader)
    assert seen == [f"line {number}" for number in range(20)]
    kept = texts(KeptLines(tmp_path))
    assert kept == seen[-len(kept) :]
    assert len(kept) < 20
    assert (tmp_path / OLDER_LOG).stat().st_size < 300


def test_line_that_a_crash_cut_off_is_left_out(tmp_path: Path) -> None:
    log = KeptLog(LogFiles(str(tmp_path)).add, "", clock=ManualClock())
    log.write(b"whole\n")
    with (tmp_path / LOG).open("ab") as file:
        file.write(b'{"time": 1.0, "te')
    assert texts(KeptLines(tmp_path)) == ["whole"]


def test_bytes_that_are_no_text_are_kept_as_well_as_can_be(tmp_path: Path) -> None:
    KeptLog(LogFiles(str(tmp_path)).add, "", clock=ManualClock()).write(b"\xff\x00x\n")
    assert texts(KeptLines(tmp_path)) == ["\ufffd\x00x"]


def test_without_a_log_there_are_no_lines(tmp_path: Path) -> None:
    assert texts(KeptLines(tmp_path / "nothing")) == []


def test_new_file_with_the_inode_of_one_that_is_gone_is_read_from_its_beginning(tmp_path: Path) -> None:
    """A file system may give it to the next file at once; here a link keeps it until then."""
    spare, reader = tmp_path / "spare", KeptLines(tmp_path)
    log = KeptLog(LogFiles(str(tmp_path)).add, "", clock=ManualClock())
    log.write(b"the first, which is longer\n")
    assert texts(reader) == ["the first, which is longer"]
    os.rename(tmp_path / LOG, tmp_path / OLDER_LOG)
    os.link(tmp_path / OLDER_LOG, spare)
    log.write(b"second\n")
    assert texts(reader) == ["second"]
    os.rename(tmp_path / LOG, tmp_path / OLDER_LOG)
    os.truncate(spare, 0)
    os.rename(spare, tmp_path / LOG)
    log.write(b"third\n")
    assert texts(reader) == ["third"]


def test_after_two_turns_between_two_looks_what_is_left_is_read(tmp_path: Path) -> None:
    clock, reader = ManualClock(), KeptLines(tmp_path)
    log = KeptLog(LogFiles(str(tmp_path)).add, "", clock=clock)
    log.write(b"old\n")
    assert texts(reader) == ["old"]
    inode = (tmp_path / LOG).stat().st_ino
    os.rename(tmp_path / LOG, tmp_path / "spare")
    clock.advance(dt.timedelta(seconds=1))
    log.write(b"older\n")
    os.rename(tmp_path / LOG, tmp_path / OLDER_LOG)
    os.truncate(tmp_path / "spare", 0)
    os.rename(tmp_path / "spare", tmp_path / LOG)
    log.write(b"newer, and longer than what had this inode\nnewest\n")
    assert (tmp_path / LOG).stat().st_ino == inode
    assert texts(reader) == ["older", "newer, and longer than what had this inode", "newest"]


def test_turn_between_the_opening_of_the_two_files_shows_no_line_twice(tmp_path: Path) -> None:
    log = KeptLog(LogFiles(str(tmp_path)).add, "", clock=ManualClock())

    class Turning(KeptLines):
        def _open(self, name: str) -> BinaryIO | None:
            file = super()._open(name)
            if name == LOG and not (tmp_path / OLDER_LOG).exists():
                os.rename(tmp_path / LOG, tmp_path / OLDER_LOG)
                log.write(b"two\n")
            return file

    reader = Turning(tmp_path)
    log.write(b"one\n")
    assert texts(reader) == ["one"]
    assert texts(reader) == ["two"]
