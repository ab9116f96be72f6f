"""What is said where an API server should be."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pachyderm_dagster.errors import UnreachableError
from pachyderm_dagster.executors.kubernetes.cluster import PODS, Cluster
from pachyderm_dagster.executors.kubernetes.watching import Watched
from pachyderm_dagster.settings import KubernetesSettings


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
        named = {"cluster": {"server": f"http://127.0.0.1:{server.server_port}"}, "context": {"cluster": "a", "user": "a"}, "user": {}}
        config = {"current-context": "a", **{f"{kind}s": [{"name": "a", kind: said}] for kind, said in named.items()}}
        (tmp_path / "kubeconfig").write_text(json.dumps(config))
        yield Cluster(KubernetesSettings(str(tmp_path / "kubeconfig"), "", "lab", "worker:1", "Never", "", "default"))
        server.shutdown()
        thread.join()


def test_answer_of_no_api_server_says_so(cluster: Cluster) -> None:
    with pytest.raises(UnreachableError, match="is no API server: it said b'<html>please sign in'; check KUBECONFIG"):
        cluster.list(PODS)


def test_watch_outlives_an_answer_of_no_api_server(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachyderm_dagster.executors.kubernetes.watching.RETRY_SECONDS", 0.01)
    changed = threading.Event()
    with Watched(cluster, PODS, "", changed.set) as pods:
        assert changed.wait(10)
        assert pods.objects() == []
