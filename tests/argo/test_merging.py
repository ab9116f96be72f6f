"""Strategic merges, and the specs and templates that come of them."""

import pytest

from pachyderm_dagster.argo.merging import merged
from tests.argo.playing import play, pod

A, B, C = {"name": "a", "value": "1"}, {"name": "b"}, {"name": "c"}
MOUNT = {"mountPath": "/a"}


@pytest.mark.parametrize(
    ("below", "above", "expected"),
    [
        ({"x": 1, "y": {"a": 1, "b": 2}}, {"y": {"b": 3}, "z": 0}, {"x": 1, "y": {"a": 1, "b": 3}, "z": 0}),
        ({"x": 1, "y": 2}, {"y": None}, {"x": 1}),
        ({"env": [A, B]}, {"env": [{"name": "a", "value": "2"}, C]}, {"env": [{"name": "a", "value": "2"}, B, C]}),
        ({"env": [A, B]}, {"env": [{"name": "a", "$patch": "delete"}]}, {"env": [B]}),
        ({"command": ["a", "b"]}, {"command": ["c"]}, {"command": ["c"]}),
        ({"r": {"limits": {"cpu": 1}}}, {"r": {"$patch": "replace", "requests": {}}}, {"r": {"requests": {}}}),
        ({"containers": [{"name": "main", "resources": {"limits": {"cpu": 1}}}]}, {"containers": [{"name": "main", "resources": {"limits": {"memory": 2}}}]},
         {"containers": [{"name": "main", "resources": {"limits": {"cpu": 1, "memory": 2}}}]}),
        ({"volumeMounts": [MOUNT | {"name": "v"}]}, {"volumeMounts": [MOUNT | {"name": "w"}]}, {"volumeMounts": [MOUNT | {"name": "w"}]}),
    ],
)  # fmt: skip
def test_documents_are_put_over_one_another(below: dict[str, object], above: dict[str, object], expected: dict[str, object]) -> None:
    assert merged(below, above) == expected


STORED = """---
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: stored}
spec:
  entrypoint: other
  arguments: {parameters: [{name: a, value: stored}, {name: b, value: stored}]}
  volumes: [{name: v, emptyDir: {}}, {name: w, emptyDir: {}}]
  hooks: {exit: {template: ok}}
  templates:
  - {name: main, container: {image: x, args: ['print {{workflow.parameters.a}} {{workflow.parameters.b}}']}}
  - {name: other, container: {image: x}}
  - {name: ok, container: {image: x}}
"""


def test_a_workflow_is_merged_by_name_over_its_template() -> None:
    own = "  workflowTemplateRef: {name: stored}\n  arguments: {parameters: [{name: b, value: own}]}\n"
    own += "  volumes: [{name: w, persistentVolumeClaim: {claimName: c}}]\n"
    played = play(own + STORED)
    assert played.phases() == {"": "Succeeded", ".onExit": "Succeeded"}
    started = played.actors.pods["wf"]
    assert started.template.container is not None and started.template.container.args == ("print stored own",)
    assert {volume.name: volume.persistent_volume_claim is not None for volume in started.volumes} == {"v": False, "w": True}


def test_defaults_of_templates_are_merged_by_name_and_kind() -> None:
    defaults = "  templateDefaults: {container: {image: d, env: [{name: A, value: '1'}, {name: B, value: '2'}]}, script: {image: s, source: never}}\n"
    main = pod("main").replace("image: x", "image: x, env: [{name: B, value: own}]")
    container = play(defaults + "  templates:\n" + main).actors.pods["wf"].template.container
    assert container is not None and {one.name: one.value for one in container.env} == {"A": "1", "B": "own"}
