"""Deployments of a home with real pods: replaced under load, versions that never serve, pods and keepers that are killed."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pachyderm_dagster.argo.kept_objects import KeptObject, KeptObjects, ObjectName
from pachyderm_dagster.argo.resources import Reference
from pachyderm_dagster.errors import ExecutionError, NotFoundError
from pachyderm_dagster.kernel import find_text
from tests.argo.deployments import DeploymentHome, deployment, eventually

pytestmark = pytest.mark.timeout(300)
WEB = "deployment/web"


@pytest.fixture
def home(tmp_path: Path) -> DeploymentHome:
    return DeploymentHome(tmp_path)


def status(home: DeploymentHome) -> dict[str, Any]:
    found: dict[str, Any] = home.objects.get(Reference("apps/v1", "Deployment", "", "web")).get("status", {})
    return found


def condition(home: DeploymentHome, kind: str) -> dict[str, str]:
    return next((one for one in status(home).get("conditions", ()) if one["type"] == kind), {})


def servers(home: DeploymentHome) -> list[int]:
    """The processes of the pods' programs, wherever they were started from."""
    words = ["httpd", "-f", "-p", str(home.port), "-h", "/page"]
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if (find_text(f"/proc/{pid}/cmdline") or "").split("\0")[:-1] == words]


def test_pods_are_replaced_by_turns_and_no_request_fails(home: DeploymentHome) -> None:
    home.apply(replicas=2)
    with home.kept():
        home.kubectl("rollout", "status", WEB)
        with home.asked_without_a_pause() as heard:
            for version in ("two", "three"):
                home.kubectl("set", "env", WEB, f"WHAT={version}")
                home.kubectl("rollout", "status", WEB)
                # Whoever asks from now on hears the new version.
                assert {home.ask() for _ in range(4)} == {version}
            home.kubectl("rollout", "undo", WEB)
            home.kubectl("rollout", "status", WEB)
            assert home.ask() == "two"
        assert [one for one in heard if one.startswith("!")] == []
        assert set(heard) == {"one", "two", "three"}
        eventually(lambda: len(servers(home)) == 2, "the old pods are still there")
    assert servers(home) == []


def test_a_version_that_never_serves_leaves_the_old_one_and_fails_with_the_reason(home: DeploymentHome) -> None:
    home.apply(progressDeadlineSeconds=2)
    with home.kept():
        home.kubectl("rollout", "status", WEB)
        with home.asked_without_a_pause() as heard:
            broken = {"spec": {"template": {"spec": {"initContainers": [{"name": "write", "command": ["sh", "-c", "echo no model; exit 3"]}]}}}}
            home.kubectl("patch", WEB, "-p", str(broken).replace("'", '"'))
            with pytest.raises(ExecutionError, match="exceeded its progress deadline.*'write': Error .exit code 3.: no model"):
                home.kubectl("rollout", "status", WEB)
            home.kubectl("rollout", "undo", WEB)
            home.kubectl("rollout", "status", WEB)
        assert set(heard) == {"one"}
        assert condition(home, "Progressing")["reason"] == "NewReplicaSetAvailable"


def test_a_probe_that_never_holds_is_a_version_that_never_serves(home: DeploymentHome) -> None:
    home.apply(progressDeadlineSeconds=1)
    with home.kept():
        home.kubectl("rollout", "status", WEB)
        probe = '{"spec": {"template": {"spec": {"containers": [{"name": "web", "readinessProbe": {"httpGet": {"path": "/none"}}}]}}}}'
        home.kubectl("patch", WEB, "-p", probe)
        with pytest.raises(ExecutionError, match="is not ready yet"):
            home.kubectl("rollout", "status", WEB)
        assert home.ask() == "one"
        assert status(home)["replicas"] == 2 and status(home)["updatedReplicas"] == 1


def test_a_pod_that_dies_is_started_again(home: DeploymentHome) -> None:
    home.apply()
    with home.kept():
        home.kubectl("rollout", "status", WEB)
        (pid,) = servers(home)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: servers(home) not in ([], [pid]), "it was not started again")
        home.kubectl("rollout", "status", WEB)
        assert home.ask() == "one"
    assert "exit code 137" in home.log()


def test_a_keeper_that_is_killed_leaves_nothing_and_the_next_one_goes_on(home: DeploymentHome) -> None:
    home.apply(replicas=2)
    with home.kept() as first:
        home.kubectl("rollout", "status", WEB)
        home.kubectl("set", "env", WEB, "WHAT=two")
        with home.kept():
            # The second one waits.
            eventually(lambda: "another process keeps the Deployments" in home.log(), "it did not wait")
            before = servers(home)
            first.kill()
            # Until it is gone, what it said still counts.
            first.wait()
            home.kubectl("rollout", "status", WEB)
            assert home.ask() == "two"
            now = servers(home)
            assert len(now) == 2 and not set(now) & set(before)
    assert servers(home) == []


def test_what_a_container_is_ended_with_is_a_grace_in_which_requests_are_answered(home: DeploymentHome) -> None:
    home.apply()
    with home.kept(), contextlib.ExitStack() as open_ones:
        home.kubectl("rollout", "status", WEB)
        slow = open_ones.enter_context(socket.create_connection(("127.0.0.1", home.port)))
        slow.sendall(b"GET /name HTTP/1.0\r\n")
        home.kubectl("set", "env", WEB, "WHAT=two")
        home.kubectl("rollout", "status", WEB)
        assert home.ask() == "two"
        slow.sendall(b"\r\n")
        answer = b"".join(iter(lambda: slow.recv(1000), b""))
        assert answer.rstrip().endswith(b"one")


