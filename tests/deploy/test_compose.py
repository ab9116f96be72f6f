"""The Compose file: what Compose's own library makes of it, and that it runs what the chart does."""

import json
import os
import subprocess
from typing import Any

import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config

from tests.deploy.charts import ROOT, containers, manifests, pods

FOLDER = ROOT / "deploy/compose"
needs_compose = pytest.mark.skipif("COMPOSE_CONFIG" not in os.environ, reason="tests/deploy/run builds it and names it")
PASSWORD = {"PACHYDERM_PASSWORD": "secret0123"}


def read(**environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([os.environ["COMPOSE_CONFIG"], FOLDER / "compose.yaml"], env=environ, capture_output=True, text=True)


def services(**environ: str) -> dict[str, Any]:
    done = read(**PASSWORD, **environ)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


@needs_compose
def test_compose_takes_it_and_every_dependency_is_there() -> None:
    found = services()
    assert found.keys() >= {"postgres", "s3", "code-location", "webserver", "daemon", "coordinator", "reloader", "metrics"}
    for name, service in found.items():
        assert service.get("depends_on", {}).keys() <= found.keys(), name


@needs_compose
def test_without_a_password_it_says_what_is_missing() -> None:
    done = read()
    assert done.returncode != 0 and "PACHYDERM_PASSWORD" in done.stderr and "letters and digits, in .env" in done.stderr


@needs_compose
def test_ports_are_of_this_host_alone_and_can_be_moved() -> None:
    for name, port in (("webserver", "3000"), ("metrics", "9090")):
        (published,) = services()[name]["ports"]
        assert (published["host_ip"], published["published"]) == ("127.0.0.1", port)
    assert services(PACHYDERM_PORT="4444")["webserver"]["ports"][0]["published"] == "4444"


@needs_compose
def test_servers_of_ours_cannot_change_their_image_and_have_no_rights() -> None:
    image = services(PACHYDERM_IMAGE="ours:1")
    ours = {name: service for name, service in image.items() if service["image"] == "ours:1" and name != "bucket"}
    assert len(ours) == 7
    for name, service in ours.items():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
        assert "user" not in service and service["environment"]["PACHYDERM_METADATA_URL"] == "postgresql://pachyderm:secret0123@postgres:5432/pachyderm"


@needs_compose
@pytest.mark.skipif("HELM" not in os.environ, reason="tests/deploy/run builds Helm and names it")
def test_commands_are_those_of_the_chart() -> None:
    chart = {one["name"]: one["command"] for _, pod in pods(manifests("trial")) for one in pod["spec"]["containers"] if "command" in one}
    chart |= {one["name"]: one["command"] for _, pod in pods(manifests("trial")) for one in containers(pod) if one["name"] == "prepare"}
    chart["coordinator"] = chart.pop("reactor")
    compose = {name: service["command"] for name, service in services().items() if name in chart}
    url = "http://demo-pachyderm-dagster-webserver:80"
    assert compose == {name: ["http://webserver:3000" if word == url else str(word) for word in words] for name, words in chart.items()}


def test_dagster_takes_its_settings(tmp_path: Any) -> None:
    (tmp_path / "dagster.yaml").write_text((FOLDER / "dagster.yaml").read_text())
    found, _ = dagster_instance_config(str(tmp_path))
    assert found["run_coordinator"]["class"] == "QueuedRunCoordinator"
    (server,) = yaml.safe_load((FOLDER / "workspace.yaml").read_text())["load_from"]
    assert server["grpc_server"]["host"] == "code-location"
