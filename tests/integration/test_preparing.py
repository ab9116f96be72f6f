"""What every pod of a cluster does first, and what has the code location loaded again there."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from pachyderm_dagster.errors import InvalidError, UnreachableError
from pachyderm_dagster.integration.preparing import prepare, wait_for_servers
from pachyderm_dagster.integration.reloading import Reloader
from pachyderm_dagster.record import open_record
from pachyderm_dagster.workspace import open_workspace

ROOT = Path(__file__).parents[2]
LOADED: dict[str, object] = {"__typename": "WorkspaceLocationEntry", "locationOrLoadError": {"__typename": "RepositoryLocation"}}


@pytest.mark.timeout(240)
def test_processes_that_begin_together_leave_one_home_that_works(environ: dict[str, str]) -> None:
    command = [sys.executable, "-P", "-m", "pachyderm_dagster.integration.preparing"]
    begun = [subprocess.Popen(command, env={**environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [(one.communicate()[1], one.returncode) for one in begun] == [("", 0)] * 3
    assert (Path(environ["PACHYDERM_HOME"]) / "dagster" / "dagster.yaml").exists()


def test_home_that_cannot_be_used_is_told_with_its_code(environ: dict[str, str]) -> None:
    wrong = {**environ, "PYTHONPATH": str(ROOT), "PACHYDERM_STORAGE_URL": "ftp://there"}
    done = subprocess.run([sys.executable, "-P", "-m", "pachyderm_dagster.integration.preparing"], env=wrong, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "[storage-url-invalid]" in done.stderr


def test_url_of_another_driver_is_refused_without_its_password(environ: dict[str, str]) -> None:
    with pytest.raises(InvalidError, match=r"begins with postgresql://, .* take postgresql\+psycopg2:// \[config-invalid\]$"):
        prepare({**environ, "DAGSTER_POSTGRES_URL": "postgresql://dagster:secret@host/dagster"})


class Starting:
    """Servers that answer when these errors are used up, and how often they were asked."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.asked = list(errors), 0

    def __call__(self) -> None:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)


def away(code: str, seconds: int) -> UnreachableError:
    return UnreachableError(code, f"no answer in {seconds} s")


def test_servers_that_start_at_the_same_time_are_waited_for_and_each_is_told_once() -> None:
    starting, told = Starting(away("record-unreachable", 1), away("storage-unreachable", 2), away("storage-unreachable", 3)), list[str]()
    wait_for_servers(starting, told.append, pause=0)
    assert starting.asked == 4
    assert told == ["waiting: no answer in 1 s [record-unreachable]", "waiting: no answer in 2 s [storage-unreachable]"]


def test_servers_are_not_waited_for_without_end_and_nothing_else_is() -> None:
    never, wrong = Starting(away("record-unreachable", 1)), Starting(InvalidError("config-invalid", "no"))
    with pytest.raises(UnreachableError):
        wait_for_servers(never, lambda line: None, seconds=0, pause=0)
    with pytest.raises(InvalidError):
        wait_for_servers(wrong, lambda line: None, pause=0)
    assert (never.asked, wrong.asked) == (1, 1)


class WebServer(HTTPServer):
    """Counts how often something was to be loaded again, and answers as it is told."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: dict[str, object] = LOADED
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: WebServer

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        body = json.dumps({"data": {"reloadRepositoryLocation": self.server.answer}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def web_server() -> Iterator[WebServer]:
    with WebServer() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_location_is_loaded_when_it_is_another_and_troubles_are_told_once(web_server: WebServer) -> None:
    record, workspace = open_record(os.environ), open_workspace(os.environ)
    told: list[str] = []
    reloader = Reloader(record, f"http://127.0.0.1:{web_server.server_port}", "pachyderm", told.append)
    # What is loaded is not known at first.
    reloader.look()
    reloader.look()
    assert web_server.asked == 1
    workspace.pfs.create_repo("books")
    workspace.pfs.create_branch("books@master")
    web_server.answer = {"__typename": "PythonError", "message": "it is away"}
    reloader.look()
    reloader.look()
    assert (web_server.asked, told) == (3, ["The code location could not be loaded again, which is tried again: it is away"])
    web_server.answer = LOADED
    reloader.look()
    reloader.look()
    assert web_server.asked == 4
    record.database.close()
    workspace.close()
