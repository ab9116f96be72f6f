"""The example of a workflow that ends at a Deployment: estimates in a real PostgreSQL, and a viewer of them whose pods are replaced."""

import json
import os
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from pachyderm_dagster.integration import argo_job
from tests.cluster.commands import run
from tests.cluster.images import BUSYBOX, POSTGRESQL
from tests.cluster.layers import REPOSITORY
from tests.cluster.pods import Namespace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
FOLDER = REPOSITORY / "definitions" / "workflows"


@dataclass(frozen=True, slots=True)
class Winery:
    """A database, a viewer of it in a namespace, and a home to run workflows in."""

    namespace: Namespace
    url: str
    secret: Path
    environ: Mapping[str, str]

    def query(self, statement: str) -> str:
        return run(["psql", self.url, "--tuples-only", "--no-align", "--command", statement])

    def submit(self, name: str) -> subprocess.CompletedProcess[str]:
        words = ["argo", "submit", str(FOLDER / "estimates.yaml"), str(self.secret), "--network", "--name", name]
        command = [sys.executable, "-m", "pachyderm_dagster", *words]
        return subprocess.run(command, cwd=REPOSITORY, env=self.environ, capture_output=True, text=True, check=False)

    def page(self) -> str:
        """What the only pod that is not on its way out shows."""
        pods = self.namespace.core.list_namespaced_pod(self.namespace.name, label_selector="app=viewer").items
        (pod,) = [pod for pod in pods if pod.metadata.deletion_timestamp is None]
        with urllib.request.urlopen(f"http://{pod.status.pod_ip}:8080/", timeout=20) as answer:
            text: str = answer.read().decode()
            return text


def viewer() -> Any:
    """The example's, with images that can be had here."""
    made = yaml.safe_load((FOLDER / "viewer.yaml").read_text())
    pod = made["spec"]["template"]["spec"]
    for container, image in ((pod["initContainers"][0], POSTGRESQL), (pod["containers"][0], BUSYBOX)):
        container |= {"image": image, "imagePullPolicy": "Never"}
    return made


@pytest.fixture
def winery(namespace: Namespace, image: Callable[[str], str], servers: Mapping[str, str], kubeconfig: Path, tmp_path: Path) -> Winery:
    for name in (BUSYBOX, POSTGRESQL):
        image(name)
    database = f"winery_{uuid.uuid4().hex}"
    run(["psql", servers["TEST_METADATA_URL"], "--command", f"CREATE DATABASE {database}"])
    url = servers["TEST_METADATA_URL"].removesuffix("/postgres") + f"/{database}"
    run(["psql", url, "--quiet", "--file", str(FOLDER / "winery.sql")], folder=REPOSITORY)
    document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "winery"}, "stringData": {"url": url}}
    secret = tmp_path / "secret.yaml"
    secret.write_text(json.dumps(document))
    namespace.core.create_namespaced_secret(namespace.name, document)
    namespace.apps.create_namespaced_deployment(namespace.name, viewer())
    namespace._wait(namespace.apps.list_namespaced_deployment, lambda one: one.status.available_replicas == 1)
    own = {"PACHYDERM_HOME": str(tmp_path / "home"), "KUBECONFIG": str(kubeconfig), "PACHYDERM_KUBERNETES_NAMESPACE": namespace.name}
    return Winery(namespace, url, secret, {**os.environ, **own})


def test_estimates_are_uploaded_and_the_viewer_shows_them_when_the_workflow_has_ended(winery: Winery) -> None:
    assert "Grignolino" not in winery.page()
    done = winery.submit("first")
    assert done.returncode == 0, done.stdout + done.stderr
    assert winery.page().count(">first</td>") == 28 == int(winery.query("SELECT count(*) FROM predictions"))

    winery.query("UPDATE wines SET kind = NULL WHERE id = 1")
    with dg.DagsterInstance.ephemeral() as instance:
        job = argo_job([FOLDER / "estimates.yaml", winery.secret], network=True, environ=winery.environ)
        assert [node.name for node in job.nodes_in_topological_order] == ["dataset", "estimate", "upload", "update", "served"]
        result = job.execute_in_process(instance=instance)
    assert result.success
    assert winery.page().count(f">{result.dagster_run.tags['pachyderm/workflow']}</td>") == 29


def test_a_viewer_that_is_not_there_fails_the_update_after_the_upload(winery: Winery) -> None:
    winery.namespace.apps.delete_namespaced_deployment("viewer", winery.namespace.name)
    done = winery.submit("first")
    assert done.returncode == 1
    assert 'deployments.apps "viewer" not found' in done.stdout
    assert int(winery.query("SELECT count(*) FROM predictions")) == 28
