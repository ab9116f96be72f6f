"""Secrets as they are written for Kubernetes, read strictly; no message shows a value."""

import base64
import binascii
import datetime as dt
from typing import Any

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pps.documents import read_documents
from pachyderm_dagster.pps.secret_store import Secret

_KNOWN = ("apiVersion", "kind", "metadata", "type", "data", "stringData", "immutable")


def parse_secrets(text: str, *, source: str, now: dt.datetime) -> list[Secret]:
    """The secrets of a text: JSON or YAML, one or several. `data` holds base64, `stringData` text, which wins; the rest of `metadata` but the name is left out.

    Raises:
        InvalidError: `secret-invalid`, naming the source and what is wrong, not what is there.
    """
    try:
        documents = read_documents(text, source)
    except InvalidError:
        # Its message may show some of the text.
        raise InvalidError("secret-invalid", f"{source}: no JSON or YAML of a Kubernetes secret; write kind, metadata.name and data or stringData") from None
    return [_read(document, source, now) for document in documents]


def _read(document: Any, source: str, now: dt.datetime) -> Secret:
    if not isinstance(document, dict):
        raise InvalidError("secret-invalid", f"{source}: a secret is an object with kind, metadata.name and data or stringData")
    if document.get("kind", "Secret") != "Secret" or document.get("apiVersion", "v1") != "v1":
        raise InvalidError("secret-invalid", f"{source}: it is no secret: apiVersion is not v1, or kind not Secret")
    for field in document:
        if field not in _KNOWN:
            raise InvalidError("secret-invalid", f"{source}: {field!r} is no field of a secret; it has {', '.join(_KNOWN)}")
    name = _object(document, "metadata", source).get("name")
    if not isinstance(name, str):
        raise InvalidError("secret-invalid", f"{source}: metadata.name is missing; it names the secret")
    data = {key: _decoded(key, value, source) for key, value in _object(document, "data", source).items()}
    for key, value in _object(document, "stringData", source).items():
        if not isinstance(value, str):
            raise InvalidError("secret-invalid", f"{source}: stringData.{key} is no text; put it in quotes")
        data[key] = value.encode()
    return Secret(name=name, created=now, data=data, type=str(document.get("type") or "Opaque"))


def _object(document: dict[str, Any], field: str, source: str) -> dict[str, Any]:
    found = document.get(field) or {}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise InvalidError("secret-invalid", f"{source}: {field} is no object with keys")
    return found


def _decoded(key: str, value: Any, source: str) -> bytes:
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError, AttributeError):
        raise InvalidError("secret-invalid", f"{source}: data.{key} is not base64; give the text itself under stringData") from None
