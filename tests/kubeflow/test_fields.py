"""Every field of a pipeline is expressed, said to be without effect, or refused."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import msgspec
import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.exported.graph import read_outside
from pachyderm_dagster.kubeflow.fields import REFUSED, WITHOUT_EFFECT
from pachyderm_dagster.kubeflow.options import Options
from pachyderm_dagster.kubeflow.pods import NEEDS_SHELL
from pachyderm_dagster.pps.inputs import SetInput
from pachyderm_dagster.pps.spec import PipelineSpec
from tests.kubeflow.specs import EDGES, changed, container, exported, pod, specs, tasks

IN_INPUT = {"repo": "images", "glob": "/*"}
DATABASE = {"url": "postgresql://me@db/x", "file_format": {"type": "CSV"}}
SECRET = {"name": "s", "env_var": "A", "key": "k"}
TOLERATION = {"key": "k", "operator": "EXISTS"}


def read(**fields: Any) -> dict[str, Any]:
    """An input with other fields."""
    return {"input": {"pfs": {**IN_INPUT, **fields}}}


def joined(**fields: Any) -> dict[str, Any]:
    """One below a join."""
    return {"input": {"join": [{"pfs": {**IN_INPUT, "glob": "/(*)", "join_on": "$1", **fields}}, {"pfs": {"repo": "b", "glob": "/(*)", "join_on": "$1"}}]}}


def grouped(key: str) -> dict[str, Any]:
    """One below a group."""
    return {"input": {"group": [{"pfs": {**IN_INPUT, "glob": "/(?)(?)", "group_by": key}}]}}


def database(**fields: Any) -> dict[str, Any]:
    """Output to a database."""
    return {"egress": {"sql_database": {**DATABASE, **fields}}}


EXPRESSED: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "pipeline.name": ({}, {"pipeline": {"name": "other"}}),
    "pipeline.project": ({}, {"pipeline": {"name": "edges", "project": "p"}}),
    "transform.image": ({}, {"transform__image": "other"}),
    "transform.cmd": ({}, {"transform__cmd": ["other"]}),
    "transform.stdin": ({}, {"transform__stdin": ["a"]}),
    "transform.err_cmd": ({}, {"transform__err_cmd": ["a"]}),
    "transform.err_stdin": ({"transform__err_cmd": ["a"]}, {"transform__err_cmd": ["a"], "transform__err_stdin": ["b"]}),
    "transform.env": ({}, {"transform__env": {"A": "b"}}),
    "transform.secrets.name": ({"transform__secrets": [SECRET]}, {"transform__secrets": [{**SECRET, "name": "t"}]}),
    "transform.secrets.key": ({"transform__secrets": [SECRET]}, {"transform__secrets": [{**SECRET, "key": "l"}]}),
    "transform.secrets.env_var": ({"transform__secrets": [SECRET]}, {"transform__secrets": [{**SECRET, "env_var": "B"}]}),
    "transform.secrets.mount_path": ({}, {"transform__secrets": [{"name": "s", "mount_path": "/s"}]}),
    "transform.accept_return_code": ({}, {"transform__accept_return_code": [3]}),
    "transform.user": ({}, {"transform__user": "1000"}),
    "transform.working_dir": ({}, {"transform__working_dir": "/w"}),
    "transform.image_pull_secrets": ({}, {"transform__image_pull_secrets": ["r"]}),
    "transform.memory_volume": ({}, {"transform__memory_volume": True}),
    "input.pfs.name": ({}, read(name="other")),
    "input.pfs.repo": ({}, read(repo="other")),
    "input.pfs.glob": ({}, read(glob="/")),
    "input.pfs.branch": ({}, read(branch="b")),
    "input.pfs.project": ({}, read(project="p")),
    "input.pfs.empty_files": ({}, read(empty_files=True)),
    "input.pfs.join_on": (joined(), joined(join_on="$1x")),
    "input.pfs.outer_join": (joined(), joined(outer_join=True)),
    "input.pfs.group_by": (grouped("$1"), grouped("$2")),
    "input.pfs.batch.files": ({}, read(batch={"files": 2})),
    "input.pfs.batch.bytes": ({}, read(batch={"bytes": 2})),
    "input.cross": ({}, {"input": {"cross": [EDGES["input"], {"pfs": {"repo": "b", "glob": "/"}}]}}),
    "input.union": ({}, {"input": {"union": [EDGES["input"], {"pfs": {"repo": "b", "glob": "/"}}]}}),
    "input.join": ({}, joined()),
    "input.group": ({}, grouped("$1")),
    "description": ({}, {"description": "a"}),
    "egress.object_storage.url": ({}, {"egress": {"object_storage": {"url": "s3://a"}}}),
    "egress.sql_database.url": (database(), database(url="mysql://me@db/x")),
    "egress.sql_database.file_format.type": (database(), database(file_format={"type": "JSON"})),
    "egress.sql_database.file_format.columns": (database(), database(file_format={"type": "CSV", "columns": ["a"]})),
    "egress.sql_database.secret.name": (database(), database(secret={"name": "s", "key": "k"})),
    "egress.sql_database.secret.key": (database(secret={"name": "s", "key": "k"}), database(secret={"name": "s", "key": "l"})),
    "egress.tries": (database(), {"egress": {"sql_database": DATABASE, "tries": 9}}),
    "parallelism_spec.constant": ({}, {"parallelism_spec": {"constant": 2}}),
    "datum_tries": ({}, {"datum_tries": 7}),
    "datum_timeout": ({}, {"datum_timeout": "5s"}),
    "job_timeout": ({}, {"job_timeout": "5s"}),
    "reprocess_spec": ({}, {"reprocess_spec": "every_job"}),
    **{
        f"resource_{kind}.{name}": ({}, {f"resource_{kind}": {part: value}})
        for kind in ("requests", "limits")
        for name, part, value in (
            ("cpu", "cpu", 1),
            ("memory", "memory", "1Gi"),
            ("gpu.number", "gpu", {"number": 1}),
            ("gpu.type", "gpu", {"type": "x", "number": 1}),
        )
    },
    "scheduling_spec.node_selector": ({}, {"scheduling_spec": {"node_selector": {"a": "b"}}}),
    "tolerations.operator": ({"tolerations": [TOLERATION]}, {"tolerations": [{**TOLERATION, "operator": "EQUAL"}]}),
    "tolerations.key": ({"tolerations": [TOLERATION]}, {"tolerations": [{**TOLERATION, "key": "l"}]}),
    "tolerations.value": ({"tolerations": [{**TOLERATION, "operator": "EQUAL"}]}, {"tolerations": [{**TOLERATION, "operator": "EQUAL", "value": "v"}]}),
    "tolerations.effect": ({"tolerations": [TOLERATION]}, {"tolerations": [{**TOLERATION, "effect": "NO_SCHEDULE"}]}),
    "tolerations.toleration_seconds": (
        {"tolerations": [{**TOLERATION, "effect": "NO_EXECUTE"}]},
        {"tolerations": [{**TOLERATION, "effect": "NO_EXECUTE", "toleration_seconds": 5}]},
    ),
    "metadata.annotations": ({}, {"metadata": {"annotations": {"a": "b"}}}),
    "metadata.labels": ({}, {"metadata": {"labels": {"a": "b"}}}),
}
"""By field what a pipeline has without it and with it, beside those of EDGES."""
WHOLE = {"service", "spout", "transform.build", "datum_set_spec", "sidecar_resource_requests", "sidecar_resource_limits", "input.cron"}
"""Refused, or without effect, with all that is in them."""
IN_INPUTS = {"lazy", "reference", "trigger", "propagation_spec"}
"""Fields of inputs that are told by their names alone."""


def fields_of(kind: Any, path: str = "") -> Iterator[str]:
    """The fields of a struct, of those in it, and so on, each by its path; of alternatives all, by their tags. Members of a set of inputs are inputs again."""
    structs = structs_in(kind)
    if path in WHOLE or not structs:
        yield path
    for struct in structs if path not in WHOLE else ():
        tag = f"{path}.{struct.__struct_config__.tag}" if struct.__struct_config__.tag else path
        if tag in WHOLE or struct in get_args(SetInput):
            yield tag
            continue
        for member in msgspec.structs.fields(struct):
            yield from fields_of(member.type, f"{tag}.{member.name}".removeprefix("."))


def structs_in(kind: Any) -> list[Any]:
    """The structs that a value of this type may hold."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return list(dict.fromkeys(struct for argument in get_args(kind) for struct in structs_in(argument)))


