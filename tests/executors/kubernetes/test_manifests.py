"""What pods are made of: whole manifests beside the pipeline files they come from, and what is refused."""

import datetime as dt
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.executors.kubernetes.commands import job_commands, kept_commands, staying_commands
from pachyderm_dagster.executors.kubernetes.kept_manifests import Serving, kept_deployment, kept_service, life_of
from pachyderm_dagster.executors.kubernetes.manifests import Pods
from pachyderm_dagster.executors.kubernetes.names import JobNames, KeptNames, WorkerNames, kept_name
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.model import Counters, Job, JobState
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.settings import KubernetesSettings

GOLDEN = Path(__file__).parent / "golden"
SETTINGS = KubernetesSettings("", "", "lab", "registry.example/worker:1", "IfNotPresent", "store-credentials", "pipelines")
HOME = "0123456789ab4def8123456789abcdef"
SMALL: dict[str, Any] = {"pipeline": {"name": "edges"}, "input": {"pfs": {"repo": "images", "glob": "/*"}}, "transform": {"image": "opencv:4", "cmd": ["sh"]}}
FULL: dict[str, Any] = {
    "pipeline": {"name": "Edges_of", "project": {"name": "vision"}},
    "input": {"pfs": {"repo": "images", "glob": "/*"}},
    "transform": {
        "image": "registry.example/opencv:4",
        "cmd": ["python3", "/edges.py"],
        "user": "1000",
        "memory_volume": True,
        "image_pull_secrets": ["registry"],
        "secrets": [
            {"name": "db", "key": "password", "env_var": "DB_PASSWORD"},
            {"name": "db", "mount_path": "/etc/db"},
            {"name": "own", "mount_path": "/own"},
        ],
    },
    "job_timeout": "1h",
    "resource_requests": {"cpu": 0.5, "memory": "1Gi", "disk": "2Gi"},
    "resource_limits": {"cpu": 2, "memory": "2Gi", "disk": "10Gi", "gpu": {"type": "nvidia.com/gpu", "number": 1}},
    "sidecar_resource_requests": {"memory": "128Mi"},
    "sidecar_resource_limits": {"memory": "512Mi", "cpu": 1},
    "scheduling_spec": {"node_selector": {"disk": "ssd"}, "priority_class_name": "high"},
    "tolerations": [
        {"key": "gpu", "operator": "EXISTS", "effect": "NO_SCHEDULE"},
        {"key": "team", "operator": "EQUAL", "value": "a", "effect": "NO_EXECUTE", "toleration_seconds": 0},
        {"operator": "EXISTS"},
    ],
    "metadata": {"labels": {"team": "a", "pachyderm-dagster/home": "forged"}, "annotations": {"note": "for people"}},
    "pod_spec": '{"hostNetwork": true, "terminationGracePeriodSeconds": null}',
    "pod_patch": '[{"op": "add", "path": "/containers/0/volumeMounts/-", "value": {"name": "scratch", "mountPath": "/scratch"}},'
    ' {"op": "add", "path": "/volumes/-", "value": {"name": "scratch", "emptyDir": {}}}]',
}


def job_of(project: str, name: str) -> Job:
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return Job(1, "89abcdef01234567a9abcdef01234567", RepoName(project, name), 3, JobState.RUNNING, "", at, at, None, Counters(), 0, None, 1, 2)


def pods(document: dict[str, Any], secrets: dict[str, str] | None = None) -> Pods:
    (spec,) = parse_specs(json.dumps(document), source="test", notes=[])
    names = JobNames(HOME, job_of(spec.pipeline.project or "default", spec.pipeline.name))
    return Pods(names, spec, SETTINGS, job_commands(names.name, "s3://bucket/lab"), secrets or {})


@pytest.mark.parametrize(("name", "document", "secrets"), [("small", SMALL, {}), ("full", FULL, {"db": "db", "own": "edges-secret-1"})])
def test_manifest_is_the_golden_one(name: str, document: dict[str, Any], secrets: dict[str, str]) -> None:
    made = json.dumps(pods(document, secrets).job(4), indent=2, sort_keys=True) + "\n"
    golden = GOLDEN / f"{name}.json"
    if os.environ.get("WRITE_GOLDEN"):
        golden.write_text(made)
    assert made == golden.read_text()


def test_deployment_is_the_golden_one() -> None:
    (spec,) = parse_specs(json.dumps(SMALL | {"metadata": {"annotations": {"note": "for people"}}}), source="test", notes=[])
    names = WorkerNames(HOME, RepoName("default", "edges"), 3, b"content")
    made = Pods(names, spec, SETTINGS, staying_commands(names.name, "s3://bucket/lab"), {}).deployment(2)
    golden = GOLDEN / "deployment.json"
    if os.environ.get("WRITE_GOLDEN"):
        golden.write_text(json.dumps(made, indent=2, sort_keys=True) + "\n")
    assert made == json.loads(golden.read_text())


