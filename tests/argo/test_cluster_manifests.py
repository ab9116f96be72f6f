"""The manifests of workflows' pods: what is in them of ours, and what people say over it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from pachyderm_dagster.argo.cluster.area import File, Given, Order
from pachyderm_dagster.argo.cluster.manifests import Making, gives, pod_manifest
from pachyderm_dagster.argo.cluster.names import RunNames
from pachyderm_dagster.argo.containers import (
    ConfigVolume,
    ContainerSet,
    EmptyDir,
    EnvFrom,
    EnvVar,
    ProjectedSource,
    ProjectedVolume,
    SetContainer,
    UserContainer,
    Volume,
    VolumeMount,
)
from pachyderm_dagster.argo.parameters import Artifact, Outputs, Parameter, ValueFrom
from pachyderm_dagster.argo.pods import Pod
from pachyderm_dagster.argo.templates import Template
from pachyderm_dagster.settings import KubernetesSettings

MAKING = Making(RunNames("home", "uid", "wf"), KubernetesSettings("", "", "lab", "worker:1", "Never", "", "default"), "s3://bucket")
P = Outputs(parameters=(Parameter(name="p", value_from=ValueFrom(path="/p")),))
PLAIN = Template(name="t", container=UserContainer(name="main", image="x", command=("true",)))


def set_of(*names: str) -> Template:
    containers = tuple(SetContainer(name=name, image="x", command=("true",)) for name in names)
    return Template(name="t", container_set=ContainerSet(containers=containers), outputs=P)


def spec(pod: Pod, order: Order) -> dict[str, Any]:
    found: dict[str, Any] = pod_manifest(pod, 0, order, "workflows/uid/pods/wf/0", MAKING)["spec"]
    return found


@pytest.mark.parametrize(
    ("template", "keeps_result", "gives_something"),
    [
        (PLAIN, False, False),
        (PLAIN, True, True),
        (Template(name="t", container=PLAIN.container, outputs=P), False, True),
        (Template(name="t", container=PLAIN.container, outputs=Outputs(parameters=(Parameter(name="p", value="v"),))), False, False),
        (Template(name="t", container=PLAIN.container, outputs=Outputs(artifacts=(Artifact(name="a", path="/a"),))), False, True),
        (set_of("main", "b"), False, True),
        # Outputs are those of `main`, which is not there.
        (set_of("a", "b"), True, False),
    ],
)
def test_a_pod_gives_what_its_main_container_does(template: Template, keeps_result: bool, gives_something: bool) -> None:
    pod = Pod("wf", "wf", template, keeps_result=keeps_result)
    assert gives(pod) is gives_something
    ours = [one["name"] for one in spec(pod, Order()).get("initContainers", ())]
    assert ours == (["pachyderm-begin", "pachyderm-save"] if gives_something else ["pachyderm-begin"] if template.container_set else [])


def test_what_goes_in_needs_no_container_beside_the_program() -> None:
    given = Given("0", Artifact(name="a", path="/a"), File("workflows/uid/in/a", 1))
    found = spec(Pod("wf", "wf", PLAIN), Order(given=(given,)))
    assert [one["name"] for one in found["initContainers"]] == ["pachyderm-begin"]
    assert found["containers"][0]["command"] == ["true"]


def test_a_patch_says_of_our_containers_what_a_quota_wants() -> None:
    resources = {"limits": {"cpu": "1"}}
    ours = ("pachyderm-begin", "pachyderm-save")
    patch = json.dumps({"initContainers": [{"name": name, "resources": resources} for name in ours]})
    pod = replace(Pod("wf", "wf", Template(name="t", container=PLAIN.container, outputs=P)), pod_spec_patches=(patch,))
    found = spec(pod, Order())["initContainers"]
    assert [(one["name"], one["resources"], one["image"]) for one in found] == [(name, resources, "worker:1") for name in ours]


def test_names_tell_runs_and_kinds_apart() -> None:
    names = {RunNames("home", uid, "wf").object_name(kind, name) for uid in "ab" for kind in ("pod", "claim") for name in ("x" * 100, "x" * 101, "")}
    assert len(names) == 12
    assert max(map(len, names)) <= 63


def test_what_only_a_cluster_has_is_handed_on() -> None:
    volumes = (
        Volume(name="h", host_path={"path": "/data"}),
        Volume(name="e", empty_dir=EmptyDir(medium="Memory", size_limit="1Gi")),
        Volume(
            name="p", projected=ProjectedVolume(sources=(ProjectedSource(secret=ConfigVolume(name="s")), ProjectedSource(service_account_token={"path": "t"})))
        ),
    )
    mounts = (VolumeMount(name="h", mount_path="/h", sub_path_expr="$(A)"),)
    limit = EnvVar(name="L", value_from=EnvFrom(resource_field_ref={"resource": "limits.cpu"}))
    main = UserContainer(name="main", image="x", command=("true",), volume_mounts=mounts, env=(limit,), volume_devices=({"name": "b", "devicePath": "/dev/b"},))
    found = spec(Pod("wf", "wf", Template(name="t", container=main), volumes=volumes, secrets={"s": {"k": "v"}}), Order())
    named, copy = {one["name"]: one for one in found["volumes"]}, MAKING.names.object_name("secret", "s")
    assert named["h"] == {"name": "h", "hostPath": {"path": "/data"}}
    assert named["e"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
    assert named["p"]["projected"]["sources"] == [{"secret": {"name": copy}}, {"serviceAccountToken": {"path": "t"}}]
    (container,) = found["containers"]
    assert container["volumeMounts"] == [{"name": "h", "mountPath": "/h", "subPathExpr": "$(A)"}]
    assert container["env"] == [{"name": "L", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]
    assert list(container["volumeDevices"]) == [{"name": "b", "devicePath": "/dev/b"}]
