"""The objects of a home: kept as a cluster keeps them, and refused as it refuses."""

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pachyderm_dagster.argo.deployment_ports import wanted_ports
from pachyderm_dagster.argo.deployment_reading import read_deployment, read_service
from pachyderm_dagster.argo.home_objects import LAST_APPLIED, UNKEPT_SECONDS, HomeObjects, revision_of
from pachyderm_dagster.argo.kept_files import locked
from pachyderm_dagster.argo.kept_objects import KeptObjects
from pachyderm_dagster.argo.resources import Document, Reference
from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import ConflictError, ExecutionError, ExistsError, InvalidError, NotFoundError, StateError
from pachyderm_dagster.pps.strict import Place
from tests.argo.deployments import DeploymentHome
from tests.docs.markdown import ROOT

VIEWER = Reference("apps/v1", "Deployment", "", "viewer")


def viewer() -> Document:
    found: Document = yaml.safe_load((ROOT / "definitions" / "workflows" / "viewer.yaml").read_text())
    return found


def env(document: Document) -> dict[str, str]:
    (container,) = document["spec"]["template"]["spec"]["initContainers"]
    return {one["name"]: one.get("value", "") for one in container["env"]}


def patch(**variables: str) -> Document:
    container = {"name": "page", "env": [{"name": name, "value": value} for name, value in variables.items()]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "viewer"},
        "spec": {"template": {"spec": {"initContainers": [container]}}},
    }


@pytest.fixture
def objects(tmp_path: Path) -> HomeObjects:
    return HomeObjects(tmp_path, ManualClock())


def test_a_deployment_is_kept_with_what_a_cluster_sets_of_it(objects: HomeObjects) -> None:
    made = objects.act("create", viewer(), merge="", node="")
    assert made == objects.get(VIEWER)
    metadata = made["metadata"]
    assert (metadata["generation"], metadata["resourceVersion"], metadata["creationTimestamp"]) == (1, "1", "2026-01-01T00:00:00Z")
    assert revision_of(made) == 1 and made["spec"]["replicas"] == 1


def test_a_patch_changes_one_variable_and_makes_another_generation_and_revision(objects: HomeObjects) -> None:
    objects.act("create", viewer(), merge="", node="")
    changed = objects.act("patch", patch(ESTIMATES="today"), merge="", node="")
    assert changed is not None
    assert env(changed) == {"DATABASE": "", "ESTIMATES": "today"}
    assert (changed["metadata"]["generation"], revision_of(changed)) == (2, 2)
    assert objects.act("patch", patch(ESTIMATES="today"), merge="", node="") == changed
    with pytest.raises(InvalidError, match="required, but not given"):
        # A merge patch has lists take the place of lists, so that the image is gone.
        objects.act("patch", patch(ESTIMATES="none"), merge="merge", node="")


def test_what_goes_back_to_an_earlier_template_is_a_new_revision_of_the_same_replica_set(objects: HomeObjects) -> None:
    first = objects.apply(viewer())
    objects.act("patch", patch(ESTIMATES="today"), merge="", node="")
    objects.act("patch", patch(ESTIMATES="none yet"), merge="", node="")
    revisions = objects.revisions("viewer")
    assert [revision_of(one) for one in revisions] == [2, 3]
    assert revisions[1]["spec"]["template"] == first["spec"]["template"]


def test_only_so_many_templates_are_kept_as_the_deployment_says(objects: HomeObjects) -> None:
    made = viewer()
    made["spec"]["revisionHistoryLimit"] = 2
    objects.apply(made)
    for number in range(5):
        objects.act("patch", patch(ESTIMATES=str(number)), merge="", node="")
    assert [revision_of(one) for one in objects.revisions("viewer")] == [4, 5, 6]


def test_apply_takes_away_what_was_applied_before_and_leaves_what_others_set(objects: HomeObjects) -> None:
    first = viewer()
    first["spec"]["template"]["spec"]["initContainers"][0]["env"].append({"name": "GONE", "value": "soon"})
    objects.apply(first)
    objects.act("patch", patch(ESTIMATES="today", OTHER="stays"), merge="", node="")
    second = viewer()
    second["spec"].pop("strategy")
    applied = objects.apply(second)
    assert env(applied) == {"DATABASE": "", "ESTIMATES": "none yet", "OTHER": "stays"}
    assert "strategy" not in applied["spec"]
    assert json.loads(applied["metadata"]["annotations"][LAST_APPLIED]) == second


