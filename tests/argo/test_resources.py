"""Templates that are a `resource`, against an API server with objects of any kind in memory."""

import json
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from pachyderm_dagster.argo.cluster_objects import ClusterObjects
from pachyderm_dagster.argo.merging import merged
from pachyderm_dagster.argo.nodes import Node, Phase
from pachyderm_dagster.argo.object_paths import holds, jq, json_path
from pachyderm_dagster.argo.open_objects import open_objects
from pachyderm_dagster.argo.resources import Objects
from pachyderm_dagster.errors import InvalidError, UnreachableError
from pachyderm_dagster.settings import KubernetesSettings
from tests.argo.playing import play
from tests.argo.test_pods import Home

DOCUMENT = {"status": {"phase": "Done", "ready": 2, "ok": True, "items": [{"name": "a"}, {"name": "b"}]}, "metadata": {"labels": {"x.y/z": "v"}}}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("status.phase == Done", True),
        ("status.phase = Done, status.ready > 1", True),
        ("status.phase != Done", False),
        ("status.ready > 2", False),
        ("status.ready < 10", True),
        ("status.ok == true", True),
        ("status.phase in (Over, Done)", True),
        ("status.phase notin (Over, Done)", False),
        ("status.gone == x", False),
        ("status.gone != x", True),
        ("status.gone > 0", False),
        ("status.phase", True),
        ("!status.gone", True),
        ("status.items.1.name == b", True),
        (r"metadata.labels.x\.y/z == v", True),
    ],
)
def test_conditions_are_label_selectors_over_paths(condition: str, expected: bool) -> None:
    assert holds(condition, DOCUMENT) is expected


def test_a_condition_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidError, match="condition-invalid"):
        holds("status.phase ~ x y", DOCUMENT)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("{.status.phase}", "Done"),
        (".status.phase", "Done"),
        ("phase {.status.phase}, {.status.ready}", "phase Done, 2"),
        ("{.status.items[0].name}", "a"),
        ("{.status.items[-1].name}", "b"),
        ("{.status.items[*].name}", "a b"),
        ("{.metadata.labels['x.y/z']}", "v"),
        ("{$.status.items[0]}", '{"name":"a"}'),
        ("{.status.gone}", None),
        ("{.status.items[7].name}", None),
    ],
)
def test_values_are_found_by_json_path(path: str, expected: str | None) -> None:
    assert json_path(path, DOCUMENT) == expected


def test_a_path_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidError, match="json-path-invalid"):
        json_path("{.items[?(@.a)]}", DOCUMENT)


