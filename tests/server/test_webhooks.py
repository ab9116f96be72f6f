"""Requests that are events: what is taken, kept and answered."""

import contextlib
import http.client
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from pachyderm_dagster.argo.library import Library, library_of
from pachyderm_dagster.argo.reading import parse_objects
from pachyderm_dagster.errors import InvalidError, NotFoundError, PachydermError, UnreachableError
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, RepoName
from pachyderm_dagster.server.webhooks import listening, routes_of
from pachyderm_dagster.workspace import Workspace, open_workspace
from tests.argo.event_files import source

SOURCES = """webhook:
  plain: {endpoint: /plain, method: POST, maxPayloadSize: 100}
  asked: {endpoint: /asked, method: GET}
  guarded: {endpoint: /guarded, method: POST, authSecret: {name: hook, key: token}}"""
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: hook}\nstringData: {token: open sesame}\n"


class Sender:
    """Sends requests to a server that listens."""

    def __init__(self, home: Workspace, port: int) -> None:
        self.home, self.port = home, port

    def send(self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        """The status and the text of the answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=body, headers={"Content-Type": "application/json", **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def kept(self, name: str) -> list[dict[str, object]]:
        """What is kept of an event, oldest first."""
        with self.home.database.read() as txn:
            found = [commit for commit in commits.list_commit(txn, repo=RepoName(DEFAULT_PROJECT, "argo-events-source")) if commit.branch == name]
        return [json.loads(b"".join(self.home.pfs.get_file(f"{commit}:/event.json"))) for commit in reversed(found)]


def library(*texts: str) -> Library:
    return library_of([one for text in texts for one in parse_objects(text, source="e.yaml")])


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Workspace]:
    with closing(open_workspace({"PACHYDERM_HOME": str(tmp_path)})) as workspace:
        yield workspace


@pytest.fixture
def sender(home: Workspace) -> Iterator[Sender]:
    with listening(routes_of(library(source(SOURCES), SECRET), home, 0), "127.0.0.1") as (port,):
        yield Sender(home, port)


def test_a_request_is_kept_before_it_is_answered(sender: Sender) -> None:
    headers = {"X-GITHUB-event": "push", "Authorization": "secret"}
    assert sender.send("/plain?a=b", b'{"message": "hello", "n": 12345678901234567890}', headers) == (200, "success")
    (kept,) = sender.kept("plain")
    assert kept["body"] == {"message": "hello", "n": 12345678901234567890}
    header = kept["header"]
    assert isinstance(header, dict) and header["Content-Type"] == ["application/json"] and header["X-Github-Event"] == ["push"]
    assert "Authorization" not in header


def test_queries_and_forms_are_bodies_too(sender: Sender) -> None:
    assert sender.send("/asked?a=1&a=2&b=") == (200, "success")
    assert sender.kept("asked")[0]["body"] == {"a": ["1", "2"], "b": [""]}
    assert sender.send("/plain", b"c=x%20y", {"Content-Type": "application/x-www-form-urlencoded"}) == (200, "success")
    assert sender.kept("plain")[0]["body"] == {"c": ["x y"]}


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/nowhere", b"{}", {}, 404),
        ("/plain", None, {}, 400),
        ("/asked", b"{}", {}, 400),
        ("/plain", b"no json", {}, 400),
        ("/plain", b"", {}, 400),
        ("/plain", b'"' + b"a" * 99 + b'"', {}, 413),
        ("/guarded", b"{}", {}, 401),
        ("/guarded", b"{}", {"Authorization": "Bearer open"}, 401),
    ],
)
def test_what_is_no_event_is_refused_and_not_kept(sender: Sender, path: str, body: bytes | None, headers: Mapping[str, str], status: int) -> None:
    assert sender.send(path, body, headers)[0] == status
    assert sender.home.pfs.inspect_repo("argo-events-source").branches == ()


def test_a_token_opens_its_endpoint(sender: Sender) -> None:
    assert sender.send("/guarded", b"{}", {"Authorization": "Bearer open sesame"}) == (200, "success")
    assert len(sender.kept("guarded")) == 1


def test_what_could_not_be_kept_is_not_answered_as_if_it_were(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_given: object) -> None:
        raise UnreachableError("record-unreachable", "the record is gone")

    with monkeypatch.context() as patched:
        patched.setattr("pachyderm_dagster.argo.kept_requests.KeptRequests.keep", fail)
        assert sender.send("/plain", b"{}") == (503, "the event could not be kept; send it again")
    assert sender.send("/plain", b"{}") == (200, "success")


@pytest.mark.parametrize(
    ("texts", "code", "kind"),
    [
        ([source("webhook:\n  a: {endpoint: /a, method: POST}\n  b: {endpoint: /a, method: POST}")], "event-endpoint-taken", InvalidError),
        ([source("calendar: {a: {interval: 1h}}")], "event-sources-missing", InvalidError),
        ([source(SOURCES)], "workflow-secret-not-found", NotFoundError),
    ],
)
def test_what_cannot_be_listened_for_is_told(home: Workspace, texts: list[str], code: str, kind: type[PachydermError]) -> None:
    with pytest.raises(kind) as raised:
        routes_of(library(*texts), home, None)
    assert raised.value.code == code


def test_endpoints_may_be_alike_at_other_ports(home: Workspace) -> None:
    text = source(
        'webhook:\n  a: {endpoint: /a, method: POST, port: "12001"}\n  b: {endpoint: /a, method: POST, port: "12002"}\n  c: {endpoint: /a, method: POST}'
    )
    assert sorted(routes_of(library(text), home, None)) == [12000, 12001, 12002]


def test_requests_that_come_at_once_are_an_event_each(sender: Sender) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: sender.send("/plain", b"%d" % number), range(48)))
    assert set(answers) == {(200, "success")}
    assert sorted(int(str(one["body"])) for one in sender.kept("plain")) == list(range(48))


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "a"}])
def test_a_request_joins_no_commit_that_somebody_has_opened(sender: Sender, headers: Mapping[str, str]) -> None:
    opened = sender.home.pfs.start_commit("argo-events-source@plain")
    assert sender.send("/plain", b"{}", headers)[0] == 503
    assert sender.home.pfs.finish_commit(str(opened)).size_bytes == 0
    assert sender.send("/plain", b"{}", headers)[0] == 200


def test_a_line_end_behind_a_token_is_none_of_it(home: Workspace) -> None:
    secret = SECRET.replace("open sesame", '"open sesame\\n"')
    with listening(routes_of(library(source(SOURCES), secret), home, 0), "127.0.0.1") as (port,):
        assert Sender(home, port).send("/guarded", b"{}", {"Authorization": "Bearer open sesame"}) == (200, "success")


@pytest.mark.parametrize(("path", "headers"), [("http://[x", {}), ("/plain", {"Content-Length": "9" * 5000}), ("/plain", {"Content-Length": "-1"})])
def test_requests_that_are_none_get_an_answer(sender: Sender, path: str, headers: Mapping[str, str]) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", sender.port, timeout=30)) as connection:
        connection.putrequest("POST", path, skip_host=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status in (400, 411)


def test_the_data_of_a_query_are_not_logged(sender: Sender, capsys: pytest.CaptureFixture[str]) -> None:
    assert sender.send("/asked?token=hidden")[0] == 200
    logged = capsys.readouterr().err
    assert '"GET /asked" 200' in logged and "hidden" not in logged


def test_nobody_who_sends_nothing_holds_up_the_end(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without a limit it would be waited for for ever.
    monkeypatch.setattr("pachyderm_dagster.server.webhooks._Handler.timeout", None)
    with contextlib.ExitStack() as stack:
        with listening(routes_of(library(source(SOURCES), SECRET), home, 0), "127.0.0.1") as (port,):
            silent = stack.enter_context(closing(socket.create_connection(("127.0.0.1", port))))
            halting = stack.enter_context(closing(socket.create_connection(("127.0.0.1", port))))
            halting.sendall(b"POST /plain HTTP/1.0\r\nContent-Length: 9\r\n\r\n{")
            # Connections are taken in their order.
            assert Sender(home, port).send("/asked?a=1")[0] == 200
        assert silent.recv(100) == b""
        assert b"400" in halting.recv(100)
