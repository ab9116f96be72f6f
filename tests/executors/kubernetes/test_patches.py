"""What users change of pods. That a merge patch does what RFC 7396 says is in tests/pps/test_effective.py."""

from pachyderm_dagster.executors.kubernetes.patches import patched_pod


def test_merge_comes_before_the_patch_and_neither_changes_what_it_was_given() -> None:
    pod = {"containers": [{"name": "user"}]}
    patched = patched_pod(
        pod, pod_spec='{"nodeName": "a"}', pod_patch='[{"op": "test", "path": "/nodeName", "value": "a"}, {"op": "remove", "path": "/containers"}]'
    )
    assert (patched, pod) == ({"nodeName": "a"}, {"containers": [{"name": "user"}]})