def test_manifest_is_json() -> None:
    made = pods(FULL, {"db": "db", "own": "x"}).job(2)
    assert json.loads(json.dumps(made)) == made


def test_user_labels_do_not_hide_ours() -> None:
    labels = pods(FULL, {"db": "db", "own": "x"}).job(2)["spec"]["template"]["metadata"]["labels"]
    assert (labels["team"], labels["pachyderm-dagster/home"]) == ("a", HOME)


def test_credentials_of_the_store_are_the_workers_alone() -> None:
    pod = pods(SMALL).job(1)["spec"]["template"]["spec"]
    assert [one["name"] for one in [*pod["initContainers"], *pod["containers"]] if "envFrom" in one] == ["worker"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"pod_patch": '[{"op": "remove", "path": "/nodeName"}]'}, "pod-patch-invalid"),
        ({"pod_patch": '[{"op": "explode", "path": "/nodeName"}]'}, "pod-patch-invalid"),
        ({"pod_patch": '[{"op": "replace", "path": "", "value": 1}]'}, "pod-patch-invalid"),
        ({"pod_patch": '{"nodeName": "a"}'}, "pod-patch-invalid"),
        ({"pod_patch": '[{"op": "remove", "path": "/containers/0"}]'}, "pod-patch-invalid"),
        ({"pod_patch": '[{"op": "replace", "path": "/containers/0/name", "value": "other"}]'}, "pod-patch-invalid"),
        ({"pod_patch": '[{"op": "remove", "path": "/initContainers/1"}]'}, "pod-patch-invalid"),
        ({"pod_spec": '{"initContainers": [{"name": "mine", "image": "a"}]}'}, "pod-patch-invalid"),
        ({"pod_patch": "[1]"}, "pod-patch-invalid"),
        ({"pod_spec": "[]"}, "pod-patch-invalid"),
        ({"pod_spec": '{"containers": null}'}, "pod-patch-invalid"),
        ({"pod_spec": '{"shareProcessNamespace": true}'}, "pod-patch-invalid"),
        ({"transform": {"image": "a", "cmd": ["sh"], "user": "alice"}}, "user-not-number"),
        ({"transform": {"image": "a", "cmd": ["sh"], "user": "2147483648"}}, "user-not-number"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidError) as raised:
        pods(SMALL | fields).job(1)
    assert raised.value.code == code


def test_restart_policy_stays_what_the_job_controller_takes() -> None:
    assert pods(SMALL | {"pod_spec": '{"restartPolicy": "Always"}'}).job(1)["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_deployment_and_service_of_a_service() -> None:
    serving = {"service": {"internal_port": 8080, "type": "ClusterIP"}, "metadata": {"annotations": {"note": "for people"}}}
    (spec,) = parse_specs(json.dumps(SMALL | serving), source="test", notes=[])
    names = KeptNames(HOME, RepoName("default", "edges"), 3)
    made_of = Pods(names, spec, SETTINGS, kept_commands("edges.1", "s3://bucket/home"), {}, life_of(spec))
    deployment = kept_deployment(made_of, Serving("3@89ab", "c", "edges.1", {}))
    service = kept_service(made_of, {"metadata": {"name": names.name, "uid": "u-1"}})
    golden = GOLDEN / "service.json"
    if os.environ.get("WRITE_GOLDEN"):
        golden.write_text(json.dumps([deployment, service], indent=2, sort_keys=True) + "\n")
    assert [deployment, service] == json.loads(golden.read_text())


def test_spout_has_never_two_pods_and_is_not_probed() -> None:
    (spec,) = parse_specs(json.dumps({"pipeline": {"name": "edges"}, "spout": {}, "transform": SMALL["transform"]}), source="test", notes=[])
    made_of = Pods(KeptNames(HOME, RepoName("default", "edges"), 3), spec, SETTINGS, kept_commands("edges.1", "s3://bucket/home"), {}, life_of(spec))
    made = kept_deployment(made_of, Serving("3@", "c", "edges.1", {}))["spec"]
    assert (made["strategy"], made["minReadySeconds"]) == ({"type": "Recreate"}, 5)
    assert "readinessProbe" not in made["template"]["spec"]["containers"][0]
    assert kept_service(made_of, {"metadata": {"name": "edges", "uid": "u-1"}}) is None


@pytest.mark.parametrize(
    ("project", "name", "found"),
    [
        ("default", "web", "pipeline-default-web"),
        ("Vision_1", "Edges__of", "pipeline-vision-1-edges-of"),
        ("default", "x" * 60, f"pipeline-default-{'x' * 24}-"),
        ("default", "é_", "pipeline-default"),
    ],
)
def test_name_by_which_clients_find_a_service_is_a_dns_label(project: str, name: str, found: str) -> None:
    made = kept_name(RepoName(project, name))
    assert made.startswith(found)
    assert len(made) <= 50 and re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", made)
