"""Templates that are requests."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.argo.nodes import Phase
from tests.argo.playing import play
from tests.argo.test_pods import Home

SECRET = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {token: hidden}\n"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked, and with the status that the path says."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.answer(f"{self.headers['X-Token']} {body}")

    def do_GET(self) -> None:
        self.answer("got")

    def answer(self, text: str) -> None:
        self.send_response(int(self.path.lstrip("/")))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def request(fields: str) -> str:
    return f"  templates:\n  - {{name: main, http: {{{fields}}}}}\n{SECRET}"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, network=True)


def test_the_body_of_an_answer_is_the_result(home: Home, url: str) -> None:
    headers = "headers: [{name: X-Token, valueFrom: {secretKeyRef: {name: s, key: token}}}]"
    root = home.run(request(f"url: '{url}/200', method: POST, body: 'hello {{{{workflow.name}}}}', {headers}"))[""]
    assert (root.phase, root.type, root.outputs.result) == (Phase.SUCCEEDED, "HTTP", "hidden hello wf")


def test_what_is_sent_may_be_bytes(home: Home, url: str) -> None:
    root = home.run(request(f"url: '{url}/200', method: POST, body: not this, bodyFrom: {{bytes: aMOpbGxv}}, headers: [{{name: X-Token, value: t}}]"))[""]
    assert root.outputs.result == "t héllo"


@pytest.mark.parametrize(
    ("status", "condition", "expected"),
    [
        (204, "", "Succeeded"),
        (404, "", "Failed"),
        (500, "", "Failed"),
        (404, "response.statusCode == 404", "Succeeded"),
        (200, 'response.body contains "other"', "Failed"),
        (200, 'response.body == "got" && request.method == "GET"', "Succeeded"),
    ],
)
def test_what_counts_as_success_is_a_condition(home: Home, url: str, status: int, condition: str, expected: str) -> None:
    root = home.run(request(f"url: '{url}/{status}', successCondition: '{condition}'"))[""]
    assert root.phase.value == expected


def test_a_server_that_does_not_answer_is_a_failure(home: Home) -> None:
    root = home.run(request("url: 'http://127.0.0.1:1/'"))[""]
    assert root.phase is Phase.FAILED and "gave no answer" in root.message


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("url: 'file:///etc/passwd'", "no address of a request"),
        ("url: 'http://127.0.0.1:1', headers: [{name: a, valueFrom: {secretKeyRef: {name: gone, key: k}}}]", "the Secret 'gone'"),
        ("url: 'http://127.0.0.1:1', bodyFrom: {bytes: '?'}", "not in base64"),
    ],
)
def test_what_cannot_be_asked_is_an_error(home: Home, fields: str, said: str) -> None:
    root = home.run(request(fields))[""]
    assert root.phase is Phase.ERROR and said in root.message


def test_nothing_is_asked_without_a_network() -> None:
    root = play(request("url: 'http://127.0.0.1:1'")).root
    assert root.phase is Phase.ERROR and "--network" in root.message
