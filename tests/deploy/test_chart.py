"""The chart: what it renders, what it refuses, and what the pods may do. `python -m tests.deploy.test_chart` writes the golden files anew."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pachyderm_dagster.executors.kubernetes import cluster
from tests.deploy.charts import CHART, GOLDEN, ROOT, SETS, VALUES, Manifest, containers, helm, manifests, named, pods, render

pytestmark = pytest.mark.skipif("HELM" not in os.environ, reason="tests/deploy/run builds Helm and names it")
# The checksum of the settings changes with every word of them; what it is of is in the file too.
CHECKSUM = "checksum/configuration: "


def golden(values: str) -> str:
    return "".join(line for line in render(values).splitlines(keepends=True) if CHECKSUM not in line)


@pytest.mark.parametrize("values", SETS)
def test_chart_renders_what_it_is_known_to(values: str) -> None:
    assert golden(values) == (GOLDEN / f"{values}.yaml").read_text(), "python -m tests.deploy.test_chart writes it anew, under tests/deploy/run's HELM"


@pytest.mark.parametrize("values", SETS)
def test_helm_has_nothing_against_it(values: str) -> None:
    done = helm("lint", "--strict", CHART, "--values", VALUES / f"{values}.yaml")
    assert done.returncode == 0, done.stdout


def test_version_is_the_package_s() -> None:
    package = (ROOT / "pachyderm_dagster/__init__.py").read_text()
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'__version__ = "{chart["version"]}"' in package
    assert chart["appVersion"] == chart["version"]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("storage.url=/data", "storage.url"),
        ("storage.url=", "storage.url says where the objects are"),
        ("databases.existingSecret=", "databases.existingSecret names the Secret"),
        ("databases.existingSecret=Not_A_Name", "databases.existingSecret"),
        ("coordination.url=zookeeper://a", "coordination.url"),
        ("coordination.podUrl=database://", "coordination.podUrl"),
        ("coordination.podUrl=etcd://a", "set coordination.url to an etcd"),
        ("coordination.url=etcd://me:secret@a", "leave them out of the URL"),
        ("coordination.podUrl=etcd://me:secret@a", "leave them out of the URL"),
        ("webserver.replicas=0", "webserver.replicas"),
        ("webserver.replica=2", "additional properties 'replica' not allowed"),
        ("image.pullPolicy=Sometimes", "image.pullPolicy"),
        ("bundled.enabled=true", "bundled.password is the password"),
        ("bundled.password=short", "bundled.password"),
        ("ingress.enabled=true", "ingress.host is the name"),
        ("metrics.port=99999", "metrics.port"),
        ("runs.maxConcurrent=none", "runs.maxConcurrent"),
        ("webserver.resources.request.cpu=1", "additional properties 'request' not allowed"),
    ],
)
def test_wrong_value_is_refused_with_its_name(setting: str, said: str) -> None:
    done = helm("template", "demo", CHART, "--values", VALUES / "minimal.yaml", "--set", setting)
    assert done.returncode != 0
    # Helm's library of schemas writes a path with slashes.
    assert said in done.stderr.replace("/", "."), done.stderr


def scalars(part: object) -> Iterator[object]:
    match part:
        case dict():
            for value in part.values():
                yield from scalars(value)
        case list():
            for value in part:
                yield from scalars(value)
        case _:
            yield part


def test_names_that_look_like_numbers_stay_names() -> None:
    """All of them may be names on a cluster."""
    names = {"databases.existingSecret": 1001, "storage.existingSecret": 1002, "coordination.existingSecret": 1003, "spouts.existingSecret": 1004}
    more = {"imagePullSecrets[0]": 1005, "ingress.className": 1006, "ingress.tlsSecret": 1007}
    given = [word for name, value in (names | more).items() for word in ("--set-string", f"{name}={value}")]
    done = helm("template", "1008", CHART, "--namespace", "1009", "--values", VALUES / "whole.yaml", *given)
    assert done.returncode == 0, done.stderr
    found = list(yaml.safe_load_all(done.stdout))
    found += [yaml.safe_load(one["data"]["dagster.yaml"]) for one in found if one and "dagster.yaml" in one.get("data", {})]
    told = list(scalars(found))
    numbers = range(1001, 1010)
    assert {str(number) for number in numbers} <= set(map(str, told))
    assert [one for one in told if isinstance(one, int) and one in numbers] == []


@pytest.mark.parametrize("values", SETS)
def test_no_container_is_root_or_can_change_its_image(values: str) -> None:
    found = list(pods(manifests(values)))
    assert len(found) >= 4
    for name, pod in found:
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] > 0 and security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in containers(pod):
            expected = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
            assert container["securityContext"] == expected, (name, container["name"])


def test_modules_that_containers_run_do_something_when_they_are_run() -> None:
    commands = [container.get("command", ()) for _, pod in pods(manifests("minimal")) for container in containers(pod)]
    modules = {command[3] for command in commands if command[:3] == ["python", "-P", "-m"]}
    assert len(modules) == 3
    for module in modules:
        found = importlib.util.find_spec(module)
        # A module without this ends at once and well, and its container is started again and again.
        assert found is not None and found.origin is not None and 'if __name__ == "__main__":' in Path(found.origin).read_text(), module


@pytest.mark.parametrize("values", SETS)
def test_every_server_has_resources_and_every_port_a_probe(values: str) -> None:
    for name, pod in pods(manifests(values)):
        for container in pod["spec"]["containers"]:
            assert container["resources"]["requests"] and container["resources"]["limits"]["memory"], name
            assert not container.get("ports") or {"livenessProbe", "readinessProbe"} & container.keys(), (name, container["name"])


def rights(found: list[Manifest], component: str) -> dict[str, set[str]]:
    """What the account of a component may do, by resource."""
    granted: dict[str, set[str]] = {}
    for binding in (one for one in found if one["kind"] == "RoleBinding"):
        if [subject["name"] for subject in binding["subjects"]] == [f"demo-pachyderm-dagster-{component}"]:
            (role,) = [one for one in found if one["kind"] == "Role" and one["metadata"]["name"] == binding["roleRef"]["name"]]
            for rule in role["rules"]:
                for resource in rule["resources"]:
                    granted.setdefault(resource, set()).update(rule["verbs"])
    return granted


def test_accounts_have_the_rights_that_they_need_and_pods_of_users_none() -> None:
    found = manifests("minimal")
    assert not [one for one in found if one["kind"].startswith("Cluster")]
    assert "*" not in str([one["rules"] for one in found if one["kind"] == "Role"])
    assert rights(found, "worker") == {}
    assert named(found, "ServiceAccount", "worker")["automountServiceAccountToken"] is False
    assert rights(found, "webserver") == {"jobs": {"get", "list", "delete"}, "pods": {"get", "list", "delete"}}
    # Who starts runs sees no secret; who reads secrets' names starts no run, but the Jobs of datums.
    assert "secrets" not in rights(found, "daemon")
    # Those of workflows: whoever makes Jobs makes pods.
    assert rights(found, "run")["pods"] == {"create", "get", "list", "watch", "delete"}
    assert rights(found, "run")["secrets"] == {"create", "list", "patch", "delete"}
    assert rights(found, "run") == rights(found, "code-location") == rights(found, "coordinator")
    for name, pod in pods(found):
        assert pod["spec"]["serviceAccountName"] == name


def test_drivers_may_do_what_our_code_asks_of_the_api_server() -> None:
    verbs = {"replace": "update", "try_replace": "update", "try_create": "create", "read_log": "get"}
    calls = re.compile(r"cluster\.([a-z_]+)\(([A-Z_]+)[,)]")
    source = "".join(file.read_text() for file in sorted((ROOT / "pachyderm_dagster").rglob("*.py")))
    asked = {(getattr(cluster, kind), verbs.get(method, method)) for method, kind in calls.findall(source)}
    assert {("deployments", "update"), ("secrets", "patch"), ("events", "list"), ("services", "get")} < asked
    granted = rights(manifests("minimal"), "run")
    assert sorted((kind, verb) for kind, verb in asked if verb not in granted.get(kind, set())) == []


def test_runs_have_the_environment_and_the_limits_of_servers() -> None:
    found = manifests("minimal")
    instance = yaml.safe_load(named(found, "ConfigMap", "instance")["data"]["dagster.yaml"])
    launcher = instance["run_launcher"]
    assert launcher["class"] == "K8sRunLauncher"
    config = launcher["config"]
    server = named(found, "Deployment", "daemon")["spec"]["template"]["spec"]
    container = config["run_k8s_config"]["container_config"]
    assert container["env"] == server["containers"][0]["env"]
    assert container["env_from"] == server["containers"][0]["envFrom"]
    assert config["run_k8s_config"]["pod_spec_config"]["security_context"] == server["securityContext"]
    assert config["security_context"] == server["containers"][0]["securityContext"]
    assert config["job_image"] == server["containers"][0]["image"]
    # A run is no pod of a Deployment: nothing of an upgrade touches it.
    assert config["labels"]["app.kubernetes.io/component"] not in {pod["metadata"]["labels"]["app.kubernetes.io/component"] for _, pod in pods(found)}


def test_no_secret_is_written_where_others_are_named() -> None:
    for values in ("minimal", "whole"):
        assert [one for one in manifests(values) if one["kind"] == "Secret"] == []


def test_pods_start_again_when_their_settings_change() -> None:
    def checksums(*more: str) -> set[str]:
        done = helm("template", "demo", CHART, "--values", VALUES / "minimal.yaml", *more)
        return {line.strip() for line in done.stdout.splitlines() if CHECKSUM in line}

    assert checksums() != checksums("--set", "runs.maxConcurrent=3")
    assert len(checksums()) == 1


def test_pods_of_bundled_servers_are_the_same_in_the_next_version(tmp_path: Path) -> None:
    newer = shutil.copytree(CHART, tmp_path / "pachyderm-dagster")
    (newer / "Chart.yaml").write_text((CHART / "Chart.yaml").read_text().replace("0.1.0", "9.9.9"))

    def templates(chart: Path, kind: str) -> list[Manifest]:
        found = yaml.safe_load_all(helm("template", "demo", chart, "--values", VALUES / "trial.yaml").stdout)
        return [one["spec"]["template"] for one in found if one and one["kind"] == kind]

    assert len(templates(CHART, "StatefulSet")) == 2
    assert templates(newer, "StatefulSet") == templates(CHART, "StatefulSet")
    assert templates(newer, "Deployment") != templates(CHART, "Deployment")


@pytest.mark.skipif(not os.environ.get("KUBECONFIG") or shutil.which("kubectl") is None, reason="KUBECONFIG names no cluster")
@pytest.mark.parametrize("values", SETS)
def test_api_server_takes_every_object(values: str) -> None:
    rendered = helm("template", "demo", CHART, "--values", VALUES / f"{values}.yaml").stdout
    done = subprocess.run(["kubectl", "apply", "--dry-run=server", "-f", "-"], input=rendered, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    for name in SETS:
        (GOLDEN / f"{name}.yaml").write_text(golden(name))
