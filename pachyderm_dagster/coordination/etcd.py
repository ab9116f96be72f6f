"""A client of etcd 3.4 and newer over its JSON gateway: any of several members, restarts waited for, tokens renewed."""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import requests
from etcd3gw.client import Etcd3Client
from etcd3gw.exceptions import ConnectionFailedError, ConnectionTimeoutError, Etcd3Exception
from requests.adapters import HTTPAdapter

from pachyderm_dagster.coordination import etcd_messages as m
from pachyderm_dagster.coordination.etcd_address import EtcdAddress
from pachyderm_dagster.coordination.etcd_messages import KeyValue, Message
from pachyderm_dagster.errors import StorageError, UnreachableError

T = TypeVar("T")

REQUEST_SECONDS = 5.0
_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_CONNECTIONS = 32
# Of gRPC: https://grpc.io/docs/guides/status-codes/
_INVALID_ARGUMENT, _NOT_FOUND, _PERMISSION_DENIED, _UNAVAILABLE, _UNAUTHENTICATED = 3, 5, 7, 14, 16


class LeaseGone(Exception):
    """The lease of etcd that was named has ended."""


class Etcd:
    """Calls of etcd's gateway, from any thread; a forked process has connections of its own.

    A call may be done twice when its answer is lost, so a caller says with conditions what must not be.
    Calls raise UnreachableError (`coordination-unreachable`) and StorageError (`coordination-denied`).
    """

    def __init__(self, address: EtcdAddress) -> None:
        self.address = address
        self._opening = threading.Lock()
        self._members: list[Etcd3Client] = []
        self._process = 0
        self._first = 0

    def find(self, key: str) -> KeyValue | None:
        """A key as it is; None when it is not there."""
        found = m.key_values(self.call("kv/range", m.range_of(key)))
        return found[0] if found else None

    def change(self, transaction: Message) -> Message:
        """Does a transaction.

        Raises:
            LeaseGone: when it puts a key under a lease that has ended.
        """
        return self.call("kv/txn", transaction)

    def grant(self, seconds: int) -> int:
        """A new lease, which lives so long or, where that is less than etcd's least, a little longer."""
        return int(self.call("lease/grant", {"TTL": str(seconds), "ID": "0"})["ID"])

    def keep_alive(self, lease: int) -> int:
        """Lets a lease live once more as long as it was granted for: so many seconds; 0 when it has ended."""
        return int(self.call("lease/keepalive", {"ID": str(lease)})["result"].get("TTL", 0))

    def revoke(self, lease: int) -> None:
        """Ends a lease and removes its keys; nothing happens when it has ended."""
        with contextlib.suppress(LeaseGone):
            self.call("lease/revoke", {"ID": str(lease)})

    def call(self, method: str, body: Message, *, patience_seconds: float | None = None) -> Message:
        """Asks the member that answered last, then the others, again and again until one answers or patience ends."""
        patience = self.address.patience_seconds if patience_seconds is None else patience_seconds
        return self._with_members(lambda member: self._ask(member, method, body), patience)

    @contextlib.contextmanager
    def stream(self, method: str, body: Message, *, quiet_seconds: float) -> Iterator[requests.Response]:
        """An answer that goes on, line by line; reading it raises `requests.RequestException` when nothing comes for so long, or the member goes.

        No patience: whoever reads opens it again.
        """

        def ask(member: Etcd3Client) -> requests.Response:
            answer: requests.Response = member.session.post(member.get_url(method), json=body, stream=True, timeout=(REQUEST_SECONDS, quiet_seconds))
            if answer.status_code != requests.codes["ok"]:
                raise Etcd3Exception(answer.text, answer.reason)
            return answer

        with contextlib.closing(self._with_members(lambda member: self._authenticated(member, ask), 0)) as answer:
            yield answer

    def _with_members(self, ask: Callable[[Etcd3Client], T], patience: float) -> T:
        deadline = time.monotonic() + patience
        pause = _PAUSE_SECONDS
        while True:
            problem = ""
            members = self._opened()
            for number in range(len(members)):
                place = (self._first + number) % len(members)
                try:
                    answer = ask(members[place])
                except (ConnectionFailedError, ConnectionTimeoutError, requests.RequestException) as error:
                    problem = _reason(error)
                    if isinstance(error.__context__, requests.exceptions.SSLError):
                        # What is wrong with a certificate does not pass.
                        raise self._unreachable(problem) from error
                except Etcd3Exception as error:
                    raise self._refusal(error) from error
                else:
                    self._first = place
                    return answer
            if time.monotonic() + pause > deadline:
                raise self._unreachable(problem)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _ask(self, member: Etcd3Client, method: str, body: Message) -> Message:
        def ask(member: Etcd3Client) -> Message:
            answer = member.post(member.get_url(method), json=body)
            if not isinstance(answer, dict):
                raise Etcd3Exception(f"{method} was answered with {str(answer)[:100]!r}")
            if "error" in answer:
                # A method that may have several answers says so behind a status of success.
                failure = Etcd3Exception(json.dumps(answer))
                code, text = _status(failure)
                raise ConnectionFailedError(text) if code == _UNAVAILABLE else failure
            return answer

        return self._authenticated(member, ask)

    def _authenticated(self, member: Etcd3Client, ask: Callable[[Etcd3Client], T]) -> T:
        """Asks as the user of the address, of which etcd forgets the token after some minutes, or when it starts anew."""
        user = self.address.user
        if user is None:
            return ask(member)
        if "Authorization" in member.session.headers:
            try:
                return ask(member)
            except Etcd3Exception as error:
                if not _is_token_lost(error):
                    raise
        # Without the token that is no good any more: with it not even this is answered.
        asked = {"name": user, "password": self.address.password}
        told = member.post(member.get_url("auth/authenticate"), json=asked, headers={"Authorization": None})
        member.session.headers["Authorization"] = told["token"]
        try:
            return ask(member)
        except Etcd3Exception as error:
            if not _is_token_lost(error):
                raise
            # A member that has just started may not know yet what it has promised; that passes.
            raise ConnectionFailedError(_status(error)[1]) from error

    def _opened(self) -> list[Etcd3Client]:
        with self._opening:
            if self._process != os.getpid():
                address = self.address
                session = requests.Session()
                # No proxies and no ~/.netrc: members are reached directly, and the files would be read for every call.
                session.trust_env = False
                session.verify = address.cacert or True
                session.cert = (address.cert, address.key) if address.cert and address.key else None
                session.mount("http://", HTTPAdapter(pool_maxsize=_CONNECTIONS))
                session.mount("https://", HTTPAdapter(pool_maxsize=_CONNECTIONS))
                self._members = [_member(endpoint, session, is_tls=address.is_tls) for endpoint in address.endpoints]
                self._process = os.getpid()
            return self._members

    def _unreachable(self, problem: str) -> UnreachableError:
        return UnreachableError(
            "coordination-unreachable",
            f"etcd does not answer at {', '.join(self.address.endpoints)}: {problem}; check PACHYDERM_COORDINATION_URL and try again",
        )

    def _refusal(self, error: Etcd3Exception) -> Exception:
        code, text = _status(error)
        if code == _NOT_FOUND and "lease not found" in text:
            return LeaseGone(text)
        if code in (_PERMISSION_DENIED, _UNAUTHENTICATED) or "authentication failed" in text or "user name is empty" in text:
            return StorageError(
                "coordination-denied", f"etcd at {self.address} refuses access: {text}; check the user of PACHYDERM_COORDINATION_URL and what it may do"
            )
        return UnreachableError("coordination-unreachable", f"etcd at {self.address} does not do what it is asked for: {text}; look at its log, and try again")


