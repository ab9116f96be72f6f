"""Reads http(s) URLs, going on where it was when a connection breaks."""

import contextlib
import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Protocol
from urllib.parse import urlsplit

from pachyderm_dagster.errors import ConflictError, InvalidError, PachydermError, UnreachableError
from pachyderm_dagster.pfs.http_urls import parse_http_url
from pachyderm_dagster.pfs.transfers import Transfers

DEFAULT = Transfers()
_TIMEOUT_SECONDS = 60
_SKIPPED_BYTES = 1024 * 1024
# What a server says when it is the moment that is wrong and not the question.
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_PARTIAL = 206
_PAST_END = 416
_WHOLE = ("", "identity")
# A server that knows such a file by its name alone says that it is encoded, and sends it as it is.
_PACKED = (".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".tzst", ".br", ".z")


class _Answer(Protocol):
    """What is used of an `http.client.HTTPResponse`."""

    status: int

    def read(self, size: int, /) -> bytes: ...
    def getheader(self, name: str) -> str | None: ...
    def close(self) -> None: ...


class HttpDownload:
    """The body of a URL, after redirects.

    When the connection breaks it asks for the rest by Range, under the condition that the body is still the same (ETag or Last-Modified). Of a server
    that knows no ranges it reads all again and compares what it had. User and password of the URL are sent to its host only, and never shown.

    Raises:
        InvalidError: `source-unreadable`, when the URL is malformed.

    Reading raises:
        InvalidError: `source-unreadable`, when the server answers with a status of 400 or more, or with something that is encoded.
        UnreachableError: `source-unreachable`, when it does not answer, or its answer ends early again and again.
        ConflictError: `source-changed`, when the body became another one.
    """

    def __init__(self, url: str, transfers: Transfers) -> None:
        parsed = parse_http_url(url)
        self._url = parsed.url
        self._authorization = parsed.authorization
        self._transfers = transfers
        self._answer: _Answer | None = None
        self._head: list[bytes] = []
        self._validator: str | None = None
        self._length: int | None = None
        self._taken = 0
        self._digest = hashlib.blake2b()

    def fetch_head(self) -> None:
        missing = self._transfers.head_bytes
        while missing > 0 and (data := self._read(missing)):
            self._head.append(data)
            missing -= len(data)
        if missing > 0:
            self._head.append(b"")
            self.close()
        self._head.reverse()

    def read(self, size: int, /) -> bytes:
        if not self._head:
            return self._read(size)
        data = self._head.pop()
        if len(data) > size:
            self._head.append(data[size:])
        elif not data:
            self._head.append(data)  # the end stays the end
        return data[:size]

    def close(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def _read(self, size: int) -> bytes:
        return self._transfers.keep_trying(lambda: self._read_once(size))

    def _read_once(self, size: int) -> bytes:
        try:
            if self._answer is None:
                self._answer = self._ask()
            data = self._take(self._answer, size)
            if not data and self._length is not None and self._taken < self._length:
                raise self._unreachable(f"ended {self._length - self._taken:,} bytes early")
        except UnreachableError:
            self.close()
            raise
        return data

    def _take(self, answer: _Answer, size: int) -> bytes:
        data = self._bytes_of(answer, size)
        self._taken += len(data)
        self._digest.update(data)
        return data

    def _ask(self) -> _Answer:
        """An answer that stands where reading is."""
        if not self._taken:
            answer = self._open({})
            self._remember(answer)
            return answer
        answer = self._open({"Range": f"bytes={self._taken}-", "If-Range": self._validator} if self._validator else {})
        try:
            if answer.status != _PARTIAL:
                self._skip(answer)
            elif not (answer.getheader("Content-Range") or "").startswith(f"bytes {self._taken}-"):
                raise self._changed()
        except PachydermError:
            answer.close()
            raise
        return answer

    def _remember(self, answer: _Answer) -> None:
        length = answer.getheader("Content-Length")
        self._length = int(length) if length is not None and length.isdigit() else None
        tag = answer.getheader("ETag")
        # A weak tag says that two bodies mean the same, not that their bytes are the same.
        self._validator = tag if tag and not tag.startswith("W/") else answer.getheader("Last-Modified")

    def _skip(self, answer: _Answer) -> None:
        """Reads the beginning again, which must be what it was."""
        digest, missing = hashlib.blake2b(), self._taken
        while missing:
            data = self._bytes_of(answer, min(missing, _SKIPPED_BYTES))
            if not data:
                raise self._changed()
            digest.update(data)
            missing -= len(data)
        if digest.digest() != self._digest.digest():
            raise self._changed()

    def _bytes_of(self, answer: _Answer, size: int) -> bytes:
        try:
            return answer.read(size)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(f"stopped answering: {error}") from error

    def _open(self, headers: Mapping[str, str]) -> _Answer:
        try:
            answer: _Answer = urllib.request.urlopen(self._request(headers), timeout=_TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == _PAST_END and headers:
                raise self._changed() from error
            if error.code in _PASSING:
                raise self._unreachable(f"answered {error.code} {error.reason}") from error
            raise InvalidError("source-unreadable", f"{self._url} answered {error.code} {error.reason}; check the URL and what it asks of a reader") from error
        except urllib.error.URLError as error:
            raise self._unreachable(f"does not answer: {error.reason}") from error
        except (ValueError, http.client.InvalidURL) as error:
            raise InvalidError("source-unreadable", f"{self._url} cannot be asked for: {error}") from error
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(f"does not answer: {error}") from error
        encoding = (answer.getheader("Content-Encoding") or "").strip().lower()
        if encoding not in _WHOLE and not urlsplit(self._url).path.lower().endswith(_PACKED):
            answer.close()
            again = f"curl --compressed {self._url} | pachctl put file REPO@BRANCH:/PATH"
            raise InvalidError("source-unreadable", f"{self._url} comes encoded with {encoding} although it was asked for as it is; try {again}")
        return answer

    def _request(self, headers: Mapping[str, str]) -> urllib.request.Request:
        request = urllib.request.Request(self._url, headers={"Accept-Encoding": "identity", **headers})
        if self._authorization is not None:
            # Not for a host that this one redirects to.
            request.add_unredirected_header("Authorization", self._authorization)
        return request

    def _unreachable(self, what: str) -> UnreachableError:
        return UnreachableError("source-unreachable", f"{self._url} {what}; try again")

    def _changed(self) -> ConflictError:
        return ConflictError("source-changed", f"{self._url} became another file after {self._taken:,} bytes of it were read; put it again")


@contextlib.contextmanager
def open_http(url: str, transfers: Transfers = DEFAULT) -> Iterator[HttpDownload]:
    """The body of a URL."""
    with contextlib.closing(HttpDownload(url, transfers)) as download:
        yield download
