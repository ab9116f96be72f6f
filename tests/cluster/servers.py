"""Servers beside a cluster that are killed and started again as they were: PostgreSQL, etcd and S3 of `tests/services/serve`."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cluster.commands import wait_until
from tests.cluster.errors import ClusterError

SERVE = Path(__file__).parents[1] / "services" / "serve"
SECONDS = 30


@contextmanager
def served(address: str, *names: str) -> Iterator[Mapping[str, str]]:
    """Real servers for the length of the block: where they are, as variables of the environment."""
    command = [str(SERVE), address, *names]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        found = {}
        for line in process.stdout:
            if line == "ready\n":
                break
            name, _, found[name] = line.strip().partition("=")
        else:
            raise ClusterError(f"'{' '.join(command)}' ended before its servers were ready; what it said is above")
        try:
            yield found
        finally:
            process.stdin.close()
            process.wait()


class Server:
    """One of them.

    Args:
        program: the name of its file.
        address: where it listens; its command line has the port.
    """

    def __init__(self, program: str, address: tuple[str, int]) -> None:
        self._address, port = address, str(address[1])
        self._pid = next(
            (pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if _is(pid, program, port)),
            None,
        )
        if self._pid is None:
            raise ClusterError(f"no {program} runs that has the port {port} in its command line")
        process = Path(f"/proc/{self._pid}")
        self._command = (process / "cmdline").read_text().split("\0")[:-1]
        self._environ = dict(line.split("=", 1) for line in (process / "environ").read_text().split("\0") if "=" in line)
        self._folder = (process / "cwd").readlink()
        self._user, self._group = process.stat().st_uid, process.stat().st_gid
        self._own: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """As when it loses power."""
        pid = self._pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        if self._own is not None:
            self._own.wait()
        if not wait_until(lambda: not Path(f"/proc/{pid}/exe").exists(), seconds=SECONDS):
            raise ClusterError(f"process {pid} is still there {SECONDS} s after it was killed")

    def start(self) -> None:
        """With the command line that it had, and waits until it takes connections.

        Again when it ends at once: one who tries to reach it while it is away may have been given its port as the own one.
        """
        if not wait_until(self._is_up, seconds=SECONDS):
            raise ClusterError(f"{self._command[0]} takes no connections at {self._address} {SECONDS} s after it was started")

    def _is_up(self) -> bool:
        if self._own is None or self._own.poll() is not None:
            quiet = subprocess.DEVNULL
            self._own = subprocess.Popen(
                self._command, env=self._environ, cwd=self._folder, user=self._user, group=self._group, extra_groups=[], stdin=quiet, stdout=quiet, stderr=quiet
            )
            self._pid = self._own.pid
        with suppress(OSError), socket.create_connection(self._address, timeout=1) as connection:
            return bool(connection.getsockname() != connection.getpeername())
        return False

    def end(self) -> None:
        """Ends what was started here."""
        if self._own is not None:
            self._own.kill()
            self._own.wait()


def _is(pid: int, program: str, port: str) -> bool:
    try:
        name, *words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return Path(name).name.startswith(program) and any(word == port or word.endswith(f":{port}") for word in words)
