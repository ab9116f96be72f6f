"""A shell in which a page's blocks are followed one after the other, as a reader would.

The shell starts in a folder that looks like a fresh clone, with a home of its own, and keeps its variables from block to block.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.docs.markdown import ROOT

END = "-- end of command"
NOT_IN_A_CLONE = {".git", ".venv", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", "build", "dist"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed, on both streams in their order, and its exit status."""

    output: str
    status: int


class Shell:
    """One reader's shell: a context manager."""

    def __init__(self, folder: Path) -> None:
        clone = folder / "clone"
        clone.mkdir()
        for entry in ROOT.iterdir():
            if entry.name not in NOT_IN_A_CLONE:
                (clone / entry.name).symlink_to(entry)
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(("PACHYDERM_", "DAGSTER_"))}
        self._environment |= {"HOME": str(folder), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "160"}
        self._clone = clone

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=self._clone,
            env=self._environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        # What the page put in the background is in the shell's group, and stays when the page fails before it ends that.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def run(self, command: str) -> Answer:
        """Runs `command`, of one or more lines, without standard input."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f'{{\n{command}\n}} </dev/null\nprintf "\\n{END} %d\\n" $?\n')
        self._process.stdin.flush()
        output: list[str] = []
        for line in self._process.stdout:
            if line.startswith(END):
                return Answer("".join(output).removesuffix("\n"), int(line.removeprefix(END)))
            output.append(line)
        return Answer("".join(output), self._process.wait())


def commands(console: str) -> list[tuple[str, str]]:
    """The commands of a `console` block, each with the output that is shown below it.

    A command starts with `$ ` and goes on in lines that start with `> `.
    """
    found: list[tuple[str, str]] = []
    for line in console.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), ""))
            continue
        command, output = found.pop()
        found.append((f"{command}\n{line.removeprefix('> ')}", output) if line.startswith("> ") else (command, f"{output}{line}\n"))
    return found


def matches(shown: str, printed: str) -> bool:
    """Whether a page's output stands for the real one: `...` is any text in a line, or, alone, any lines; blanks count as one."""
    pattern = ""
    for line in shown.splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += r"[^\n]*".join(re.escape(part) for part in re.sub(r"\s+", " ", line).strip().split("...")) + r" ?\n"
    text = "".join(re.sub(r"\s+", " ", line).strip() + "\n" for line in printed.splitlines())
    return re.fullmatch(pattern, text) is not None