def test_jq_prints_what_its_program_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "jq"
    program.write_text("""#!/bin/sh
[ "$2" = " .bad" ] && { echo 'no program' >&2; exit 3; }
[ "$2" = " .gone" ] && { echo null; exit; }
cat
""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert jq(".", {"a": 1}) == '{"a": 1}'
    assert jq(".gone", {}) is None
    with pytest.raises(InvalidError, match="jq-invalid"):
        jq(".bad", {})


class Cluster:
    """An API server with Widgets (of a namespace) and Nodes (of none). A Widget that was made is `Done` when it was looked at twice."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.bodies: list[Any] = []
        self.refuses = False
        self.looks = 0
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                status, found = cluster.act(self.command, self.path, self.headers.get("Content-Type") or "", body)
                data = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def act(self, method: str, path: str, kind: str, body: Any) -> tuple[int, dict[str, Any]]:
        self.asked.append((method, path, kind))
        self.bodies.append(body)
        path, _, query = path.partition("?")
        if self.refuses:
            return 503, {"message": "not now"}
        if path == "/apis/shop/v1":
            return 200, {
                "resources": [{"name": "widgets", "kind": "Widget", "namespaced": True}, {"name": "widgets/status", "kind": "Widget", "namespaced": True}]
            }
        if path == "/api/v1":
            return 200, {"resources": [{"name": "nodes", "kind": "Node", "namespaced": False}]}
        if method == "POST":
            path = f"{path}/{body['metadata'].get('name') or body['metadata']['generateName'] + 'x1'}"
            if path in self.objects:
                return 409, {"message": "there is one already"}
            body = {**body, "metadata": {**body["metadata"], "name": path.rpartition("/")[2], "uid": "u1"}}
        elif method == "GET" and path.endswith("/widgets"):
            wanted = parse_qs(query)["labelSelector"][0].split("=")
            items = [one for place, one in self.objects.items() if place.startswith(path) and one["metadata"].get("labels", {}).get(wanted[0]) == wanted[1]]
            return 200, {"items": items}
        elif path not in self.objects and not kind.startswith("application/apply"):
            return 404, {"message": f"{path} not found"}
        if method == "DELETE":
            return 200, self.objects.pop(path)
        if method == "GET":
            self.looks += 1
            if self.looks >= 2:
                self.objects[path].setdefault("status", {"phase": "Done"})
        elif method == "PATCH":
            self.objects[path] = merged(self.objects.get(path, {}), body)
        else:
            self.objects[path] = body
        self.objects[path]["metadata"]["resourceVersion"] = str(len(self.asked))
        return 200, self.objects[path]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    found = Cluster()
    thread = threading.Thread(target=found.http.serve_forever)
    thread.start()
    yield found
    found.http.shutdown()
    found.http.server_close()
    thread.join()


@pytest.fixture
def objects(cluster: Cluster, tmp_path: Path) -> Objects:
    server = f"http://127.0.0.1:{cluster.http.server_address[1]}"
    config = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    return ClusterObjects(KubernetesSettings(str(tmp_path / "kubeconfig"), "", "lab", "", "", "", ""))


def resource(action: str, manifest: str, more: str = "", outputs: str = "") -> str:
    return f"  templates:\n  - name: main\n    resource: {{action: {action}, manifest: '{manifest}'{more}}}\n    outputs: {{parameters: [{outputs}]}}\n"


def acted(objects: Objects, text: str) -> Node:
    """What comes of a workflow, each time in a home of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return Home(Path(folder), network=True, objects=lambda: objects).run(text)[""]


WIDGET = "{apiVersion: shop/v1, kind: Widget, metadata: {name: w}, spec: {size: 1}}"
PLACE = "/apis/shop/v1/namespaces/lab/widgets/w"


def test_an_object_is_made_and_waited_for(objects: Objects, cluster: Cluster) -> None:
    outputs = '{name: p, valueFrom: {jsonPath: "{.status.phase}"}}, {name: d, valueFrom: {jsonPath: "{.gone}", default: none}}'
    root = acted(objects, resource("create", WIDGET, ", successCondition: status.phase == Done, failureCondition: status.phase == Broken", outputs))
    assert (root.phase, root.outputs.parameters) == (Phase.SUCCEEDED, {"p": "Done", "d": "none"})
    assert cluster.objects[PLACE]["spec"] == {"size": 1}


def test_the_failure_condition_is_a_failure(objects: Objects) -> None:
    root = acted(objects, resource("create", WIDGET, ", successCondition: status.phase == Other, failureCondition: status.phase == Done"))
    assert root.phase is Phase.FAILED and "failure condition" in root.message


def test_who_made_an_object_and_was_killed_finds_it(objects: Objects, cluster: Cluster) -> None:
    assert acted(objects, resource("create", WIDGET)).phase is Phase.SUCCEEDED
    assert acted(objects, resource("create", WIDGET)).phase is Phase.SUCCEEDED
    cluster.objects[PLACE]["metadata"]["annotations"].clear()
    assert acted(objects, resource("create", WIDGET)).phase is Phase.ERROR


def test_names_may_be_generated(objects: Objects, cluster: Cluster) -> None:
    generated = WIDGET.replace("{name: w}", "{generateName: w-, namespace: other}")
    root = acted(objects, resource("create", generated, ", successCondition: status.phase == Done", '{name: made, valueFrom: {jsonPath: "{.metadata.name}"}}'))
    assert root.outputs.parameters == {"made": "w-x1"}
    assert "/apis/shop/v1/namespaces/other/widgets/w-x1" in cluster.objects


@pytest.mark.parametrize(
    ("action", "more", "method", "kind", "spec"),
    [
        ("patch", "", "PATCH", "application/strategic-merge-patch+json", {"size": 2, "kept": 1}),
        ("patch", ", mergeStrategy: merge", "PATCH", "application/merge-patch+json", {"size": 2, "kept": 1}),
        ("apply", "", "PATCH", "application/apply-patch+yaml", {"size": 2, "kept": 1}),
        ("replace", "", "PUT", "application/json", {"size": 2}),
    ],
)
def test_objects_are_changed(objects: Objects, cluster: Cluster, action: str, more: str, method: str, kind: str, spec: object) -> None:
    cluster.objects[PLACE] = {"metadata": {"name": "w", "resourceVersion": "7"}, "spec": {"size": 1, "kept": 1}}
    assert acted(objects, resource(action, WIDGET.replace("size: 1", "size: 2"), more)).phase is Phase.SUCCEEDED
    assert cluster.objects[PLACE]["spec"] == spec
    assert (cluster.asked[-1][0], cluster.asked[-1][2]) == (method, kind)


def test_objects_are_read_and_removed(objects: Objects, cluster: Cluster) -> None:
    node = "{apiVersion: v1, kind: Node, metadata: {name: one}}"
    cluster.objects["/api/v1/nodes/one"] = {"metadata": {"name": "one"}, "cpu": 4}
    assert acted(objects, resource("get", node, outputs="{name: c, valueFrom: {jsonPath: .cpu}}")).outputs.parameters == {"c": "4"}
    assert acted(objects, resource("delete", node)).phase is Phase.SUCCEEDED
    assert cluster.objects == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (resource("get", WIDGET), "not found"),
        (resource("get", "{kind: Widget}"), "a manifest has 'apiVersion'"),
        (resource("get", "[]"), "one object in YAML"),
        (resource("get", "{apiVersion: shop/v1, kind: Gadget, metadata: {name: g}}"), "knows no 'Gadget'"),
        (resource("create", WIDGET, outputs="{name: p, valueFrom: {jsonPath: .gone}}"), "has no value"),
    ],
)
def test_what_cannot_be_done_is_an_error(objects: Objects, text: str, said: str) -> None:
    root = acted(objects, text)
    assert root.phase is Phase.ERROR and said in root.message


def test_nothing_is_done_without_a_network() -> None:
    root = play(resource("get", WIDGET)).root
    assert root.phase is Phase.ERROR and "--network" in root.message


@pytest.mark.parametrize(("action", "more"), [("make", ""), ("patch", ", mergeStrategy: json")])
def test_what_is_no_action_is_refused(action: str, more: str) -> None:
    with pytest.raises(InvalidError, match="spec-invalid"):
        play(resource(action, WIDGET, more))


def test_a_client_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pachyderm_dagster.argo.cluster_objects", None)
    with pytest.raises(InvalidError, match="extra-missing"):
        open_objects({"PACHYDERM_OBJECTS": "cluster"})


def test_the_cluster_is_that_of_the_environment(objects: Objects, cluster: Cluster, tmp_path: Path) -> None:
    opened = open_objects({"KUBECONFIG": str(tmp_path / "kubeconfig"), "PACHYDERM_HOME": str(tmp_path), "PACHYDERM_KUBERNETES_NAMESPACE": "lab"})
    assert acted(opened, resource("create", WIDGET)).phase is Phase.SUCCEEDED
    assert PLACE in cluster.objects


WITH_MANIFEST = """  templates:
  - name: main
    inputs: {{artifacts: [{{name: m, path: /m, {source}}}]}}
    resource: {{action: create, manifestFrom: {{artifact: {{name: m}}}}{more}}}
"""


def test_a_manifest_may_be_an_artifact(objects: Objects, cluster: Cluster) -> None:
    root = acted(objects, WITH_MANIFEST.format(source=f"raw: {{data: '{WIDGET}'}}", more=""))
    assert (root.phase, cluster.objects[PLACE]["spec"]) == (Phase.SUCCEEDED, {"size": 1}), root.message


def test_a_manifest_may_be_what_a_step_before_wrote(objects: Objects, cluster: Cluster) -> None:
    text = f"""  templates:
  - name: main
    steps:
    - - {{name: w, template: write}}
    - - {{name: r, template: make, arguments: {{artifacts: [{{name: m, from: '{{{{steps.w.outputs.artifacts.o}}}}'}}]}}}}
  - name: write
    container: {{image: busybox, command: [sh, -c], args: ['echo "{WIDGET}" > /o']}}
    outputs: {{artifacts: [{{name: o, path: /o}}]}}
  - name: make
    inputs: {{artifacts: [{{name: m, path: /m}}]}}
    resource: {{action: create, manifestFrom: {{artifact: {{name: m}}}}}}
"""
    assert acted(objects, text).phase is Phase.SUCCEEDED
    assert cluster.objects[PLACE]["spec"] == {"size": 1}


def test_a_manifest_that_is_nowhere_is_an_error(objects: Objects) -> None:
    root = acted(objects, WITH_MANIFEST.format(source="s3: {key: gone}", more=""))
    assert root.phase is Phase.ERROR and "no artifact under the key 'gone'" in root.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (resource("create", ""), "one of 'manifest' and 'manifestFrom'"),
        (WITH_MANIFEST.format(source="raw: {data: x}", more=", manifest: x"), "one of 'manifest' and 'manifestFrom'"),
        (WITH_MANIFEST.format(source="raw: {data: x}", more="").replace("m}}}", "other}}}"), "there is no input artifact 'other'"),
        (resource("create", WIDGET, ", flags: [-l, a=b]"), "the flag '-l' is not known here"),
        (resource("create", WIDGET, ", flags: [--cascade]"), "the flag '--cascade' is not known here"),
        (resource("create", WIDGET, ", flags: [--cascade=sometimes]"), "--cascade is 'sometimes'; it is one of background"),
        (resource("create", WIDGET, ", flags: [--grace-period, soon]"), "--grace-period is 'soon'"),
    ],
)
def test_what_is_wrong_with_a_manifest_or_a_flag_is_told_before_it_runs(text: str, said: str) -> None:
    with pytest.raises(InvalidError) as found:
        play(text)
    assert said in str(found.value)


def test_flags_say_where_an_object_is_and_who_applies_it(objects: Objects, cluster: Cluster) -> None:
    assert acted(objects, resource("apply", WIDGET, ", flags: [-n, other, --field-manager=me, --dry-run=server]")).phase is Phase.SUCCEEDED
    (method, path, _) = cluster.asked[-1]
    assert method == "PATCH"
    assert path == "/apis/shop/v1/namespaces/other/widgets/w?dryRun=All&fieldManager=me&force=true"


def test_an_object_that_is_missing_may_count_as_removed(objects: Objects) -> None:
    assert acted(objects, resource("delete", WIDGET, ", flags: [--ignore-not-found]")).phase is Phase.SUCCEEDED
    assert acted(
        objects, resource("get", WIDGET, ", flags: [--ignore-not-found]", "{name: p, valueFrom: {jsonPath: .spec, default: none}}")
    ).outputs.parameters == {"p": "none"}


def test_flags_say_how_an_object_is_removed(objects: Objects, cluster: Cluster) -> None:
    cluster.objects[PLACE] = {"metadata": {"name": "w"}}
    assert acted(objects, resource("delete", WIDGET, ", flags: [--cascade=orphan, --grace-period=5]")).phase is Phase.SUCCEEDED
    assert cluster.bodies[-1] == {"propagationPolicy": "Orphan", "gracePeriodSeconds": 5}


def test_an_object_that_belongs_to_a_workflow_goes_with_it(objects: Objects, cluster: Cluster, tmp_path: Path) -> None:
    home = Home(tmp_path / "home", network=True, objects=lambda: objects)
    cluster.objects[f"{PLACE}-other"] = {"metadata": {"name": "w-other", "uid": "u2", "labels": {"pachyderm-dagster/owner": "another"}}}
    assert home.run(resource("create", WIDGET, ", setOwnerReference: true"))[""].phase is Phase.SUCCEEDED
    assert cluster.objects[PLACE]["metadata"]["labels"] == {"pachyderm-dagster/owner": "uid"}
    home.runs.delete(home.runs.get("wf"))
    assert list(cluster.objects) == [f"{PLACE}-other"]


def test_a_workflow_whose_objects_cannot_be_removed_stays(objects: Objects, cluster: Cluster, tmp_path: Path) -> None:
    home = Home(tmp_path / "home", network=True, objects=lambda: objects)
    home.run(resource("create", WIDGET, ", setOwnerReference: true"))
    cluster.refuses = True
    with pytest.raises(UnreachableError):
        home.runs.delete(home.runs.get("wf"))
    assert PLACE in cluster.objects
    cluster.refuses = False
    home.runs.delete(home.runs.get("wf"))
    assert PLACE not in cluster.objects
