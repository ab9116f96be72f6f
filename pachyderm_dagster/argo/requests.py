"""Templates that are requests: sent from here, not from a pod."""

import asyncio
import base64
import binascii
import ssl
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.message import Message

from pachyderm_dagster.argo.calls import Call
from pachyderm_dagster.argo.library import Library
from pachyderm_dagster.argo.node_table import NodeTable
from pachyderm_dagster.argo.nodes import Node, NodeOutputs, NodeType, Phase
from pachyderm_dagster.argo.secret_keys import find_secret
from pachyderm_dagster.argo.tags import Scope, evaluate_in, replace_in
from pachyderm_dagster.argo.templates import Http, HttpHeader
from pachyderm_dagster.argo.waits import Waits
from pachyderm_dagster.errors import InvalidError, PachydermError

MOST_BYTES = 256 * 1024
_SCHEMES = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a request."""

    status: int
    headers: Mapping[str, str]
    body: str


Send = Callable[[Http, Mapping[str, str]], Awaitable[Answered]]
"""Sends a request with headers."""


def body_of(http: Http) -> bytes:
    """What a request sends.

    Raises:
        InvalidError: `request-invalid`, for bytes that are not in base64.
    """
    if http.body_from is None:
        return http.body.encode()
    try:
        return base64.b64decode(http.body_from.bytes, validate=True)
    except binascii.Error as error:
        raise InvalidError("request-invalid", f"the bytes of 'bodyFrom' are not in base64: {error}; write them so, or text as 'body'") from error


async def send(http: Http, headers: Mapping[str, str]) -> Answered:
    """Sends a request. Any status is an answer.

    Raises:
        OSError: when there is none.
        InvalidError: `request-invalid`.
    """
    return await asyncio.to_thread(_send, http, headers)


def _send(http: Http, headers: Mapping[str, str]) -> Answered:
    request = urllib.request.Request(http.url, data=body_of(http) or None, headers=dict(headers), method=http.method.upper())
    context = ssl._create_unverified_context() if http.insecure_skip_verify else None  # noqa: SLF001  it was asked for
    try:
        with urllib.request.urlopen(request, timeout=http.timeout_seconds, context=context) as response:
            return _answered(response.status, response.headers, response.read(MOST_BYTES))
    except urllib.error.HTTPError as error:
        return _answered(error.code, error.headers, error.read(MOST_BYTES))


def _answered(status: int, headers: Message, body: bytes) -> Answered:
    return Answered(status, dict(headers.items()), body.decode("utf-8", "replace"))


async def no_network(http: Http, _headers: Mapping[str, str]) -> Answered:
    """Refuses every request."""
    raise InvalidError("network-not-allowed", f"{http.url} is asked for, and the workflow was submitted without a network; submit it with --network")


async def run_request(call: Call, scope: Scope, *, table: NodeTable, waits: Waits, library: Library, send: Send) -> Node:
    """Sends the request of a call, and tells what came of it."""
    node = table.begin(call, NodeType.HTTP)
    assert call.template.http is not None
    http = replace_in(call.template.http, Http, scope, last=True)
    try:
        if not http.url.startswith(_SCHEMES):
            raise InvalidError("url-invalid", f"{http.url!r} is no address of a request; write it with http:// or https://")
        with waits.busy():
            answered = await send(http, _headers(http, library))
        is_success = _is_success(http, answered, scope)
    except PachydermError as error:
        return table.end(node, Phase.ERROR, error.message)
    except OSError as error:
        return table.end(node, Phase.FAILED, f"{http.url} gave no answer: {error}")
    outputs = NodeOutputs(result=answered.body)
    if is_success:
        return table.end(node, Phase.SUCCEEDED, "", outputs)
    return table.end(node, Phase.FAILED, f"{http.url} answered with the status {answered.status}", outputs)


def _headers(http: Http, library: Library) -> dict[str, str]:
    return {one.name: _value(one, library) for one in http.headers}


def _value(header: HttpHeader, library: Library) -> str:
    if header.value_from is None:
        return header.value or ""
    return find_secret(header.value_from.secret_key_ref, library.secrets) or ""


def _is_success(http: Http, answered: Answered, scope: Scope) -> bool:
    if not http.success_condition:
        return answered.status // 100 == 2
    values = {
        "request": {"method": http.method, "url": http.url, "body": http.body},
        "response": {"statusCode": answered.status, "body": answered.body, "headers": dict(answered.headers)},
    }
    return evaluate_in(scope.with_nested(values), http.success_condition) is True
