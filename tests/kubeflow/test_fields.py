"""Every field of a pipeline is expressed, said to be without effect, or refused."""

import json
from typing import Any

import msgspec
import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.kubeflow.fields import REFUSED, WITHOUT_EFFECT
from pachyderm_dagster.kubeflow.options import Options
from pachyderm_dagster.pps.inputs import PfsInput
from pachyderm_dagster.pps.pods import Resources, SchedulingSpec
from pachyderm_dagster.pps.spec import PipelineSpec, Transform
from tests.kubeflow.specs import EDGES, changed, container, exported, pod, tasks

EXPRESSED = {
    *("pipeline", "transform", "input", "description", "parallelism_spec", "datum_tries", "datum_timeout", "job_timeout", "reprocess_spec", "egress"),
    *("resource_requests", "resource_limits", "scheduling_spec", "tolerations", "metadata"),
    *("transform.image", "transform.stdin", "transform.err_cmd", "transform.err_stdin", "transform.env", "transform.secrets"),
    *("transform.accept_return_code", "transform.working_dir", "transform.image_pull_secrets", "transform.memory_volume"),
    *("resources.cpu", "resources.memory", "resources.gpu", "scheduling_spec.node_selector"),
    *("name", "repo", "glob", "branch", "project", "empty_files", "join_on", "outer_join", "group_by", "batch"),
}


def test_no_field_is_forgotten() -> None:
    known = EXPRESSED | REFUSED.keys() | WITHOUT_EFFECT.keys() | {"resources.disk"}
    prefixes: dict[Any, str] = {PipelineSpec: "", Transform: "transform.", PfsInput: "", Resources: "resources.", SchedulingSpec: "scheduling_spec."}
    found = {f"{prefix}{field.name}" for struct, prefix in prefixes.items() for field in msgspec.structs.fields(struct)}
    assert found - known == set()


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("service", {"service": {"external_port": 30000, "internal_port": 8000}}),
        ("pod_spec", {"pod_spec": '{"hostNetwork": true}'}),
        ("pod_patch", {"pod_patch": '[{"op": "add", "path": "/x", "value": 1}]'}),
        ("scheduling_spec.priority_class_name", {"scheduling_spec": {"priority_class_name": "high"}}),
        ("transform.datum_batching", {"transform__datum_batching": True}),
        ("transform.build", {"transform__build": {"path": "."}}),
        ("transform.cmd", {"transform__cmd": []}),
        ("transform.user", {"transform__user": "nobody"}),
        ("the cron input 'tick'", {"input": {"cron": {"name": "tick", "spec": "@daily"}}}),
        ("'{{$' in its command", {"transform__cmd": ["echo", "{{$.inputs}}"]}),
        ("'{{$' in its command", {"transform__env": {"A": "{{$}}"}}),
        ("the program 'a=b'", {"transform__cmd": ["a=b"]}),
    ],
)
def test_what_kubeflow_cannot_express_is_refused_by_name(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match="cannot express") as raised:
        exported(changed(EDGES, **fields))
    assert raised.value.code == "export-unsupported"
    assert f"has {field}, which" in raised.value.message


def test_a_spout_is_refused() -> None:
    with pytest.raises(InvalidError, match="has spout, which"):
        exported({"pipeline": {"name": "edges"}, "spout": {}, "transform": {"cmd": ["true"]}})


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("output_branch", {"output_branch": "dev"}),
        ("datum_set_spec", {"datum_set_spec": {"number": 3}}),
        ("maximum_expected_uptime", {"maximum_expected_uptime": "1h"}),
        ("salt", {"salt": "x"}),
        ("autoscaling", {"autoscaling": True}),
        ("sidecar_resource_requests", {"sidecar_resource_requests": {"cpu": 1}}),
        ("sidecar_resource_limits", {"sidecar_resource_limits": {"cpu": 1}}),
        ("resource_requests.disk", {"resource_requests": {"disk": "1Gi"}}),
        ("resource_limits.disk", {"resource_limits": {"disk": "1Gi"}}),
        ("lazy", {"input": {"pfs": {"repo": "images", "glob": "/*", "lazy": True}}}),
        ("reference", {"input": {"cross": [EDGES["input"], {"pfs": {"repo": "model", "glob": "/", "reference": True}}]}}),
        ("trigger", {"input": {"pfs": {"repo": "images", "glob": "/*", "branch": "b", "trigger": {"commits": 2}}}}),
        ("propagation_spec", {"input": {"cross": [EDGES["input"], {"pfs": {"repo": "model", "glob": "/", "propagation_spec": {"never": True}}}]}}),
    ],
)
def test_what_does_nothing_there_is_said(field: str, fields: dict[str, Any]) -> None:
    (note,) = exported(changed(EDGES, **fields)).notes
    assert note.startswith(f"{field} of 'edges' has no effect in Kubeflow: ")


