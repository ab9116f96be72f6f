"""The end of a log that grows."""

from pathlib import Path

import pytest

from pachyderm_dagster.argo.log_tail import LogTail


@pytest.fixture(autouse=True)
def _little_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachyderm_dagster.argo.log_tail._MOST_AT_ONCE", 4)


def test_lines_come_when_they_have_ended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = LogTail(path)
    assert list(tail.lines()) == []
    path.write_text("one\n\ntw")
    assert list(tail.lines()) == ["one", ""]
    with open(path, "a") as file:
        file.write("o\nlast")
    assert list(tail.lines()) == ["two", "last"]
    assert list(tail.lines(has_ended=True)) == []


def test_the_rest_of_a_log_that_has_ended_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("a\nb")
    tail = LogTail(path)
    assert list(tail.lines()) == ["a"]
    assert list(tail.lines(has_ended=True)) == ["b"]


def test_a_line_without_an_end_is_not_gathered_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("abcdefghij")
    tail = LogTail(path)
    assert list(tail.lines()) == ["abcd", "efgh"]
    assert list(tail.lines(has_ended=True)) == ["ij"]


def test_a_log_that_began_anew_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\nhal")
    tail = LogTail(path)
    assert list(tail.lines()) == ["one"]
    path.write_text("new\n")
    assert list(tail.lines()) == ["new"]