def test_who_made_an_object_before_it_was_killed_finds_it(objects: HomeObjects) -> None:
    made = objects.act("create", viewer(), merge="", node="run/node")
    assert objects.act("create", viewer(), merge="", node="run/node") == made
    with pytest.raises(ExistsError, match="object-exists"):
        objects.act("create", viewer(), merge="", node="run/other")


def test_what_was_changed_meanwhile_is_not_overwritten(objects: HomeObjects) -> None:
    made = objects.apply(viewer())
    objects.act("patch", patch(ESTIMATES="today"), merge="", node="")
    with pytest.raises(ConflictError, match="object-changed"):
        objects.act("replace", made, merge="", node="")


def test_a_deleted_deployment_takes_its_templates_along(objects: HomeObjects) -> None:
    objects.apply(viewer())
    objects.act("delete", viewer(), merge="", node="")
    assert objects.list("ReplicaSet") == []
    with pytest.raises(NotFoundError, match="has no Deployment 'viewer'; those that it has: none"):
        objects.get(VIEWER)


def test_config_maps_and_secrets_are_those_of_workflows(objects: HomeObjects, tmp_path: Path) -> None:
    objects.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "winery"}, "stringData": {"url": "postgresql://"}})
    objects.apply(viewer())
    assert objects.values("Secret") == {"winery": {"url": "postgresql://"}}
    assert [str(kept.name) for kept in KeptObjects(tmp_path).list()] == ["Secret winery"]


def test_a_deployment_that_nobody_keeps_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    now = 0.0
    objects = HomeObjects(tmp_path, ManualClock(), lambda: now)
    objects.apply(viewer())
    objects.get(VIEWER)
    now = UNKEPT_SECONDS - 1
    objects.get(VIEWER)
    with HomeObjects(tmp_path).keeping():
        now = UNKEPT_SECONDS
        objects.get(VIEWER)
    objects.get(VIEWER)
    now = 2 * UNKEPT_SECONDS
    with pytest.raises(StateError, match="pachctl run deployment.*deployments-not-kept"):
        objects.get(VIEWER)


def test_those_who_ask_at_the_same_time_whether_deployments_are_kept_are_no_keepers(objects: HomeObjects) -> None:
    objects.apply(viewer())
    with locked(objects.folder / ".keeper", fcntl.LOCK_SH):
        assert not objects.is_kept()
    with objects.keeping():
        assert objects.is_kept()


@pytest.mark.parametrize(("name", "number"), [("port", 70000), ("nodePort", 1 << 16)])
def test_a_service_at_no_port_is_refused(objects: HomeObjects, name: str, number: int) -> None:
    spec = {"selector": {"app": "viewer"}, "ports": [{"port": 80, name: number}]}
    with pytest.raises(InvalidError, match=rf"spec\.ports\[0\]\.{name}: expected the number of a port"):
        objects.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "viewer"}, "spec": spec})


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("set", "env", "A=b"), "no object is named"),
        (("set", "image", "web=busybox"), "no object is named"),
        (("patch", "deployment/viewer", "-p", ""), "a patch is one object"),
        (("patch", "deployment/viewer", "-p", "{}\n---\n{}"), "a patch is one object"),
        (("patch", "deployment/viewer", "-p", "metadata: a"), "a patch is one object"),
    ],
)
def test_words_of_kubectl_that_say_too_little_or_too_much_are_refused(tmp_path: Path, words: tuple[str, ...], problem: str) -> None:
    home = DeploymentHome(tmp_path)
    home.objects.apply(viewer())
    with pytest.raises(InvalidError, match=f"{problem}.*kubectl-invalid"):
        home.kubectl(*words)


def test_a_deployment_with_one_revision_cannot_go_back(tmp_path: Path) -> None:
    home = DeploymentHome(tmp_path)
    home.objects.apply(viewer())
    with pytest.raises(NotFoundError, match="'viewer' has no revision before its newest to go back to; there are: 1"):
        home.kubectl("rollout", "undo", "deployment/viewer")
    with pytest.raises(NotFoundError, match="'viewer' has no revision 7 to go back to; there are: 1"):
        home.kubectl("rollout", "undo", "deployment/viewer", "--to-revision", "7")


def test_a_rollout_that_takes_too_long_says_how_to_go_back(tmp_path: Path) -> None:
    home = DeploymentHome(tmp_path)
    home.objects.apply(viewer())
    with pytest.raises(ExecutionError, match="'viewer' was not rolled out after 1ms: .*; it goes on, and `rollout undo` goes back"):
        home.kubectl("rollout", "status", "deployment/viewer", "--timeout", "1ms")