def _member(endpoint: str, session: requests.Session, *, is_tls: bool) -> Etcd3Client:
    host, _, port = endpoint.rpartition(":")
    return Etcd3Client(host.strip("[]"), int(port), "https" if is_tls else "http", timeout=REQUEST_SECONDS, api_path="/v3/", session=session)


def _status(error: Etcd3Exception) -> tuple[int, str]:
    """The code and the text of a refusal; code 0 of what does not speak as etcd does."""
    try:
        said = json.loads(error.detail_text or "")
        # So it is said of a method that may have several answers.
        inner = said["error"] if isinstance(said.get("error"), dict) else said
        # In such a place etcd before 3.6 calls it `grpc_code`.
        return int(inner["code"] if "code" in inner else inner["grpc_code"]), str(inner["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0, f"no answer of etcd, but {(error.detail_text or str(error)).strip()[:100]!r}"


def _is_token_lost(error: Etcd3Exception) -> bool:
    code, text = _status(error)
    return code == _UNAUTHENTICATED or (code == _INVALID_ARGUMENT and "revision of auth store is old" in text)


def _reason(error: Exception) -> str:
    """What is wrong with a connection, in a line: the system's word for it where there is one."""
    below: BaseException | None = error
    system = None
    while below is not None:
        system = (below.strerror if isinstance(below, OSError) else None) or system
        below = below.__cause__ or below.__context__
    said = system or (error.detail_text if isinstance(error, Etcd3Exception) else None) or str(error) or type(error).__name__
    return said.strip().splitlines()[0][:200]
