"""An HTTP server between clients and another one, which on demand fails some requests, before they are done or when they are, or is slow."""

import http.client
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@dataclass
class Faults:
    """What is wrong with it at the moment.

    Attributes:
        share: of the requests that fail: half of them with `503 Slow Down`, half by an answer that is lost.
        seconds: that every answer comes later.
    """

    share: float = 0
    seconds: float = 0


@contextmanager
def failing(url: str, address: str, faults: Faults) -> Iterator[str]:
    """A URL by which the server of another one is reached, with those faults."""
    behind = urlsplit(url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            chance, share = random.random(), faults.share
            threading.Event().wait(faults.seconds)
            if chance < share / 2:
                self._answer(503, {}, BUSY)
                return
            connection = http.client.HTTPConnection(behind, timeout=60)
            try:
                # With the Host that the client signed.
                connection.request(self.command, self.path, body or None, dict(self.headers.items()))
                response = connection.getresponse()
                data = response.read()
            except (OSError, http.client.HTTPException):
                self.close_connection = True
                return
            finally:
                connection.close()
            if chance < share:
                self.close_connection = True
                return
            self._answer(response.status, dict(response.getheaders()), data)

        def _answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
            self.send_response_only(status)
            given = {name.lower(): value for name, value in headers.items() if name.lower() not in ("connection", "transfer-encoding")}
            if self.command != "HEAD":
                given["content-length"] = str(len(data))
            for name, value in given.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    server = _Server((address, 0), Handler)
    serving = threading.Thread(target=server.serve_forever, name="failing-proxy", daemon=True)
    serving.start()
    try:
        yield f"http://{address}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is gone is none."""
