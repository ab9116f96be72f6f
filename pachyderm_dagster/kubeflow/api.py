"""The API server of Kubeflow Pipelines (v2beta1) over HTTP: what is used of it, without its client package."""

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from pachyderm_dagster.errors import InvalidError, NotFoundError, UnreachableError

_ROOT = "/apis/v2beta1"
_SECONDS = 60
_NOT_FOUND = 404
# What a server says when it is the moment that is wrong and not the question.
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_SHOWN = 500
Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KubeflowApi:
    """One API server.

    Args:
        endpoint: its URL, with the path below which `/apis` is, if there is one.
        token: that authorizes requests; empty for none.
        token_file: where a token is that changes, as the one that a cluster gives pods; read for each request.
        namespace: of runs, where the server serves several people.
    """

    endpoint: str
    token: str = field(default="", repr=False)
    token_file: str = ""
    namespace: str = ""

    def create_run(self, run: Document) -> Document:
        """Starts a run (V2beta1Run) and returns it. Errors as `_call`."""
        return self._call("POST", "/runs", body=run)

    def get_run(self, run_id: str) -> Document:
        """A run. Errors as `_call`."""
        return self._call("GET", f"/runs/{urllib.parse.quote(run_id)}")

    def terminate_run(self, run_id: str) -> None:
        """Asks for the end of a run, which it reaches later. Errors as `_call`."""
        self._call("POST", f"/runs/{urllib.parse.quote(run_id)}:terminate")

    def list_run(self, name: str) -> list[Document]:
        """Runs of that name, the newest first. Errors as `_call`."""
        query = {**self._scope(), "sort_by": "created_at desc", "filter": _filter(name)}
        found: list[Document] = self._call("GET", "/runs", query=query).get("runs", [])
        return found

    def ensure_experiment(self, name: str) -> str:
        """The id of an experiment, which is made when there is none of that name. Errors as `_call`."""
        listed: Sequence[Document] = self._call("GET", "/experiments", query={**self._scope(), "filter": _filter(name)}).get("experiments", [])
        found = listed[0] if listed else self._call("POST", "/experiments", body={"display_name": name, **self._scope()})
        return str(found["experiment_id"])

    def _scope(self) -> dict[str, str]:
        return {"namespace": self.namespace} if self.namespace else {}

    def _call(self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Document | None = None) -> Document:
        """Asks the server.

        Raises:
            NotFoundError: `kubeflow-not-found`.
            InvalidError: `kubeflow-refused`, with what the server says.
            UnreachableError: `kubeflow-unreachable`.
        """
        url = f"{self.endpoint.rstrip('/')}{_ROOT}{path}{'?' + urllib.parse.urlencode(query) if query else ''}"
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", **({"Content-Type": "application/json"} if data else {}), **self._authorization()}
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=_SECONDS) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise _refused(f"{method} {path}", error.code, error.read().decode(errors="replace")) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UnreachableError("kubeflow-unreachable", f"the API server of Kubeflow at {self.endpoint} does not answer: {error}; check its URL") from error
        try:
            found: Document = json.loads(text or b"{}")
        except ValueError as error:
            raise UnreachableError(
                "kubeflow-unreachable", f"what answers at {self.endpoint} is no API server of Kubeflow: {text[:60]!r}; where people log in, give a token"
            ) from error
        return found

    def _authorization(self) -> dict[str, str]:
        token = self.token
        if self.token_file:
            try:
                token = Path(self.token_file).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise InvalidError("kubeflow-refused", f"the token in {self.token_file} cannot be read: {error.strerror}; name another file") from error
        return {"Authorization": f"Bearer {token}"} if token else {}


def _filter(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _refused(what: str, status: int, text: str) -> InvalidError | NotFoundError | UnreachableError:
    try:
        said = str(json.loads(text).get("message") or text)
    except (ValueError, AttributeError):
        said = text
    said = said.strip()[:_SHOWN] or "nothing"
    if status == _NOT_FOUND:
        return NotFoundError("kubeflow-not-found", f"Kubeflow does not know what {what} asks for: {said}")
    if status in _PASSING:
        return UnreachableError("kubeflow-unreachable", f"the API server of Kubeflow answers {what} with status {status}: {said}; try again")
    return InvalidError("kubeflow-refused", f"Kubeflow refuses {what} with status {status}: {said}")