def changed(path: str, value: Any) -> Document:
    """The viewer with another value at a path; None takes it away."""
    made = viewer()
    below: Any = made
    *parts, last = path.split(".")
    for part in parts:
        below = below[int(part)] if part.isdigit() else below.setdefault(part, {})
    below[last] = value
    return made


CONTAINER = "spec.template.spec.containers.0"


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("kind", "StatefulSet", "no 'StatefulSet'.*Deployment, Service, ConfigMap, Secret"),
        ("apiVersion", "apps/v1beta1", "is of 'apps/v1'"),
        ("spec.replica", 2, r"spec\.replica: unknown field; did you mean 'replicas'"),
        ("specs", {}, "specs: unknown field"),
        ("metadata.label", {}, "metadata.label: unknown field"),
        ("metadata.name", "A_b", "names no object"),
        ("metadata.name", "a" * 201, "names no object; it takes up to 200"),
        ("metadata.annotations", ["a"], "metadata.annotations: expected an object, found"),
        ("spec.replicas", -1, "expected a whole number"),
        ("spec.paused", True, "paused: not supported"),
        ("spec.minReadySeconds", 5, "minReadySeconds: not supported"),
        ("spec.selector.matchLabels", {"app": "other"}, "selector: its labels must be among those of the template"),
        ("spec.selector.matchExpressions", [{}], "write `matchLabels`"),
        ("spec.strategy.type", "BlueGreen", "neither RollingUpdate nor Recreate"),
        ("spec.strategy.rollingUpdate.maxSurge", "a lot", "expected a number or a percentage"),
        ("spec.template.spec.containers", [{"name": "a", "image": "busybox"}] * 2, "containers: not supported; a Deployment here has one container"),
        ("spec.template.spec.restartPolicy", "Never", "always started again"),
        ("spec.template.spec.volumes", [{"name": "page", "hostPath": {"path": "/etc"}}], "hostPath"),
        (f"{CONTAINER}.ports", [{"containerPort": 53, "protocol": "UDP"}], "only TCP"),
        (
            f"{CONTAINER}.ports",
            [{"containerPort": 80, "hostPort": 80}],
            r"ports\[0\]\.hostPort: not supported; the fields here are containerPort, name, protocol",
        ),
        (f"{CONTAINER}.ports", [{"containerPort": True}], "expected the number of a port, 1 to 65535, found True"),
        (f"{CONTAINER}.readinessProbe", {"httpGet": {"port": "web"}}, "'web' is neither a number nor the name of a port of the container; its names: none"),
    ],
)
def test_what_a_home_cannot_do_is_refused_by_name(objects: HomeObjects, path: str, value: Any, problem: str) -> None:
    with pytest.raises(InvalidError, match=problem):
        objects.apply(changed(path, value))
    assert objects.list("Deployment") == []


@pytest.mark.parametrize(
    ("strategy", "replicas", "expected"),
    [
        ({}, 1, (1, 0)),
        ({}, 4, (1, 1)),
        ({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "50%"}}, 3, (0, 1)),
        ({"rollingUpdate": {"maxSurge": "30%", "maxUnavailable": 2}}, 4, (2, 2)),
        ({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}, 3, (0, 1)),
        ({"type": "Recreate"}, 3, (0, 3)),
    ],
)
def test_shares_are_rounded_as_kubernetes_does(strategy: Document, replicas: int, expected: tuple[int, int]) -> None:
    spec = {**viewer()["spec"], "strategy": strategy, "replicas": replicas}
    assert read_deployment(spec, Place("spec"), []).margins == expected


@pytest.mark.parametrize(
    ("services", "expected"),
    [
        ([], [(8080, 8080)]),
        ([{"selector": {"app": "viewer"}, "ports": [{"port": 9000, "targetPort": 8080}, {"port": 9001, "targetPort": "http"}]}], [(9000, 8080), (9001, 8080)]),
        ([{"selector": {"app": "viewer"}, "ports": [{"port": 80, "targetPort": "http", "nodePort": 30080}]}], [(30080, 8080)]),
        ([{"selector": {"app": "other"}, "ports": [{"port": 9000}]}], [(8080, 8080)]),
        ([{"selector": {"app": "viewer"}, "ports": [{"port": 80, "targetPort": "web"}]}], [(80, "web")]),
    ],
)
def test_services_say_where_pods_are_reached(services: list[Document], expected: list[tuple[int, int | str]]) -> None:
    spec = viewer()["spec"]
    spec["template"]["spec"]["containers"][0]["ports"] = [{"name": "http", "containerPort": 8080}]
    read = {str(number): read_service(one, Place("spec"), []) for number, one in enumerate(services)}
    assert list(wanted_ports(read_deployment(spec, Place("spec"), []), read)) == expected
