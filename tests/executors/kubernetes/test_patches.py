"""What users change of pods. That a merge patch does what RFC 7396 says is in tests/pps/test_effective.py."""

import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.executors.kubernetes.patches import patched_pod


def test_merge_comes_before_the_patch_and_neither_changes_what_it_was_given() -> None:
    pod = {"containers": [{"name": "user"}]}
    patched = patched_pod(
        pod, pod_spec='{"nodeName": "a"}', pod_patch='[{"op": "test", "path": "/nodeName", "value": "a"}, {"op": "remove", "path": "/containers"}]'
    )
    assert (patched, pod) == ({"nodeName": "a"}, {"containers": [{"name": "user"}]})


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (
            '{"op": "test", "path": "/containers/0/name", "value": "other"}',
            "'test /containers/0/name', cannot be applied: the pod has not the value that it tests",
        ),
        ('{"op": "add", "path": "/no/such", "value": 1}', "'add /no/such', cannot be applied: the pod has no such place"),
        ('{"op": "test", "path": "/containers/0/no/such", "value": 1}', "'test /containers/0/no/such', cannot be applied: the pod has no"),
        ('{"op": "replace", "path": "/nothing", "value": 1}', "'replace /nothing', cannot be applied: the pod has no such place"),
        ('{"op": "remove", "path": "/containers/7"}', "'remove /containers/7', cannot be applied: the pod has no such place"),
        ('{"op": "move", "from": "/no/such", "path": "/nodeName"}', "'move /nodeName', cannot be applied: the pod has no such place"),
        ('{"op": "shake", "path": "/containers"}', "'shake /containers', cannot be applied: it is no operation of RFC 6902"),
        ('{"path": "/containers"}', "'/containers', cannot be applied: it is no operation of RFC 6902"),
        ("7", "'7', cannot be applied: it is no operation of RFC 6902"),
    ],
)
def test_operation_that_cannot_be_applied_is_named_without_the_pod(operation: str, words: str) -> None:
    pod = {"containers": [{"name": "user", "image": "whole-pod"}]}
    with pytest.raises(InvalidError, match=r"\[pod-patch-invalid\]") as raised:
        patched_pod(pod, pod_spec="", pod_patch=f'[{{"op": "add", "path": "/nodeName", "value": "a"}}, {operation}]')
    assert f"operation 2 of pod_patch, {words}" in str(raised.value)
    assert "whole-pod" not in str(raised.value)
