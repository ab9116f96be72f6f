"""What is said where an API server should be."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pachyderm_dagster.errors import InvalidError, UnreachableError
from pachyderm_dagster.executors.kubernetes.cluster import PODS, Cluster
from pachyderm_dagster.executors.kubernetes.watching import Watched
from pachyderm_dagster.settings import KubernetesSettings

CONFIG = {
    "current-context": "a",
    "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    "users": [{"name": "a", "user": {}}],
}
NO_SERVERS: tuple[dict[str, object], ...] = ({}, {"server": 12}, {"server": "cluster.lab"})


class Page(BaseHTTPRequestHandler):
    """A page of a proxy, first; then a list of no pods, and nothing more."""

    protocol_version = "HTTP/1.1"
    answers: Iterator[bytes]

    def do_GET(self) -> None:
        body = next(self.answers, b"")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    listed = json.dumps({"metadata": {"resourceVersion": "1"}, "items": []}).encode()
    Page.answers = iter([b"<html>please sign in", listed])
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        (tmp_path / "kubeconfig").write_text(json.dumps(CONFIG | with_cluster({"server": f"http://127.0.0.1:{server.server_port}"})))
        yield known_from(tmp_path / "kubeconfig")
        server.shutdown()
        thread.join()


def with_cluster(cluster: dict[str, object]) -> dict[str, object]:
    return {"clusters": [{"name": "a", "cluster": cluster}]}


def known_from(kubeconfig: Path) -> Cluster:
    return Cluster(KubernetesSettings(str(kubeconfig), "", "lab", "worker:1", "Never", "", "default"))


def test_answer_of_no_api_server_says_so(cluster: Cluster) -> None:
    with pytest.raises(UnreachableError, match="is no API server: it said b'<html>please sign in'; check KUBECONFIG"):
        cluster.list(PODS)


def test_watch_outlives_an_answer_of_no_api_server(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachyderm_dagster.executors.kubernetes.watching.RETRY_SECONDS", 0.01)
    changed = threading.Event()
    with Watched(cluster, PODS, "", changed.set) as pods:
        assert changed.wait(10)
        assert pods.objects() == []


NO_KUBECONFIGS = [b"", b"a: [", b"[]", b'"text"', b"\xff\xfe", b"apiVersion: v1", *(json.dumps(CONFIG | with_cluster(one)).encode() for one in NO_SERVERS)]


@pytest.mark.parametrize("content", NO_KUBECONFIGS)
def test_file_that_is_no_kubeconfig_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_bytes(content)
    with pytest.raises(InvalidError, match=f"from the kubeconfig {tmp_path}/kubeconfig: .*; set KUBECONFIG") as raised:
        known_from(tmp_path / "kubeconfig")
    assert raised.value.code == "config-invalid"


def test_folder_is_no_kubeconfig(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="Is a directory"):
        known_from(tmp_path)
