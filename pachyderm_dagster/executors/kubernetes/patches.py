"""`pod_spec` and `pod_patch` of a specification: what users change of the pods that we make."""

from typing import Any, TypeAlias

import jsonpatch
import msgspec

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pps.effective import merge_patch

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
        try:
            pod = jsonpatch.JsonPatch(operations).apply(pod)
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError) as error:
            problem = f"pod_patch cannot be applied to the pod: {error}"
            raise InvalidError("pod-patch-invalid", f"{problem}; user code is in /containers/0, the worker beside it in /initContainers/1") from error
    if not isinstance(pod, dict):
        raise InvalidError("pod-patch-invalid", "pod_patch replaces the whole pod by something else; let its paths begin below it, as /containers/0")
    return pod


def _read(field: str, text: str, kind: type, wanted: str) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise InvalidError("pod-patch-invalid", f"{field} is not {wanted}: {error}") from error
