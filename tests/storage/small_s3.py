"""A small S3 in this process: it keeps objects and every request's headers, and can lack what real servers lack."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class SmallS3:
    """Its state; `conditions` off makes it ignore If-None-Match, `buckets` are those that exist."""

    buckets: set[str]
    conditions: bool = True
    endpoint: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, Message]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    """Status codes to give, one a request, before it works as it should."""

    def headers(self, method: str) -> Message:
        """Those of the last request of this kind."""
        return next(headers for found, _, headers in reversed(self.requests) if found == method)

    def count(self, method: str) -> int:
        """How many requests of this kind there were."""
        return sum(found == method for found, _, _ in self.requests)

    def answer(self, method: str, path: str, headers: Message, body: bytes) -> tuple[int, bytes]:
        """The status and the body of the answer to a request."""
        if self.answers:
            return self.answers.pop(0), b""
        if path.split("/")[1] not in self.buckets:
            return 404, b"<Error><Code>NoSuchBucket</Code></Error>"
        if method == "PUT":
            if self.conditions and headers.get("If-None-Match") == "*" and path in self.objects:
                return 412, b"<Error><Code>PreconditionFailed</Code></Error>"
            self.objects[path] = body
            return 200, b""
        if path not in self.objects:
            return 404, b"<Error><Code>NoSuchKey</Code></Error>"
        if "Range" in headers:
            first, last = headers["Range"].removeprefix("bytes=").split("-")
            return 206, self.objects[path][int(first) : int(last) + 1]
        return 200, self.objects[path]


@contextmanager
def small_s3(*buckets: str, conditions: bool = True) -> Iterator[SmallS3]:
    """Serves on the loopback for the length of a block."""
    state = SmallS3(set(buckets), conditions)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer()

        def do_HEAD(self) -> None:
            self.answer()

        def do_PUT(self) -> None:
            self.answer()

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            state.requests.append((self.command, path, self.headers))
            self.send(*state.answer(self.command, path, self.headers, body))

        def send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status == 206:
                first = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
                self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(state.objects[self.path])}")
            self.send_header("ETag", f'"{hashlib.md5(body).hexdigest()}"')
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
