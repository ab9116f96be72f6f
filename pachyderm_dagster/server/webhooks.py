"""Takes requests that are events of Argo Events' webhooks, and answers them when they are kept."""

import contextlib
import hmac
import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from pachyderm_dagster.argo.event_sources import MOST_BYTES, WebhookSource
from pachyderm_dagster.argo.events import Origin
from pachyderm_dagster.argo.kept_requests import KeptRequests
from pachyderm_dagster.argo.library import Library
from pachyderm_dagster.argo.secret_keys import find_secret
from pachyderm_dagster.errors import ExistsError, InvalidError, PachydermError
from pachyderm_dagster.workspace import Workspace

DEFAULT_PORT = 12000
_FORM = "application/x-www-form-urlencoded"
_LENGTH = re.compile(r"[0-9]{1,18}")
_SECONDS = 30
"""So long a sender may be silent within a request."""


@dataclass(frozen=True, slots=True)
class Route:
    """A webhook that is listened for.

    Attributes:
        token: which requests have to bring; None for those that need none.
    """

    webhook: WebhookSource
    token: str | None
    requests: KeptRequests


Routes = Mapping[int, Mapping[str, Route]]
"""By port and path."""


def routes_of(library: Library, workspace: Workspace, port: int | None) -> Routes:
    """The webhooks of all EventSources.

    Args:
        port: of all of them; None for those that they say.

    Raises:
        InvalidError: `event-endpoint-taken`, `event-sources-missing`.
        NotFoundError: `workflow-secret-not-found`.
    """
    found: dict[int, dict[str, Route]] = {}
    for source, spec in library.event_sources.items():
        for name, webhook in spec.webhook.items():
            routes = found.setdefault(port if port is not None else int(webhook.port or DEFAULT_PORT), {})
            requests = KeptRequests(workspace, Origin(source, name))
            if webhook.endpoint in routes:
                other = routes[webhook.endpoint].requests.origin
                problem = f"{webhook.endpoint!r} is the endpoint of {other.source}/{other.name} and of {source}/{name}"
                raise InvalidError("event-endpoint-taken", f"{problem}; give them other ports, and no --port, or other endpoints")
            token = find_secret(webhook.auth_secret, library.secrets)
            # Editors leave a line end at the end of it, which Argo Events takes away too.
            routes[webhook.endpoint] = Route(webhook, None if token is None else token.removesuffix("\n"), requests)
    if not found:
        raise InvalidError("event-sources-missing", "there is no EventSource with a 'webhook'; name the files of some, or bring them into the home with `sync`")
    return found


@contextlib.contextmanager
def listening(routes: Routes, host: str) -> Iterator[list[int]]:
    """Takes requests at `host` as long as the block runs; gives the ports, which are others for 0.

    Raises:
        ExistsError: `port-taken`.
    """
    for route in (route for found in routes.values() for route in found.values()):
        route.requests.make_repo()
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(_serving(host, port, found)) for port, found in routes.items()]


@contextlib.contextmanager
def _serving(host: str, port: int, routes: Mapping[str, Route]) -> Iterator[int]:
    class Handler(_Handler):
        """Of these routes."""

    Handler.routes = routes
    try:
        server = _Server((host, port), Handler)
    except OSError as error:
        raise ExistsError("port-taken", f"port {port} of {host} is taken: {error.strerror}; choose another one with --port") from error
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """One that ends: what is being kept is answered before the record is closed, and who has not sent all yet is not waited for."""

    daemon_threads = False
    # Senders that come at the same time wait there; beyond it they are sent away, and come again after a second.
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: set[Any] = set()
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        found, address = super().get_request()
        self._open.add(found)
        return found, address

    def close_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        self._open.discard(request)
        super().close_request(request)

    def server_close(self) -> None:
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RD)
        super().server_close()


class _Refused(Exception):
    """The request cannot be kept as it is."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class _Handler(BaseHTTPRequestHandler):
    routes: Mapping[str, Route] = {}
    timeout = _SECONDS
    path = ""

    def do_POST(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        try:
            self._keep()
        except _Refused as refused:
            self._say(refused.status, refused.reason)
        except PachydermError as error:
            # Not kept, by the fault of nobody who sent it: who tries again does right.
            self.log_error("%s", error)
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, "the event could not be kept; send it again")
        else:
            self._say(HTTPStatus.OK, "success")

    def _keep(self) -> None:
        try:
            address = urlsplit(self.path)
        except ValueError as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, "the address is none") from error
        route = self.routes.get(address.path)
        if route is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such endpoint")
        if route.token is not None and not hmac.compare_digest(self.headers.get("Authorization", "").encode(), f"Bearer {route.token}".encode()):
            raise _Refused(HTTPStatus.UNAUTHORIZED, "the token is missing, or another one")
        if self.command != route.webhook.method:
            raise _Refused(HTTPStatus.BAD_REQUEST, "http method does not match")
        body = _encoded(parse_qs(address.query, keep_blank_values=True)) if self.command == "GET" else self._body(route.webhook)
        route.requests.keep(self._header(), body)

    def _body(self, webhook: WebhookSource) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not _LENGTH.fullmatch(length):
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "the length of the body is missing")
        if int(length) > (webhook.max_payload_size or MOST_BYTES):
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise _Refused(HTTPStatus.BAD_REQUEST, "the body is not complete")
        if self.headers.get("Content-Type", "") == _FORM:
            return _encoded(parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True))
        try:
            msgspec.json.decode(body)
        except msgspec.MsgspecError as error:
            raise _Refused(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}") from error
        return body

    def _header(self) -> dict[str, list[str]]:
        """All but the one with the secret, under names as Go writes them."""
        found: dict[str, list[str]] = {}
        for name, value in self.headers.items():
            if name.lower() != "authorization":
                found.setdefault("-".join(part.capitalize() for part in name.split("-")), []).append(value)
        return found

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        # A query is data, and may have the sender's secret.
        self.log_message('"%s %s" %s', self.command or "-", self.path.partition("?")[0], str(int(code) if isinstance(code, HTTPStatus) else code))

    def _say(self, status: HTTPStatus, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _encoded(query: Mapping[str, Sequence[str]]) -> bytes:
    return json.dumps(query).encode()
