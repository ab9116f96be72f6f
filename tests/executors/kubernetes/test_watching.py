"""Objects that are followed."""

import threading
from pathlib import Path

import pytest

from pachyderm_dagster.executors.kubernetes import cluster
from pachyderm_dagster.executors.kubernetes.cluster import PODS, Cluster
from pachyderm_dagster.executors.kubernetes.watching import Watched
from pachyderm_dagster.settings import KubernetesSettings
from tests.executors.kubernetes.api_server import ApiServer, Manifest


def pod(name: str, labels: dict[str, str]) -> Manifest:
    return {
        "metadata": {"name": name, "labels": labels, "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}]},
        "spec": {"nodeName": "a", "containers": [{"name": "user", "image": "busybox", "env": [{"name": "A", "value": "x" * 1000}]}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "user", "state": {"running": {}}, "imageID": "sha256:1", "restartCount": 2}]},
    }


def test_pods_of_many_pages_are_followed_without_what_nobody_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PAGE", 2)
    changed = threading.Event()
    with ApiServer(tmp_path) as server:
        for number in range(5):
            server.put(PODS, pod(f"a-{number}", {"job": "a"}))
        server.put(PODS, pod("b-0", {"job": "b"}))
        settings = KubernetesSettings(str(server.kubeconfig), "", "lab", "worker:1", "Never", "", "default")
        with Watched(Cluster(settings), PODS, "job=a", changed.set) as watched:
            assert changed.wait(30)
            listed = watched.objects()
            assert listed is not None
            assert [found["metadata"]["name"] for found in listed] == [f"a-{number}" for number in range(5)]
            assert server.asked.count(("GET", PODS)) == 3
            changed.clear()
            server.put(PODS, pod("a-5", {"job": "a"}))
            assert changed.wait(30)
            found = watched.find("a-5")
    for kept in (*listed, found):
        assert kept is not None
        assert kept["spec"] == {"containers": [{"name": "user"}]}
        assert kept["status"]["containerStatuses"] == [{"name": "user", "state": {"running": {}}, "restartCount": 2}]
        assert "managedFields" not in kept["metadata"]