def test_no_field_is_forgotten() -> None:
    told = REFUSED.keys() | WITHOUT_EFFECT.keys() | {"input.cron"} | {f"input.pfs.{name}" for name in IN_INPUTS}
    found = set(fields_of(PipelineSpec))
    assert {"input.pfs.glob", "egress.sql_database.secret.key", "resource_limits.gpu.type", "transform.secrets.key"} <= found
    below = {path for path in found if any(path.startswith(f"{one}.") for one in told)}
    assert sorted(found - below - told - EXPRESSED.keys()) == []
    assert sorted(EXPRESSED.keys() - found) == []


@pytest.mark.parametrize("field", EXPRESSED)
def test_what_is_expressed_makes_another_export(field: str) -> None:
    without, with_it = (exported(changed(EDGES, **fields), options=Options(name="x")) for fields in EXPRESSED[field])
    assert without.to_yaml() != with_it.to_yaml()
    assert with_it.notes == ()


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


@pytest.mark.parametrize(
    ("schedule", "way_out"), [("@daily", "cron expression '0 0 0 * * *'"), ("15 3 * * mon", "cron expression '0 15 3 * * mon'"), ("@every 1h", "an interval")]
)
def test_the_way_out_of_a_cron_input_is_a_recurring_run_that_reads_its_ticks(schedule: str, way_out: str) -> None:
    with pytest.raises(InvalidError) as raised:
        exported(changed(EDGES, input={"cron": {"name": "tick", "spec": schedule}}))
    read = json.loads("{" + raised.value.message.partition("(")[2].partition(")")[0] + "}")
    assert way_out in raised.value.message
    assert [branch.repo.name for branch in read_outside(specs(changed(EDGES, input=read)))] == ["edges_tick"]


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
        "podMetadata": {"annotations": {"note": "y", "pachyderm-dagster/needs": NEEDS_SHELL}, "labels": {"team": "x"}},
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
