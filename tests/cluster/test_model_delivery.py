"""Models that a Deployment serves: delivered on a real cluster, by an account with the guide's rights, while clients ask for answers without a pause."""

import contextlib
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from kubernetes import client

from pachyderm_dagster.integration import served_model
from pachyderm_dagster.workspace import open_workspace
from tests.cluster.images import WORKER
from tests.cluster.pods import Namespace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
GUIDE = Path(__file__).parents[2] / "docs/guides/model-delivery.md"
ACCOUNT = "pachyderm-dagster-run"
KEY = dg.AssetKey(["served", "recommender"])
# The body of an answer is what it serves. A model whose name begins so cannot be loaded.
SERVER = """
import http.server, os, signal, sys, threading

model = os.environ["MODEL"]
if model.startswith("bad"):
    sys.exit(f"no model can be loaded from {model}")

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(model.encode())

    def log_message(self, *words):
        pass

class Server(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = False, 128

server = Server(("", 8080), Answer)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
"""


def documents(kind: str) -> Any:
    """The object of this kind in the guide."""
    blocks = [block.partition("```")[0] for block in GUIDE.read_text().split("```yaml\n")[1:]]
    (found,) = [one for block in blocks for one in yaml.safe_load_all(block) if one.get("kind") == kind]
    return found


def deployment() -> Any:
    """The guide's, with a server that can be had here."""
    made = documents("Deployment")
    pod = made["spec"]["template"]["spec"]
    pod["containers"][0] |= {"image": WORKER, "args": ["-c", SERVER], "imagePullPolicy": "Never", "env": [{"name": "MODEL", "value": "nothing yet"}]}
    made["spec"]["progressDeadlineSeconds"] = 60
    return made


@pytest.fixture
def url(namespace: Namespace, api: client.ApiClient, image: Callable[[str], str]) -> str:
    """A Deployment that serves, behind a Service."""
    image(WORKER)
    client.AppsV1Api(api).create_namespaced_deployment(namespace.name, deployment())
    ports = {"ports": [{"port": 80, "targetPort": 8080}], "selector": {"app": "recommender"}}
    service = namespace.core.create_namespaced_service(namespace.name, {"metadata": {"name": "recommender"}, "spec": ports})
    namespace._wait(client.AppsV1Api(api).list_namespaced_deployment, lambda one: one.status.available_replicas == 2)
    return f"http://{service.spec.cluster_ip}/"


@pytest.fixture
def account(namespace: Namespace, api: client.ApiClient, kubeconfig: Path, tmp_path: Path) -> Path:
    """A kubeconfig of an account with the rights of the guide."""
    rights = client.RbacAuthorizationV1Api(api)
    namespace.core.create_namespaced_service_account(namespace.name, {"metadata": {"name": ACCOUNT}})
    rights.create_namespaced_role(namespace.name, documents("Role"))
    binding = documents("RoleBinding")
    assert binding["subjects"][0]["name"] == ACCOUNT
    binding["subjects"][0]["namespace"] = namespace.name
    rights.create_namespaced_role_binding(namespace.name, binding)
    token = namespace.core.create_namespaced_service_account_token(ACCOUNT, namespace.name, {"spec": {"expirationSeconds": 3600}}).status.token
    found = yaml.safe_load(kubeconfig.read_text())
    for user in found["users"]:
        user["user"] = {"token": token}
    target = tmp_path / "kubeconfig"
    target.write_text(json.dumps(found))
    return target


@pytest.fixture
def environ(account: Path, namespace: Namespace, tmp_path: Path) -> dict[str, str]:
    return {"PACHYDERM_HOME": str(tmp_path / "home"), "KUBECONFIG": str(account), "PACHYDERM_KUBERNETES_NAMESPACE": namespace.name}


