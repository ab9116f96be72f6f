"""What is asked of pods is looked at when a pipeline is made, here and by the API server, and nothing is made where it cannot be."""

import json
from collections.abc import Sequence

import pytest

from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import pipelines
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


def test_what_runs_on_has_no_pods_to_be_checked(place: Place, pachctl: Pachctl) -> None:
    pachctl("create", "pipeline", stdin=with_fields(service={"internal_port": 8080}, pod_patch='[{"op": "remove", "path": "/none"}]'))
    assert is_made(place) and not place.server.tried


def test_defaults_that_no_pod_can_have_are_refused_for_the_pipelines_that_would_get_them(place: Place, pachctl: Pachctl) -> None:
    pachctl("create", "pipeline", stdin=with_fields())
    body = json.dumps({"create_pipeline_request": {"pod_patch": '[{"op": "remove", "path": "/none"}]'}}).encode()
    assert pachctl.run("create", "defaults", "--cluster", "--regenerate", stdin=body).code == "pod-patch-invalid"
    with place.workspace.database.read() as txn:
        assert pipelines.get_pipeline(txn, RepoName("default", "other")).version == 1
