"""Merge patches, by the examples of RFC 7396."""

from typing import Any

import pytest

from pachyderm_dagster.executors.kubernetes.patches import merge, patched_pod


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_does_what_the_standard_says(target: Any, patch: Any, merged: Any) -> None:
    assert merge(target, patch) == merged


def test_merge_comes_before_the_patch_and_neither_changes_what_it_was_given() -> None:
    pod = {"containers": [{"name": "user"}]}
    patched = patched_pod(
        pod, pod_spec='{"nodeName": "a"}', pod_patch='[{"op": "test", "path": "/nodeName", "value": "a"}, {"op": "remove", "path": "/containers"}]'
    )
    assert (patched, pod) == ({"nodeName": "a"}, {"containers": [{"name": "user"}]})
