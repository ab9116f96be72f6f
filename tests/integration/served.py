"""`pachyderm-dagster dev` for a home, as a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.integration.home import Home

CLONE = Path(__file__).resolve().parents[2]
ASSETS = "{ assetNodes { assetKey { path } assetMaterializations(limit: 1) { runId } } }"


class Served:
    """`dev` in another process, from the moment when the UI answers."""

    def __init__(self, home: Home) -> None:
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"import os, sys; from pachyderm_dagster.cli.dev import dev; sys.exit(dev(os.environ, {self.port}))"],
            env={**home.environ, "PYTHONPATH": str(CLONE)},
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()

    def assets(self) -> dict[str, list[dict[str, str]]]:
        """The materializations of each asset, as the UI gets them."""
        body = json.dumps({"query": ASSETS}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            nodes = json.load(answer)["data"]["assetNodes"]
        return {"/".join(node["assetKey"]["path"]): node["assetMaterializations"] for node in nodes}

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def processes(self) -> list[str]:
        """The command lines of what runs for this home."""
        return list(self.running().values())

    def running(self) -> dict[int, str]:
        """The command line of each process that runs for this home, by its id."""
        mark = f"PACHYDERM_HOME={self.home.workspace.settings.home}".encode()
        found = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                try:
                    if mark in (folder / "environ").read_bytes().split(b"\0"):
                        found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    # It ended while we looked.
                    continue
        return found
