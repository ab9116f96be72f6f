import io
import re
import sys
import threading

import pytest

from pachyderm_dagster.cli import progress
from pachyderm_dagster.cli.progress import Progress, show_count


class Screen(io.StringIO):
    """Standard error as a terminal or not; `drawn` is set when something has been written."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.drawn = threading.Event()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    def flush(self) -> None:
        self.drawn.set()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shows progress from the first moment on."""
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.001)


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("put file", 100) as shown:
        shown.advance(100)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("impatient")
def test_terminal_gets_a_bar_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(terminal=True)
    monkeypatch.setattr(sys, "stderr", screen)
    shown = Progress("get file", 2048)
    shown.advance(1024)
    with shown:
        screen.drawn.wait()
        shown.advance(1024)
    lines = screen.getvalue().split("\r")
    assert lines[0] == ""
    assert lines[1].startswith("get file: [===============               ]  50% 1KiB of 2KiB, ")
    assert lines[-1].startswith("get file: [==============================] 100% 2KiB of 2KiB, ")
    assert lines[-1].endswith("\n")


@pytest.mark.usefixtures("impatient")
def test_elsewhere_lines_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(terminal=False)
    monkeypatch.setattr(sys, "stderr", screen)
    with Progress("job count@1", show=show_count) as shown:
        screen.drawn.wait()
        shown.reach(1500, 3000)
    first, last = screen.getvalue().splitlines()
    assert re.fullmatch(r"job count@1: \d+ s", first)
    assert last.startswith("job count@1:  50% 1,500 of 3,000, ")