@dataclass
class Load:
    """Clients that ask one after the other, each time on a new connection, until they are told to end."""

    url: str
    answers: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        while not self._ended.is_set():
            try:
                with urllib.request.urlopen(self.url, timeout=20) as answer:
                    self.answers.append(answer.read().decode())
            except OSError as error:
                self.failures.append(f"{time.monotonic():.3f} {error!r}")

    @contextlib.contextmanager
    def running(self, clients: int = 4) -> Iterator["Load"]:
        threads = [threading.Thread(target=self.ask) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()


def commit(environ: dict[str, str], description: str) -> str:
    """Writes a model; returns the id of its commit."""
    workspace = open_workspace(environ)
    try:
        with contextlib.suppress(Exception):
            workspace.pfs.create_repo("model")
        with workspace.pfs.modify_file("model@master", description=description) as changes:
            changes.put_bytes("/model", description.encode())
        return workspace.pfs.inspect_commit("model@master").id
    finally:
        workspace.close()


def asset(environ: dict[str, str]) -> dg.AssetsDefinition:
    return served_model("model", deployment="recommender", env="MODEL", value=lambda commit: f"{commit.description} {commit.id}", environ=environ, timeout="2m")


def materialize(environ: dict[str, str], instance: dg.DagsterInstance, **tags: str) -> dg.ExecuteInProcessResult:
    return dg.materialize([asset(environ)], instance=instance, tags=tags, raise_on_error=False)


def served(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        text: str = answer.read().decode()
        return text


def wait_served(url: str, answer: str) -> None:
    """Until nothing else is answered: a pod that is told to end serves what still comes to it."""
    deadline = time.monotonic() + 30
    while (found := {served(url) for _ in range(20)}) != {answer}:
        assert time.monotonic() < deadline, f"{found} in place of {answer!r}"


def test_each_new_model_is_served_and_no_request_fails_meanwhile(url: str, environ: dict[str, str], namespace: Namespace) -> None:
    with dg.DagsterInstance.ephemeral() as instance, Load(url).running() as load:
        commits = []
        for name in ("first", "second"):
            commits.append(commit(environ, name))
            assert materialize(environ, instance).success
            wait_served(url, f"{name} {commits[-1]}")
        event = instance.get_latest_materialization_event(KEY)
        # The way back by hand: a run that pins an older commit.
        assert materialize(environ, instance, **{"pachyderm/input.default.model": commits[0]}).success
        wait_served(url, f"first {commits[0]}")
    assert load.failures == []
    assert len(load.answers) > 100 and set(load.answers) == {"nothing yet", f"first {commits[0]}", f"second {commits[1]}"}
    assert event is not None and event.asset_materialization is not None
    told = {key: value.value for key, value in event.asset_materialization.metadata.items()}
    assert told["pachyderm/commit"] == f"model@{commits[1]}"
    assert told["pachyderm/deployment"] == f"{namespace.name}/recommender"
    assert (told["pachyderm/image"], told["pachyderm/revision"], told["pachyderm/pods"]) == (WORKER, "3", 2)
    assert (told["pachyderm/value"], told["pachyderm/value_before"]) == (f"second {commits[1]}", f"first {commits[0]}")


def test_model_that_does_not_load_is_taken_back_and_nobody_notices(url: str, environ: dict[str, str], namespace: Namespace) -> None:
    with dg.DagsterInstance.ephemeral() as instance, Load(url).running() as load:
        good = commit(environ, "good")
        assert materialize(environ, instance).success
        bad = commit(environ, "bad")
        result = materialize(environ, instance)
        assert served(url) == f"good {good}"
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    said = failure.step_failure_data.user_failure_data.description  # type: ignore[union-attr]
    assert said is not None
    assert f"no model can be loaded from bad {bad}" in said
    assert f"rolled back: MODEL is good {good} again [rollout-failed]" in said
    assert load.failures == []
    assert set(load.answers) == {"nothing yet", f"good {good}"}
    pods = namespace.core.list_namespaced_pod(namespace.name, label_selector="app=recommender").items
    assert {entry.value for pod in pods if pod.metadata.deletion_timestamp is None for entry in pod.spec.containers[0].env} == {f"good {good}"}


def test_account_without_the_rights_is_told_which_one_is_missing(url: str, environ: dict[str, str], namespace: Namespace, api: client.ApiClient) -> None:
    commit(environ, "first")
    client.RbacAuthorizationV1Api(api).patch_namespaced_role("deliver-recommender", namespace.name, {"rules": []})
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize(environ, instance)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert 'cannot get resource "deployments"' in str(failure.step_failure_data)
    assert "cluster-denied" in str(failure.step_failure_data)
    assert served(url) == "nothing yet"
