"""The processes of `dev`: Dagster's, what reacts to commits, what keeps services, spouts and Deployments; started and ended together, and watched."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.integration.dagster_inner import DAEMON_MODULE, is_served
from pachyderm_dagster.prctl import end_with_parent

LOCATION = "pachyderm"
"""The code location's name in Dagster."""
CODE_MODULE = "pachyderm_dagster.integration.code_location"
REACTOR_MODULE = "pachyderm_dagster.integration.dev_reactor"
HOST = "127.0.0.1"
END_SECONDS = 15.0
"""How long a process may take to end before it is killed: a run stops its datums and says so in its log."""
ANSWER_SECONDS = 5
"""How long the process that holds the definitions may be too busy to answer without a word."""
_PREFIX = "pachyderm-dagster-"


@dataclass(slots=True)
class DevProcess:
    """One process and where its output goes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Does nothing while the process runs.

        Raises:
            ExecutionError: `service-ended`.
        """
        status = self.process.poll()
        if status is not None:
            problem = f"the {self.name} {describe_end(status)}, and `dev` with it"
            raise ExecutionError("service-ended", f"{problem}; start `dev` again, which goes on where it was. Its log: {self.log}")


def describe_end(status: int) -> str:
    """How a process ended, by what `Popen` says of it."""
    if status >= 0:
        return f"ended with status {status}"
    hint = " (often: no memory was left)" if status == -signal.SIGKILL else ""
    return f"was killed by signal {-status}{hint}"


def take_folder(notes: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder for sockets, not in the home: the path of one has room for about a hundred characters. The last one is removed if it was left behind.

    Args:
        notes: where it is written down, for the next time.
    """
    note = notes / "folder"
    with contextlib.suppress(OSError, ValueError):
        left = Path(note.read_text(encoding="utf-8"))
        if left.parent == Path(tempfile.gettempdir()) and left.name.startswith(_PREFIX):
            shutil.rmtree(left)
    folder = tempfile.TemporaryDirectory(prefix=_PREFIX)
    note.write_text(folder.name, encoding="utf-8")
    return folder


@dataclass(slots=True)
class DevProcesses:
    """The processes, as a context manager that leaves none behind.

    Args:
        environ: of the processes.
        port: where the UI answers.
        is_instant: whether short jobs are done without a run.
        keeps_deployments: whether the home has Deployments of its own.
        logs: a folder for what they print.
    """

    environ: Mapping[str, str]
    port: int
    logs: Path
    is_instant: bool = False
    keeps_deployments: bool = False
    _running: list[DevProcess] = field(default_factory=list)
    _folder: tempfile.TemporaryDirectory[str] | None = None
    _socket: Path = Path()

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True, exist_ok=True)
        self._folder = take_folder(self.logs)
        socket = self._socket = Path(self._folder.name) / "code"
        workspace = Path(self._folder.name) / "workspace.yaml"
        workspace.write_text(f"load_from:\n  - grpc_server:\n      socket: {socket}\n      location_name: {LOCATION}\n")
        try:
            self._start("code server", ["dagster", "code-server", "start", "--socket", str(socket), "-m", CODE_MODULE, "--location-name", LOCATION])
            self._start("daemon", [DAEMON_MODULE, "run", "--workspace", str(workspace)])
            self._start("keeper", ["pachyderm_dagster", "run", "service"])
            if self.keeps_deployments:
                self._start("keeper of Deployments", ["pachyderm_dagster", "run", "deployment"])
            self._start("web server", ["dagster_webserver", "--host", HOST, "--port", str(self.port), "--workspace", str(workspace)])
            how = ["--instant"] if self.is_instant else []
            self._start("reactor", [REACTOR_MODULE, "--url", f"http://{HOST}:{self.port}", "--location", LOCATION, *how])
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def check(self) -> None:
        """Does nothing while all run. Raises ExecutionError `service-ended`."""
        for one in self._running:
            one.check()

    def is_served(self) -> bool:
        """Whether the process that holds the definitions is there. The code server starts it, and does not miss it."""
        return self._folder is None or is_served(self._socket, seconds=ANSWER_SECONDS)

    def stop(self) -> None:
        """Ends all processes and those that they started; first those that would start new runs."""
        running, self._running = self._running, []
        for one in reversed(running):
            _signal_group(one.process, signal.SIGTERM)
        deadline = time.monotonic() + END_SECONDS
        for one in reversed(running):
            while _is_alive(one.process) and time.monotonic() < deadline:
                time.sleep(0.05)
            _signal_group(one.process, signal.SIGKILL)
            one.process.wait()
        if self._folder is not None:
            self._folder.cleanup()

    def _start(self, name: str, module: Sequence[str]) -> None:
        log = self.logs / f"{name.replace(' ', '-')}.log"
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *module],
                env=dict(self.environ),
                # `python -m` looks into the current folder first: a script of the user's there must not stand in for a library.
                cwd=self.logs,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_before_exec,
            )
        self._running.append(DevProcess(name, process, log))


def _before_exec() -> None:
    # Dagster ends on SIGTERM as it does on SIGINT, which a shell's background job ignores; so does what it starts.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    end_with_parent(signal.SIGTERM)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # Its children (code servers, runs) are in its group, wherever they are in the tree by now.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _is_alive(process: subprocess.Popen[bytes]) -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
