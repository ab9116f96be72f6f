"""Runs command lines in this process, as a shell would, and keeps what they printed."""

import contextlib
import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pachyderm_dagster.cli.main import main

Document = dict[str, Any]
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one command line did."""

    status: int
    data: bytes
    err: str

    @property
    def out(self) -> str:
        return self.data.decode()

    @property
    def documents(self) -> list[Document]:
        """The JSON documents it printed, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def document(self) -> Document:
        """The one document it printed."""
        (found,) = self.documents
        return found

    @property
    def code(self) -> str:
        """The code of the one error line that it printed."""
        errors = [line for line in self.err.splitlines() if line.startswith("error:")]
        assert len(errors) == 1, self.err
        assert "Traceback" not in self.err
        return errors[0].rpartition("[")[2].rstrip("]")


@contextlib.contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A command line in a process of its own, with pipes; killed at the end of the block. It takes Ctrl-C, also where the tests run in the background."""
    command = [sys.executable, "-m", "pachyderm_dagster", *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command,
        cwd=ROOT,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as running:
        try:
            yield running
        finally:
            running.kill()


class Pachctl:
    """Calls the command line; the home is the one that the environment names."""

    def __init__(self, capture: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capture = capture
        self._monkeypatch = monkeypatch

    def run(self, *words: str, stdin: bytes = b"") -> Answer:
        """Runs it, whatever comes out."""
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self._capture.readouterr()
        status = main(words)
        printed = self._capture.readouterr()
        return Answer(status, printed.out, printed.err.decode())

    def __call__(self, *words: str, stdin: bytes = b"") -> Answer:
        """Runs it; it must succeed."""
        answer = self.run(*words, stdin=stdin)
        assert answer.status == 0, answer.err
        return answer

    def fail(self, *words: str, stdin: bytes = b"") -> str:
        """Runs it; it must be refused. The code of its error."""
        answer = self.run(*words, stdin=stdin)
        assert answer.status == 1, f"{answer.status}: {answer.out}{answer.err}"
        assert answer.err.splitlines()[-1].startswith("error:")
        return answer.code

    def misuse(self, *words: str) -> str:
        """Runs it; it must be wrong usage. What it said."""
        answer = self.run(*words)
        assert answer.status == 2, f"{answer.status}: {answer.out}{answer.err}"
        assert answer.code == "usage"
        return answer.err

    def json(self, *words: str) -> list[Document]:
        """Runs it with `-o json`; what it printed."""
        return self(*words, "-o", "json").documents

    def put(self, target: str, text: str) -> str:
        """Writes a file; the id of the commit."""
        return str(self("put", "file", target, "-f", "-", "-o", "json", stdin=text.encode()).document["id"])
