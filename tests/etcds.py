"""An etcd for tests: the server that TEST_ETCD_URL names, or one of a test's own, which it may kill."""

import itertools
import os
import shutil
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from pachyderm_dagster.coordination.etcd import Etcd
from pachyderm_dagster.coordination.etcd_address import EtcdAddress, parse_etcd_url

# As etcd://127.0.0.1:2379. Read here because tests run without the caller's settings.
SERVER = os.environ.get("TEST_ETCD_URL")
needs_etcd = pytest.mark.skipif(SERVER is None, reason="TEST_ETCD_URL names no etcd (tests/services/run)")
_numbers = itertools.count()


def new_address() -> EtcdAddress:
    """A place in the server where nothing is."""
    assert SERVER is not None
    return parse_etcd_url(f"{SERVER}/tests/{os.getpid()}-{time.monotonic_ns()}-{next(_numbers)}", {})


class EtcdServer:
    """An etcd of a test's own. A `with` block ends it.

    Args:
        folder: where its data stays from one start to the next.
        options: more words of its command line.
        name: among the members of its cluster.
    """

    def __init__(self, folder: Path, *options: str, scheme: str = "http", name: str = "default") -> None:
        self.port, self._peer_port = free_port(), free_port()
        self._folder, self._options, self._scheme = folder, options, scheme
        self._name = name
        self.peer = f"{name}=http://127.0.0.1:{self._peer_port}"
        self.cluster = self.peer
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"etcd://127.0.0.1:{self.port}"

    def __enter__(self) -> "EtcdServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Starts it, on the data of before, and waits until it listens."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Starts it."""
        program = shutil.which("etcd")
        assert program is not None
        client, peer = f"{self._scheme}://127.0.0.1:{self.port}", f"http://127.0.0.1:{self._peer_port}"
        places = ["--data-dir", str(self._folder / "data"), "--listen-client-urls", client, "--advertise-client-urls", client]
        peers = ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", self.cluster, "--name", self._name]
        with open(self._folder / "etcd.log", "ab") as log:
            self._process = subprocess.Popen([program, *places, *peers, *self._options], stdout=log, stderr=log)

    def wait(self) -> None:
        """Until it listens: a member of a cluster, when it has found enough others."""
        assert self._process is not None
        end = time.monotonic() + 60
        while not listens(self.port):
            assert self._process.poll() is None and time.monotonic() < end, (self._folder / "etcd.log").read_text()
            time.sleep(0.02)  # noqa: TID251  another process's work

    def kill(self) -> None:
        """Ends it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def compact(etcd: Etcd) -> None:
    """Has etcd forget all revisions but the newest."""
    revision = etcd.call("kv/range", {"key": "eA=="})["header"]["revision"]
    etcd.call("kv/compaction", {"revision": revision, "physical": True})
