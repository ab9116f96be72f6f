"""An API server with objects in memory: lists, watches by version, names that are taken once, and whatever a test has it do besides."""

import copy
import itertools
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Manifest = dict[str, Any]
_OWNER_LABELS = {"jobs": "pachyderm-dagster/job-name", "deployments": "pachyderm-dagster/workers-name"}
_PATH = re.compile(r"/(?:api|apis/batch|apis/apps)/v1/namespaces/lab/(\w+)(?:/([^/]+))?(?:/log)?")


class ApiServer:
    """Serves for the length of a `with` block.

    Attributes:
        asked: (method, kind) of every request.
        tried: (kind, object) of every one that was not to be made.
        refuse, refuse_kind: status of every answer to a method, or about a kind, from now on; none: 0.
        refuse_named: about an object whose name begins so.
        on_change: is told of what clients create, change and delete, as a controller is.
        logs: what containers printed, by pod and container.
    """

    def __init__(self, folder: Path) -> None:
        self.kubeconfig = folder / "kubeconfig"
        self.asked: list[tuple[str, str]] = []
        self.tried: list[tuple[str, Manifest]] = []
        self.refuse: dict[str, int] = {}
        self.refuse_kind: dict[str, int] = {}
        self.refuse_named: dict[str, int] = {}
        self.on_change: Callable[[str, str, Manifest], None] = lambda _change, _kind, _object: None
        self.logs: dict[tuple[str, str], bytes] = {}
        self._objects: dict[tuple[str, str], Manifest] = {}
        self._changes: list[tuple[int, str, str, Manifest]] = []
        self._versions = itertools.count(1)
        self._forgotten = 0
        self._changed = threading.Condition()
        self._is_over = False
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server._get(self)

            def do_POST(self) -> None:
                server._answer(self, lambda kind, _name, body: server._try(kind, body) if _is_trial(self) else server._post(kind, body))

            def do_PATCH(self) -> None:
                server._answer(self, server._patch)

            def do_PUT(self) -> None:
                server._answer(self, lambda kind, name, body: server._try(kind, body) if _is_trial(self) else server._replace(kind, name, body))

            def do_DELETE(self) -> None:
                server._answer(self, lambda kind, name, _body: server._delete(kind, name))

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, name="api-server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        host, port = self._http.server_address[:2]
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "clusters": [{"name": "c", "cluster": {"server": f"http://{host!s}:{port}"}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "c",
                    "users": [{"name": "u", "user": {"token": "t"}}],
                }
            )
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def objects(self, kind: str) -> list[Manifest]:
        with self._changed:
            return [copy.deepcopy(found) for (of, _), found in self._objects.items() if of == kind]

    def put(self, kind: str, found: Manifest, change: str = "MODIFIED") -> None:
        """Makes an object, or changes it."""
        with self._changed:
            found["metadata"]["resourceVersion"] = str(version := next(self._versions))
            found["metadata"].setdefault("uid", f"uid-{version}")
            found["metadata"].setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
            if change == "DELETED":
                self._objects.pop((kind, found["metadata"]["name"]), None)
            else:
                self._objects[kind, found["metadata"]["name"]] = copy.deepcopy(found)
            self._changes.append((version, change, kind, copy.deepcopy(found)))
            self._changed.notify_all()

    def put_owned(self, kind: str, found: Manifest, owner: tuple[str, str]) -> bool:
        """As a controller makes an object: none where its owner, by kind and name, is gone. Returns whether it did."""
        with self._changed:
            if owner not in self._objects:
                return False
            self.put(kind, found)
            return True

    def drop(self, kind: str, name: str) -> None:
        with self._changed:
            found = self._objects.get((kind, name))
            if found is not None:
                self.put(kind, copy.deepcopy(found), "DELETED")

    def delete(self, kind: str, name: str) -> None:
        """As a client does it."""
        self._delete(kind, name)

    def forget(self) -> None:
        """Compacts: watches end, and no older version is known."""
        with self._changed:
            self._forgotten = next(self._versions)
            self._changed.notify_all()

    def wait(self, holds: Callable[[], bool]) -> None:
        """Until something holds that a change brings about."""
        with self._changed:
            assert self._changed.wait_for(holds, timeout=60)

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        query = {key: values[0] for key, values in parse_qs(urlsplit(request.path).query).items()}
        if query.get("watch") == "true":
            self._watch(request, query)
            return
        path = urlsplit(request.path).path
        if path.endswith("/log"):
            self._send(request, 200, self.logs.get((path.split("/")[-2], query["container"]), b""))
            return
        self._answer(request, lambda kind, name, _body: self._list(kind, query) if name is None else self._find(kind, name))

    def _answer(self, request: BaseHTTPRequestHandler, act: Callable[[str, Any, Manifest], tuple[int, Manifest]]) -> None:
        length = int(request.headers.get("Content-Length") or 0)
        body = json.loads(request.rfile.read(length)) if length else {}
        found = _PATH.fullmatch(urlsplit(request.path).path)
        assert found is not None, request.path
        self.asked.append((request.command, found[1]))
        name = found[2] or body.get("metadata", {}).get("name", "")
        refused = self.refuse.get(request.command) or self.refuse_kind.get(found[1])
        refused = refused or next((status for start, status in self.refuse_named.items() if name.startswith(start)), 0)
        status, answer = (refused, {"message": "as the test wants it"}) if refused else act(found[1], found[2], body)
        self._send(request, status, json.dumps(answer).encode())

    def _send(self, request: BaseHTTPRequestHandler, status: int, data: bytes) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def _find(self, kind: str, name: str) -> tuple[int, Manifest]:
        found = self._objects.get((kind, name))
        return (404, {"message": f"{name} not found"}) if found is None else (200, found)

    def _list(self, kind: str, query: dict[str, str]) -> tuple[int, Manifest]:
        with self._changed:
            items = [found for found in self.objects(kind) if _matches(found, query)]
            metadata = {"resourceVersion": str(next(self._versions))}
            start = int(query.get("continue", 0))
            end = start + int(query.get("limit", len(items)))
            if end < len(items):
                metadata["continue"] = str(end)
            return 200, {"metadata": metadata, "items": items[start:end]}

    def _try(self, kind: str, body: Manifest) -> tuple[int, Manifest]:
        with self._changed:
            self.tried.append((kind, body))
        return 201, body

    def _post(self, kind: str, body: Manifest) -> tuple[int, Manifest]:
        with self._changed:
            if (kind, body["metadata"]["name"]) in self._objects:
                return 409, {"message": "already exists"}
            self.put(kind, body, "ADDED")
        self.on_change("ADDED", kind, copy.deepcopy(body))
        return 201, body

    def _patch(self, kind: str, name: str, body: Manifest) -> tuple[int, Manifest]:
        with self._changed:
            if (kind, name) not in self._objects:
                return 404, {"message": f"{name} not found"}
            found = copy.deepcopy(self._objects[kind, name])
            if body.get("metadata", {}).get("resourceVersion", found["metadata"]["resourceVersion"]) != found["metadata"]["resourceVersion"]:
                return 409, {"message": "the object has been modified"}
            found["metadata"] |= body.get("metadata", {})
            found["spec"] = found.get("spec", {}) | body.get("spec", {})
            if "data" in body:
                found["data"] = body["data"]
            self.put(kind, found)
        self.on_change("MODIFIED", kind, copy.deepcopy(found))
        return 200, found

    def _replace(self, kind: str, name: str, body: Manifest) -> tuple[int, Manifest]:
        with self._changed:
            found = self._objects.get((kind, name))
            if found is None:
                return 404, {"message": f"{name} not found"}
            if body["metadata"].get("resourceVersion") != found["metadata"]["resourceVersion"]:
                return 409, {"message": "the object has been modified"}
            kept = {key: found["metadata"][key] for key in ("uid", "creationTimestamp")}
            body["metadata"] |= {**kept, "generation": found["metadata"].get("generation", 1) + 1}
            self.put(kind, body | ({"status": found["status"]} if "status" in found else {}))
        self.on_change("MODIFIED", kind, copy.deepcopy(body))
        return 200, body

    def _delete(self, kind: str, name: str) -> tuple[int, Manifest]:
        with self._changed:
            found = self._objects.get((kind, name))
            if found is None:
                return 404, {"message": f"{name} not found"}
            for (of, other), owned in list(self._objects.items()):
                if of == "pods" and owned["metadata"]["labels"].get(_OWNER_LABELS.get(kind, "")) == name:
                    self.drop(of, other)
                if any(owner["uid"] == found["metadata"]["uid"] for owner in owned["metadata"].get("ownerReferences", ())):
                    self.drop(of, other)
            self.drop(kind, name)
        self.on_change("DELETED", kind, copy.deepcopy(found))
        return 200, found

    def _watch(self, request: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        found = _PATH.fullmatch(urlsplit(request.path).path)
        assert found is not None
        with self._changed:
            self.asked.append(("WATCH", found[1]))
            self._changed.notify_all()
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.close_connection = True
        version, said = int(query["resourceVersion"]), 0
        with self._changed:
            while not self._is_over:
                if version < self._forgotten:
                    self._say(request, {"type": "ERROR", "object": {"code": 410, "message": "too old"}})
                    break
                for at, change, kind, thing in self._changes[said:]:
                    if at > version and kind == found[1] and _matches(thing, query):
                        if not self._say(request, {"type": change, "object": thing}):
                            return
                        version = at
                said = len(self._changes)
                self._changed.wait()
            request.wfile.write(b"0\r\n\r\n")

    def _say(self, request: BaseHTTPRequestHandler, event: Manifest) -> bool:
        try:
            line = json.dumps(event).encode() + b"\n"
            request.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            request.wfile.flush()
        except OSError:
            return False
        return True


def _is_trial(request: BaseHTTPRequestHandler) -> bool:
    return "dryRun=All" in urlsplit(request.path).query.split("&")


def _matches(found: Manifest, query: dict[str, str]) -> bool:
    label, equals, value = query.get("labelSelector", "").partition("=")
    return not equals or found["metadata"].get("labels", {}).get(label) == value
