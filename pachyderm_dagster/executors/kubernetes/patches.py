"""`pod_spec` and `pod_patch` of a specification: what users change of the pods that we make."""

from typing import Any, TypeAlias

import jsonpatch
import msgspec

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pps.merge_patches import merge_patch

Manifest: TypeAlias = dict[str, Any]


def patched_pod(pod: Manifest, *, pod_spec: str, pod_patch: str) -> Manifest:
    """The spec of a pod after a merge patch and then a patch (RFC 6902), each empty for none.

    Raises:
        InvalidError: `pod-patch-invalid`.
    """
    if pod_spec:
        pod = merge_patch(pod, _read("pod_spec", pod_spec, dict, 'an object, such as {"nodeName": "a"}'))
    if pod_patch:
        operations = _read("pod_patch", pod_patch, list, 'an array of operations, such as [{"op": "add", "path": "/nodeName", "value": "a"}]')
        for number, operation in enumerate(operations, 1):
            pod = _operated(pod, number, operation)
    if not isinstance(pod, dict):
        raise InvalidError("pod-patch-invalid", "pod_patch replaces the whole pod by something else; let its paths begin below it, as /containers/0")
    return pod


def _operated(pod: Any, number: int, operation: Any) -> Any:
    """A pod after one operation of a patch. What jsonpatch says may hold the whole pod, which is nothing for a line."""
    try:
        return jsonpatch.JsonPatch([operation]).apply(pod)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError) as error:
        raise InvalidError("pod-patch-invalid", _why_not_operated(number, operation, error)) from error


def _why_not_operated(number: int, operation: Any, error: Exception) -> str:
    match error:
        case jsonpatch.JsonPatchTestFailed():
            why = "the pod has not the value that it tests"
        case jsonpatch.JsonPatchConflict() | jsonpatch.JsonPointerException():
            why = "the pod has no such place"
        case _:
            why = "it is no operation of RFC 6902"
    what = " ".join(str(operation[key]) for key in ("op", "path") if key in operation) if isinstance(operation, dict) else str(operation)
    problem = f"operation {number} of pod_patch, {what!r}, cannot be applied: {why}"
    return f"{problem}; user code is in /containers/0, the worker beside it in /initContainers/1"


def _read(field: str, text: str, kind: type, wanted: str) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise InvalidError("pod-patch-invalid", f"{field} is not {wanted}: {error}") from error
