"""Workflows that act on the Deployments of a home, by `resource` templates and by the `kubectl` of their pods."""

import json
from pathlib import Path
from typing import Any

import pytest

from pachyderm_dagster.argo.driving import run_to_end
from pachyderm_dagster.argo.home_objects import HomeObjects
from pachyderm_dagster.argo.nodes import Node, Phase
from pachyderm_dagster.argo.open_place import open_place
from pachyderm_dagster.argo.runs import Runs
from pachyderm_dagster.clock import ManualClock, SystemClock
from pachyderm_dagster.settings import load_settings
from tests.argo.deployments import DeploymentHome, deployment
from tests.argo.playing import ignore, subject_of

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def home(tmp_path: Path) -> DeploymentHome:
    return DeploymentHome(tmp_path)


def run(home: DeploymentHome, templates: list[dict[str, Any]], *, network: bool = True) -> tuple[dict[str, Node], str]:
    """Runs templates one after the other; the nodes by their templates, and what the pods printed."""
    steps = [[{"name": one["name"], "template": one["name"]}] for one in templates]
    text = "  templates: " + json.dumps([{"name": "main", "steps": steps}, *templates])
    runs = Runs(home.path, objects=lambda: HomeObjects(home.path), place=open_place(load_settings(home.environ)))
    made = runs.create(subject_of(text, {}, ManualClock()), network=network)
    run_to_end(runs, made, SystemClock(), ignore)
    logs = "".join(path.read_text() for path in sorted((made.path / "pods").glob("*/log")))
    return {node.template: node for node in made.nodes().values() if node.template}, logs


def resource(name: str, action: str, manifest: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"name": name, "resource": {"action": action, "manifest": json.dumps(manifest), **more}}


def shell(name: str, script: str, image: str = "bitnami/kubectl:1.34") -> dict[str, Any]:
    return {"name": name, "container": {"image": image, "command": ["sh", "-ec"], "args": [script]}}


def named() -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}


def test_a_resource_makes_a_deployment_waits_until_it_serves_and_deletes_it(home: DeploymentHome) -> None:
    steps = [
        resource("make", "create", deployment(home.port), successCondition="status.availableReplicas == 1"),
        shell("ask", f"python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{home.port}/name').read().decode())\""),
        resource("remove", "delete", named()),
    ]
    with home.kept():
        nodes, logs = run(home, steps)
    assert {name: node.phase for name, node in nodes.items()} == dict.fromkeys(("main", "make", "ask", "remove"), Phase.SUCCEEDED)
    assert logs.strip() == "one"
    assert home.objects.list("Deployment") == []


def test_a_resource_fails_with_the_reason_of_a_version_that_never_serves(home: DeploymentHome) -> None:
    home.apply()
    broken = {
        **named(),
        "spec": {"progressDeadlineSeconds": 1, "template": {"spec": {"initContainers": [{"name": "write", "command": ["sh", "-c", "echo no model; exit 3"]}]}}},
    }
    condition = "status.conditions.1.reason == ProgressDeadlineExceeded"
    with home.kept():
        home.kubectl("rollout", "status", "deployment/web")
        steps = [resource("break", "patch", broken), resource("wait", "get", named(), successCondition="status.replicas == 9", failureCondition=condition)]
        nodes, _ = run(home, steps)
        assert nodes["break"].phase is Phase.SUCCEEDED and nodes["wait"].phase is Phase.FAILED
        assert "no model" in nodes["wait"].message
        assert home.ask() == "one"


def test_a_pod_sets_a_variable_waits_for_the_rollout_and_looks_by_kubectl(home: DeploymentHome) -> None:
    home.apply()
    script = """
kubectl set env deployment/web WHAT=two
kubectl -n lab rollout status deployment/web --timeout=2m
kubectl get deployment web -o jsonpath='{.status.readyReplicas} of {.spec.replicas}'; echo
kubectl get deployments -o name
kubectl apply -f - <<'YAML'
{apiVersion: v1, kind: ConfigMap, metadata: {name: chosen}, data: {model: two}}
YAML
if kubectl exec web; then exit 1; fi
"""
    with home.kept():
        home.kubectl("rollout", "status", "deployment/web")
        nodes, logs = run(home, [shell("tell", script), shell("own", "kubectl get cm chosen -o name", "registry.lab/deployer:3")])
        assert nodes["main"].phase is Phase.SUCCEEDED, logs
        assert home.ask() == "two"
    for line in ('deployment "web" successfully rolled out', "1 of 1", "deployment.apps/web", "configmap/chosen created", "there is: apply, create, get"):
        assert line in logs


def test_without_a_network_nothing_outside_is_changed(home: DeploymentHome) -> None:
    home.apply()
    nodes, logs = run(home, [shell("tell", "kubectl scale deployment/web --replicas 3")], network=False)
    assert nodes["tell"].phase is Phase.FAILED
    assert "submit it with --network [network-not-allowed]" in logs
    assert home.objects.list("Deployment")[0]["spec"]["replicas"] == 1


def test_images_that_have_no_kubectl_get_none(home: DeploymentHome) -> None:
    _, logs = run(home, [shell("look", "echo $PATH", "busybox"), shell("see", "echo $PATH", "alpine/k8s:1.34")])
    assert [line.count("kubectl") for line in logs.splitlines()] == [0, 1]
