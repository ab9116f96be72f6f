"""Datums run by real workers: a store, tasks from plain files, results with their bytes; also as another user, or where namespaces are forbidden.

`python -m tests.worker.running` runs what `Place.run_elsewhere` sends it, so that the process may be started with other rights.
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.pfs.paths import path_of
from pachyderm_dagster.storage.content import ContentReader, ContentWriter
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.worker import linux
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, InputFile, WorkerSetup

ROOT = Path(__file__).parents[2]
# Signals 32 and 33, which nobody can send or set; what `make` starts has them ignored.
OF_THE_C_LIBRARY = 3 << 31
Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Ran:
    """A result with the bytes that it refers to, as text."""

    state: str
    reason: str
    exit_code: int | None
    tries: int
    outputs: dict[str, str]
    log: str
    index: int = 0
    process_seconds: float = 0.0
    download_bytes: int = 0
    upload_bytes: int = 0


class Place:
    """A store and a scratch folder, and what runs on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"file://{folder}/store"
        self.store = open_store(self.url)

    def task(self, index: int = 0, inputs: Mapping[str, Files] | None = None, environment: Mapping[str, str] | None = None) -> DatumTask:
        """A datum; an input with one file is that file, any other one is its whole repo."""
        with ContentWriter(self.store) as writer:
            files = []
            for name, contents in (inputs or {}).items():
                written = tuple((path, writer.write(data)) for path, data in contents.items())
                alone = len(written) == 1
                files.append(InputFile(name, written[0][0] if alone else "/", not alone, written))
        return DatumTask(f"{index:064x}", index, tuple(files), dict(environment or {}))

    def setup(self, *cmd: str, variables: Mapping[str, str] | None = None, **more: Any) -> WorkerSetup:
        return WorkerSetup(store_url=self.url, scratch=str(self.folder / "scratch"), cmd=cmd, environment=dict(variables or {}), **more)

    def run(self, *cmd: str, tasks: Sequence[DatumTask] = (), parallelism: int = 1, **more: Any) -> list[Ran]:
        """Runs the tasks (or one without inputs) with the rights of this process; the results in the order of the tasks."""
        with LocalExecutor(os.environ) as executor:
            results = executor.run(self.setup(*cmd, **more), list(tasks) or [self.task()], parallelism)
            return sorted((self.read(result) for result in results), key=lambda ran: ran.index)

    def run_one(self, *cmd: str, inputs: Mapping[str, Files] | None = None, environment: Mapping[str, str] | None = None, **more: Any) -> Ran:
        [ran] = self.run(*cmd, tasks=[self.task(0, inputs, environment)], **more)
        return ran

    def read(self, result: DatumResult) -> Ran:
        reader = ContentReader(self.store)
        outputs = {path_of(key): reader.read(content).decode(errors="replace") for key, content in result.outputs}
        log = reader.read(result.log).decode(errors="replace") if result.log else ""
        return Ran(
            result.state.value,
            result.reason,
            result.exit_code,
            result.tries,
            outputs,
            log,
            result.index,
            result.process_seconds,
            result.download_bytes,
            result.upload_bytes,
        )

    def run_elsewhere(self, prefix: Sequence[str], *cmd: str, inputs: Mapping[str, Files] | None = None, parallelism: int = 1, **more: Any) -> "Elsewhere":
        """Runs one datum in another process, whose command line begins with `prefix`; secrets are in base64."""
        request = {
            "folder": str(self.folder),
            "cmd": cmd,
            "inputs": {name: {path: data.decode() for path, data in files.items()} for name, files in (inputs or {}).items()},
            "more": more,
        }
        done = subprocess.run([*prefix, sys.executable, "-m", "tests.worker.running"], input=json.dumps(request), capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        return Elsewhere(Ran(**answer["ran"]), answer["warnings"])


@dataclass(frozen=True)
class Elsewhere:
    ran: Ran
    warnings: list[str]


def unprivileged() -> list[str]:
    """What a command line must begin with to run without capabilities, as ordinary users do; skips the test where nobody may make a user namespace."""
    drop = "from tests.worker.running import drop_capabilities; drop_capabilities()"
    prefix = [sys.executable, "-c", f"import os, sys; {drop}; os.execvp(sys.argv[1], sys.argv[1:])"]
    script = "from pachyderm_dagster.worker.linux import *; unshare(CLONE_NEWUSER | CLONE_NEWNS); mount('none', '/', flags=MS_REC | MS_SLAVE)"
    probe = subprocess.run([*prefix, sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    if probe.returncode:
        pytest.skip(f"user namespaces are forbidden here: {probe.stderr.strip().splitlines()[-1:]}")
    return prefix


def without_namespaces() -> list[str]:
    """What a command line must begin with to run where no namespace may be made."""
    return [*unprivileged(), sys.executable, "-c", "from tests.worker.running import forbid_namespaces; import sys; forbid_namespaces(sys.argv[1:])"]


def drop_capabilities() -> None:
    """Takes from what this process starts all that root may do beyond its own files."""
    for capability in range(64):
        # Without CAP_SETFCAP no process may map user 0, which ordinary users need not do. Not all numbers exist.
        if capability != 31:
            linux._libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def forbid_namespaces(command: list[str]) -> None:
    """Goes on as `command` in a user namespace that allows no other."""
    user, group = os.geteuid(), os.getegid()
    linux.unshare(linux.CLONE_NEWUSER)
    for file, text in (("/proc/self/setgroups", "deny"), ("/proc/self/uid_map", f"{user} {user} 1"), ("/proc/self/gid_map", f"{group} {group} 1")):
        Path(file).write_text(text)
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    drop_capabilities()
    os.execvp(command[0], command)


def main() -> None:
    request = json.loads(sys.stdin.read())
    place = Place(Path(request["folder"]))
    inputs = {name: {path: data.encode() for path, data in files.items()} for name, files in request["inputs"].items()}
    warnings: list[str] = []
    more = request["more"]
    more["secret_files"] = {path: {name: base64.b64decode(data) for name, data in files.items()} for path, files in more.get("secret_files", {}).items()}
    with LocalExecutor(os.environ, warn=warnings.append) as executor:
        [result] = executor.run(place.setup(*request["cmd"], **more), [place.task(0, inputs)], 1)
    print(json.dumps({"ran": asdict(place.read(result)), "warnings": warnings}))  # noqa: T201  the answer


if __name__ == "__main__":
    main()
