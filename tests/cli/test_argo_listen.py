"""`argo listen`, as a process of its own."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.argo.event_files import source


def test_what_was_answered_is_there_after_a_kill(tmp_path: Path) -> None:
    (tmp_path / "source.yaml").write_text(source())
    environ = {**os.environ, "PACHYDERM_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "pachyderm_dagster", "argo", "listen", str(tmp_path / "source.yaml"), "--port", "0"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = re.fullmatch(r"Listening for source/example at (http://127\.0\.0\.1:\d+/example)\n", process.stderr.readline())
        assert found is not None
        request = urllib.request.Request(found[1], data=b'{"message": "hello"}', headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            assert (response.status, response.read()) == (200, b"success")
        process.kill()
    assert process.returncode == -signal.SIGKILL
    shown = subprocess.run(
        [sys.executable, "-m", "pachyderm_dagster", "get", "file", "argo-events-source@example:/event.json"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"body":{"message": "hello"}' in shown.stdout


def test_it_ends_when_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "source.yaml").write_text(source())
    environ = {**os.environ, "PACHYDERM_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "pachyderm_dagster", "argo", "listen", str(tmp_path / "source.yaml"), "-p", "0"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None and process.stderr.readline().startswith("Listening for")
        process.terminate()
        assert process.wait(60) == 0