def test_services_say_where_pods_are_reached_and_a_port_that_is_taken_is_told(home: DeploymentHome) -> None:
    home.apply()
    with socket.socket() as taken, home.kept():
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        service = {"selector": {"app": "web"}, "ports": [{"port": port, "targetPort": "http"}]}
        home.objects.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": service})
        home.kubectl("rollout", "status", WEB)
        eventually(lambda: "cannot be had" in condition(home, "Published").get("message", ""), "the port is not told")
        taken.close()
        eventually(lambda: not condition(home, "Published"), "the port is still told")
        home.port = port
        assert home.ask() == "one"
        service["ports"] = [{"port": port, "targetPort": 9}]
        home.objects.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": service})
        eventually(lambda: "port 9, which the container does not declare" in condition(home, "Published").get("message", ""), "the port is not told")


def test_a_config_map_that_cannot_be_read_is_told_of_the_deployment_that_names_it(home: DeploymentHome) -> None:
    home.apply()
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "names"}, "data": {"what": ["no", "text"]}}
    KeptObjects(home.path).put(KeptObject(name=ObjectName("ConfigMap", "names"), document=document, source="ConfigMap names"))
    with home.kept():
        home.kubectl("rollout", "status", WEB)
        patch = '{"spec": {"template": {"spec": {"containers": [{"name": "web", "envFrom": [{"configMapRef": {"name": "names"}}]}]}}}}'
        home.kubectl("patch", WEB, "-p", patch)
        eventually(lambda: "ConfigMap names" in condition(home, "Progressing").get("message", ""), "why is not told")
        assert home.ask() == "one"
        home.objects.apply({**document, "data": {"what": "text"}})
        home.kubectl("rollout", "status", WEB)


def test_a_service_that_cannot_be_read_is_told_and_ends_nothing_else(home: DeploymentHome) -> None:
    home.apply()
    spec = {"selector": {"app": "web"}, "ports": [{"port": 70000, "targetPort": "http"}]}
    document = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}
    KeptObjects(home.path).put(KeptObject(name=ObjectName("Service", "web"), document=document, source="Service web"))
    with home.kept():
        eventually(lambda: "serves" in home.log(), "the Deployment to serve")
        assert home.ask() == "one"
        assert (home.path / "argo" / "deployments").stat().st_mode & 0o077 == 0
    assert "Service web: spec: ports[0].port: expected the number of a port" in home.log()


def test_what_is_deleted_and_scaled_follows(home: DeploymentHome) -> None:
    home.apply()
    with home.kept():
        home.kubectl("rollout", "status", WEB)
        home.kubectl("scale", WEB, "--replicas", "3")
        home.kubectl("rollout", "status", WEB)
        assert len(servers(home)) == 3
        home.kubectl("scale", WEB, "--replicas", "1")
        eventually(lambda: len(servers(home)) == 1, "there are still more")
        home.kubectl("delete", WEB)
        eventually(lambda: servers(home) == [], "there is still one")
        with pytest.raises(NotFoundError, match="object-not-found"):
            home.kubectl("rollout", "status", WEB)


def test_all_old_pods_end_first_where_that_is_wanted(home: DeploymentHome) -> None:
    home.apply(strategy={"type": "Recreate"})
    with home.kept():
        home.kubectl("rollout", "status", WEB)
        home.kubectl("rollout", "restart", WEB)
        home.kubectl("rollout", "status", WEB)
        names = [line.split()[1] for line in home.log().splitlines() if line.startswith("pod ")]
        assert [line.split()[2] for line in home.log().splitlines() if line.startswith("pod ")] == ["serves", "ended", "serves"]
        assert names[0] == names[1] != names[2]


def test_pods_go_with_the_host_that_runs_them_and_come_again(home: DeploymentHome) -> None:
    home.apply()
    with home.kept() as keeper:
        home.kubectl("rollout", "status", WEB)
        (host,) = children(keeper)
        os.kill(host, signal.SIGKILL)
        eventually(lambda: home.log().count(" serves") == 2, "it is not started again")
        assert home.ask() == "one"


def children(process: subprocess.Popen[str]) -> list[int]:
    found = find_text(f"/proc/{process.pid}/task/{process.pid}/children") or ""
    return [int(pid) for pid in found.split()]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda pod: pod["initContainers"][0].update(env=[{"name": "WHAT", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k"}}}]), "Secret 'none'"),
        (lambda pod: pod["containers"][0].update(command=["no-such-program"]), "the program 'no-such-program' is not on this machine"),
        (lambda pod: pod["containers"][0].update(command=["sh", "-c", "echo done"], readinessProbe=None), "exit code 0, and is to stay: done"),
    ],
)
def test_what_keeps_a_pod_from_serving_is_told(home: DeploymentHome, change: Callable[[Any], None], problem: str) -> None:
    document = deployment(home.port, progressDeadlineSeconds=1)
    change(document["spec"]["template"]["spec"])
    home.objects.apply(document)
    with home.kept():
        with pytest.raises(ExecutionError, match=problem):
            home.kubectl("rollout", "status", WEB)
        assert problem in condition(home, "Progressing")["message"]
