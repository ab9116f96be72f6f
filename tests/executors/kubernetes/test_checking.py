"""What is asked of pods is looked at when a pipeline is made, here and by the API server, and nothing is made where it cannot be."""

import json
import os
from collections.abc import Sequence
from contextlib import closing

import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.executors.kubernetes.pod_keeper import PodKeeper
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.workspace import open_workspace
from tests.cli.pachctl import Pachctl
from tests.executors.kubernetes.places import Place, home_of_commands, place

__all__ = ["home_of_commands", "place"]
pytestmark = pytest.mark.usefixtures("home_of_commands")
SPEC = {"pipeline": {"name": "other"}, "transform": {"image": "busybox", "cmd": ["true"]}, "input": {"pfs": {"repo": "data", "glob": "/*"}}}


def with_fields(**fields: object) -> bytes:
    return json.dumps(SPEC | fields).encode()


def is_made(place: Place) -> bool:
    with place.workspace.database.read() as txn:
        return pipelines.find_pipeline(txn, RepoName("default", "other")) is not None


@pytest.mark.parametrize("command", [["create", "pipeline"], ["update", "pipeline"], ["create", "pipeline", "--dry-run"], ["validate", "pipeline"]])
@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"pod_patch": '[{"op": "remove", "path": "/containers/7"}]'}, "pod-patch-invalid", "operation 1 of pod_patch, 'remove /containers/7'"),
        ({"pod_patch": '[{"op": "shake", "path": "/nodeName"}]'}, "pod-patch-invalid", "no operation of RFC 6902"),
        ({"pod_spec": "[]"}, "pod-patch-invalid", "pod_spec is not an object"),
        ({"transform": {"image": "busybox", "cmd": ["true"], "user": "nobody"}}, "user-not-number", "only the image knows the number"),
    ],
)
def test_pods_that_cannot_be_are_refused_before_there_is_a_pipeline(
    place: Place, pachctl: Pachctl, command: Sequence[str], fields: dict[str, object], code: str, words: str
) -> None:
    refused = pachctl.run(*command, stdin=with_fields(**fields))
    assert refused.code == code and words in refused.err
    assert not is_made(place) and not place.server.tried


@pytest.mark.parametrize(("fields", "kind"), [({}, "jobs"), ({"autoscaling": True}, "deployments")])
def test_api_server_is_shown_what_would_make_the_pods(place: Place, pachctl: Pachctl, fields: dict[str, object], kind: str) -> None:
    pachctl("create", "pipeline", stdin=with_fields(pod_patch='[{"op": "add", "path": "/nodeName", "value": "a"}]', **fields))
    ((of, shown),) = place.server.tried
    assert (of, shown["spec"]["template"]["spec"]["nodeName"]) == (kind, "a")
    assert is_made(place) and not place.server.objects(kind)


def test_what_the_api_server_does_not_take_is_refused_in_its_words(place: Place, pachctl: Pachctl) -> None:
    place.server.refuse_kind["jobs"] = 400
    refused = pachctl.run("create", "pipeline", stdin=with_fields(pod_spec='{"nodNam": "a"}'))
    assert refused.code == "pod-refused" and "as the test wants it" in refused.err
    assert not is_made(place)


@pytest.mark.parametrize("status", [403, 503])
def test_pipeline_is_made_with_a_note_where_the_api_server_does_not_say(place: Place, pachctl: Pachctl, status: int) -> None:
    place.server.refuse_kind["jobs"] = status
    assert "note: the cluster was not asked whether it takes these pods: " in pachctl("create", "pipeline", stdin=with_fields()).err
    assert is_made(place)


def of_service(**fields: object) -> bytes:
    return with_fields(service={"internal_port": 8080, "external_port": 30080}, input={"pfs": {"repo": "data", "glob": "/"}}, **fields)


@pytest.mark.parametrize("kind", [{"service": {"internal_port": 8080}}, {"spout": {}, "input": None}])
@pytest.mark.parametrize("command", [["create", "pipeline"], ["validate", "pipeline"]])
def test_service_or_spout_whose_pod_cannot_be_is_refused(place: Place, pachctl: Pachctl, command: Sequence[str], kind: dict[str, object]) -> None:
    refused = pachctl.run(*command, stdin=with_fields(pod_patch='[{"op": "remove", "path": "/none"}]', **kind))
    assert refused.code == "pod-patch-invalid" and not is_made(place) and not place.server.tried


def test_api_server_is_shown_deployment_and_service_of_a_service(place: Place, pachctl: Pachctl) -> None:
    pachctl("validate", "pipeline", stdin=of_service(pod_patch='[{"op": "replace", "path": "/containers/0/readinessProbe", "value": {}}]'))
    (of, deployment), (of_second, service) = place.server.tried
    assert (of, deployment["metadata"]["name"], of_second) == ("deployments", "pipeline-default-other", "services")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] == {}
    assert service["spec"]["ports"] == [{"name": "user-port", "port": 30080, "targetPort": 8080, "nodePort": 30080}]
    assert not place.server.objects("deployments") and not place.server.objects("services")


@pytest.mark.parametrize("kind", ["deployments", "services"])
def test_what_the_api_server_does_not_take_of_a_service_is_refused(place: Place, pachctl: Pachctl, kind: str) -> None:
    place.server.refuse_kind[kind] = 422
    assert pachctl.run("validate", "pipeline", stdin=of_service()).code == "pod-refused"


def test_update_of_a_service_asks_for_no_second_port_of_the_nodes(place: Place, pachctl: Pachctl) -> None:
    pachctl("create", "pipeline", stdin=of_service())
    PodKeeper(place.workspace, place.settings).step()
    (there,) = place.server.objects("services")
    place.server.tried.clear()
    pachctl("update", "pipeline", stdin=of_service(description="as it was"))
    shown = next(shown for of, shown in place.server.tried if of == "services")
    assert shown["metadata"]["resourceVersion"] == there["metadata"]["resourceVersion"]


def test_pipeline_that_python_makes_is_checked_as_by_a_command(place: Place) -> None:
    (bad,) = parse_specs(with_fields(pod_patch='[{"op": "remove", "path": "/none"}]').decode(), source="test")
    (good,) = parse_specs(with_fields().decode(), source="test")
    with closing(open_workspace(os.environ)) as workspace:
        with pytest.raises(InvalidError) as refused:
            workspace.pps.create_pipeline(bad)
        assert refused.value.code == "pod-patch-invalid" and not is_made(place)
        workspace.pps.create_pipeline(good)
    assert is_made(place) and [kind for kind, _ in place.server.tried] == ["jobs"]


def test_defaults_that_no_pod_can_have_are_refused_for_the_pipelines_that_would_get_them(place: Place, pachctl: Pachctl) -> None:
    pachctl("create", "pipeline", stdin=with_fields())
    body = json.dumps({"create_pipeline_request": {"pod_patch": '[{"op": "remove", "path": "/none"}]'}}).encode()
    assert pachctl.run("create", "defaults", "--cluster", "--regenerate", stdin=body).code == "pod-patch-invalid"
    with place.workspace.database.read() as txn:
        assert pipelines.get_pipeline(txn, RepoName("default", "other")).version == 1
