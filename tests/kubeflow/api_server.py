"""An API server of Kubeflow that keeps runs and experiments, on this machine's own address; answers have the shape of recorded ones (v2beta1)."""

import itertools
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Document = dict[str, Any]
_TIME = "2026-11-30T06:00:00Z"


def _nothing(_run: Document) -> None:
    """Changes no run."""


@dataclass
class ApiServer:
    """What the server holds, and what it was asked.

    Attributes:
        url: where it is.
        advance: is called with a run each time that somebody looks at it: what happens to it meanwhile.
        down: how many requests from now on get no good answer.
        asked: method, path and body of each request.
    """

    url: str = ""
    token: str = ""
    advance: Callable[[Document], None] = _nothing
    down: int = 0
    runs: dict[str, Document] = field(default_factory=dict)
    experiments: dict[str, Document] = field(default_factory=dict)
    asked: list[tuple[str, str, Document | None]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def answer(self, method: str, path: str, query: dict[str, str], body: Document | None, authorization: str) -> tuple[int, Document]:
        """Status and body."""
        self.asked.append((method, path, body))
        if self.down:
            self.down -= 1
            return 503, {"code": 14, "message": "upstream is not there"}
        if self.token and authorization != f"Bearer {self.token}":
            return 401, {"code": 16, "message": "who are you?", "details": []}
        match method, path.removeprefix("/apis/v2beta1").split("/")[1:]:
            case "GET", ["healthz"]:
                return 200, {"multi_user": False}
            case "POST", ["experiments"]:
                return 200, self._add_experiment(body or {})
            case "GET", ["experiments"]:
                return 200, {"experiments": _chosen(self.experiments, query), "total_size": len(self.experiments)}
            case "POST", ["recurringruns"]:
                return 200, {**(body or {}), "recurring_run_id": "22222222-1111-4111-8111-111111111111", "created_at": _TIME, "status": "ENABLED"}
            case "POST", ["runs"]:
                return self._add_run(body or {})
            case "GET", ["runs"]:
                return 200, {"runs": _chosen(self.runs, query)[::-1]}
            case "GET", ["runs", id] if id in self.runs:
                self.advance(self.runs[id])
                return 200, self.runs[id]
            case "POST", ["runs", call] if call.endswith(":terminate") and call.removesuffix(":terminate") in self.runs:
                self.runs[call.removesuffix(":terminate")]["state"] = "CANCELING"
                return 200, {}
        return 404, {"code": 5, "message": f"{path} not found", "details": []}

    def _add_experiment(self, body: Document) -> Document:
        id = f"{next(self._numbers):08d}-0000-4000-8000-000000000000"
        self.experiments[id] = {**body, "experiment_id": id, "created_at": _TIME, "storage_state": "AVAILABLE"}
        return self.experiments[id]

    def _add_run(self, body: Document) -> tuple[int, Document]:
        spec = body["pipeline_spec"]
        if "pipelineInfo" not in spec.get("pipeline_spec", spec):
            return 400, {"code": 3, "message": "Failed to create a run: pipeline_spec is invalid", "details": []}
        id = f"{next(self._numbers):08d}-1111-4111-8111-111111111111"
        self.runs[id] = {**body, "run_id": id, "storage_state": "AVAILABLE", "created_at": _TIME, "scheduled_at": _TIME, "state": "PENDING"}
        return 200, self.runs[id]


def finish(run: Document, *, failing: str = "", said: str = "exit status 3") -> None:
    """Lets a run end at the next look, well or with a task that failed, of which that is said."""
    state = "FAILED" if failing else "SUCCEEDED"
    if run["state"] == "CANCELING":
        run["state"] = "CANCELED"
    elif run["state"] == "PENDING":
        run["state"] = "RUNNING"
        run["run_details"] = {"task_details": [{"run_id": run["run_id"], "task_id": "1", "display_name": failing or "edges", "state": "RUNNING"}]}
    elif run["state"] == "RUNNING":
        run.update(state=state, finished_at=_TIME)
        run["run_details"]["task_details"][0]["state"] = state
        if failing:
            run["run_details"]["task_details"][0]["error"] = {"code": 13, "message": said}


@contextmanager
def api_server(server: ApiServer) -> Iterator[ApiServer]:
    """The server for a block; its `url` is told."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            at = urllib.parse.urlsplit(self.path)
            status, found = server.answer(self.command, at.path, dict(urllib.parse.parse_qsl(at.query)), body, self.headers.get("Authorization") or "")
            data = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _serve

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        server.url = f"http://127.0.0.1:{listening.server_port}"
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()


def _chosen(found: dict[str, Document], query: dict[str, str]) -> list[Document]:
    if "filter" not in query:
        return list(found.values())
    (predicate,) = json.loads(query["filter"])["predicates"]
    assert predicate["key"] == "display_name"
    wanted = predicate["stringValue"]
    # Of an enumeration protobuf's JSON takes the number too.
    assert predicate["operation"] in (1, "EQUALS")
    return [one for one in found.values() if wanted == one["display_name"]]