def test_a_plain_pipeline_has_nothing_to_say() -> None:
    assert exported(EDGES).notes == ()


def test_what_pods_are_told() -> None:
    found = exported(
        changed(
            EDGES,
            transform__env={"A": "b"},
            transform__secrets=[{"name": "s", "env_var": "KEY", "key": "k"}, {"name": "t", "mount_path": "/t"}],
            transform__image_pull_secrets=["registry"],
            transform__memory_volume=True,
            transform__user="1000",
            resource_requests={"cpu": 0.5, "memory": "512Mi"},
            resource_limits={"cpu": 2, "memory": "1G", "gpu": {"type": "nvidia.com/gpu", "number": 1}},
            scheduling_spec={"node_selector": {"disk": "ssd"}},
            tolerations=[
                {"key": "gpu", "operator": "EXISTS"},
                {"key": "a", "operator": "EQUAL", "value": "b", "effect": "NO_EXECUTE", "toleration_seconds": 0},
            ],
            metadata={"labels": {"team": "x"}, "annotations": {"note": "y"}},
            job_timeout="90s",
            datum_tries=5,
        )
    )
    assert pod(found, "exec-run-edges") == {
        "activeDeadlineSeconds": "90",
        "emptyDirMounts": [{"medium": "Memory", "mountPath": "/pfs", "volumeName": "pfs"}],
        "imagePullSecret": [{"secretName": "registry", "secretNameParameter": {"runtimeValue": {"constant": "registry"}}}],
        "nodeSelector": {"labels": {"disk": "ssd"}},
        "podMetadata": {"annotations": {"note": "y"}, "labels": {"team": "x"}},
        "secretAsEnv": [
            {
                "keyToEnv": [{"envVar": "KEY", "secretKey": "k"}],
                "optional": False,
                "secretName": "s",
                "secretNameParameter": {"runtimeValue": {"constant": "s"}},
            }
        ],
        "secretAsVolume": [{"mountPath": "/t", "optional": False, "secretName": "t", "secretNameParameter": {"runtimeValue": {"constant": "t"}}}],
        "securityContext": {"runAsUser": "1000"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}, {"effect": "NoExecute", "key": "a", "operator": "Equal", "tolerationSeconds": "0", "value": "b"}],
    }
    user = container(found, "exec-run-edges")
    assert user["image"] == "pillow:11"
    assert {"name": "A", "value": "b"} in user["env"]
    assert user["resources"] == {
        "accelerator": {"count": "1", "resourceCount": "1", "resourceType": "nvidia.com/gpu", "type": "nvidia.com/gpu"},
        "cpuLimit": 2.0,
        "cpuRequest": 0.5,
        "memoryLimit": 1.0,
        "memoryRequest": 0.536870912,
        "resourceCpuLimit": "2",
        "resourceCpuRequest": "0.5",
        "resourceMemoryLimit": "1G",
        "resourceMemoryRequest": "512Mi",
    }
    assert tasks(found)["run-edges"]["retryPolicy"]["maxRetryCount"] == 4


def test_tasks_of_ours_open_the_home_that_a_secret_names() -> None:
    found = pod(exported(EDGES, options=Options(home_secret="home")), "exec-commit-edges")["secretAsEnv"]
    assert [(one["secretName"], one["optional"]) for one in found] == [("home", False), ("home", True)]
    assert [pair["envVar"] for pair in found[0]["keyToEnv"]] == ["PACHYDERM_METADATA_URL", "PACHYDERM_STORAGE_URL"]


def test_one_try_is_no_retry() -> None:
    assert "retryPolicy" not in tasks(exported(changed(EDGES, datum_tries=1)))["run-edges"]


def test_the_password_of_a_database_is_a_variable_of_the_pod_that_sends() -> None:
    database = {"url": "postgresql://me@db/results", "file_format": {"type": "CSV"}, "secret": {"name": "db", "key": "word"}}
    found = exported(changed(EDGES, egress={"sql_database": database}))
    args = container(found, "exec-commit-edges")["args"]
    assert json.loads(args[args.index("--egress") + 1])["sql_database"]["secret"] is None
    (last,) = pod(found, "exec-commit-edges")["secretAsEnv"][2:]
    assert (last["secretName"], last["optional"], last["keyToEnv"]) == ("db", False, [{"envVar": "PACHYDERM_SQL_PASSWORD", "secretKey": "word"}])
    (own,) = pod(exported(changed(EDGES, egress={"sql_database": {**database, "secret": None}})), "exec-commit-edges")["secretAsEnv"][2:]
    assert (own["secretName"], own["optional"]) == ("pachyderm-dagster-home", True)
