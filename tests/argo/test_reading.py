import pytest

from pachyderm_dagster.argo.go_yaml import read_documents
from pachyderm_dagster.argo.reading import parse_objects
from pachyderm_dagster.argo.workflows import CronWorkflow, Values, Workflow, WorkflowTemplate
from pachyderm_dagster.errors import InvalidError

HEAD = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata:\n  generateName: try-\n"


def parsed(text: str) -> Workflow:
    (read,) = parse_objects(HEAD + text, source="w.yaml")
    assert isinstance(read.object, Workflow)
    return read.object


def refused(text: str) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        parse_objects(text, source="w.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("yes", True),
        ("on", True),
        ("y", True),
        ("N", False),
        ("off", False),
        ('"yes"', "yes"),
        ("!!str yes", "yes"),
        ("010", 8),
        ("0o10", 8),
        ("0x10", 16),
        ("1_000", 1000),
        ("1e3", 1000.0),
        ("1.50", 1.5),
        ("12:30", "12:30"),
        ("2026-01-31", "2026-01-31"),
        ("~", None),
        ("|\n  a\n", "a\n"),
    ],
)
def test_scalars_are_what_argo_reads(written: str, meant: object) -> None:
    ((document, _),) = read_documents(f"k: {written}", "w.yaml")
    assert document == {"k": meant}
    assert type(document["k"]) is type(meant)


def test_keys_that_are_booleans_are_their_words() -> None:
    ((document, _),) = read_documents("y: 1\noff: 2\n1: 3", "w.yaml")
    assert document == {"true": 1, "false": 2, "1": 3}


def test_merged_objects_are_under_what_is_written() -> None:
    ((document, _),) = read_documents("a: &a {x: 1, y1: 2}\nb: {<<: *a, x: 3}", "w.yaml")
    assert document["b"] == {"x": 3, "y1": 2}


def test_a_key_given_twice_is_refused_with_its_line() -> None:
    error = refused(HEAD + "spec:\n  entrypoint: a\n  entrypoint: b\n")
    assert error.code == "spec-invalid"
    assert "'entrypoint' is given twice" in error.message and "line 7" in error.message


def test_aliases_do_not_make_values_without_end() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "too large" in refused("\n".join(lines)).message


def test_several_documents_are_read() -> None:
    text = (
        HEAD
        + """spec: {entrypoint: a, templates: [{name: a, container: {image: x}}]}
---
# nothing
---
apiVersion: argoproj.io/v1alpha1
kind: ClusterWorkflowTemplate
metadata: {name: shared}
spec: {templates: [{name: a, script: {image: x, source: "exit 0"}}]}
---
apiVersion: argoproj.io/v1alpha1
kind: CronWorkflow
metadata: {name: nightly}
spec: {schedule: "@daily", workflowSpec: {entrypoint: a, templates: [{name: a, suspend: {}}]}}
---
apiVersion: v1
kind: Secret
metadata: {name: db}
data: {password: aHVudGVyMg==}
stringData: {user: me}
"""
    )
    found = parse_objects(text, source="w.yaml")
    assert [read.kind for read in found] == ["Workflow", "ClusterWorkflowTemplate", "CronWorkflow", "Secret"]
    _, shared, nightly, secret = (read.object for read in found)
    assert isinstance(shared, WorkflowTemplate) and shared.cluster_scope
    assert isinstance(nightly, CronWorkflow) and nightly.spec.schedule == "@daily"
    assert isinstance(secret, Values) and secret.data == {"password": "hunter2", "user": "me"}
    assert [read.place.lines[""] for read in found] == [1, 9, 14, 19]


def test_values_become_text() -> None:
    found = parsed(
        "spec: {arguments: {parameters: [{name: a, value: 1.50}, {name: b, value: yes}, {name: c, value: ''}, {name: d, value: 100000000000000000000.0}]}}"
    )
    assert [one.value for one in found.spec.arguments.parameters] == ["1.5", "true", "", "100000000000000000000"]


def test_with_params_of_the_talk_is_with_param() -> None:
    found = parsed("spec: {templates: [{name: a, steps: [[{name: s, template: a, withParams: '{{x}}'}]]}]}")
    (step,) = found.spec.templates[0].flow
    assert step.with_param == "{{x}}"


def test_a_history_that_is_kept_anyway_is_told() -> None:
    notes: list[str] = []
    text = (
        HEAD.replace("kind: Workflow", "kind: CronWorkflow") + "spec:\n  schedule: '* * * * *'\n  failedJobsHistoryLimit: 1\n  workflowSpec: {entrypoint: a}\n"
    )
    parse_objects(text, source="w.yaml", notes=notes)
    assert notes == ["w.yaml:7: spec.failedJobsHistoryLimit: without effect; what it started stays; `ttlStrategy` of the workflow says when that is removed"]


def test_fields_without_effect_are_told() -> None:
    notes: list[str] = []
    parse_objects(HEAD + "spec:\n  entrypoint: a\n  serviceAccountName: me\n", source="w.yaml", notes=notes)
    assert notes == ["w.yaml:7: spec.serviceAccountName: for pods of Kubernetes; those of this machine do without"]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("spec:\n  entrypont: a", "spec-invalid", "w.yaml:6: spec.entrypont: unknown field; did you mean 'entrypoint'?"),
        ("spec:\n  entry_point: a", "spec-invalid", "unknown field"),
        ("spec:\n  templates:\n  - name: a\n    data: {source: x}", "spec-unsupported", "w.yaml:8: spec.templates[0].data: not supported"),
        ("spec:\n  templates:\n  - name: a\n    plugin: {x: 1}", "spec-unsupported", "w.yaml:8: spec.templates[0].plugin"),
        ("spec:\n  templates:\n  - name: a\n    container: {image: x, args: {a: 1}}", "spec-invalid", "expected a list, found an object"),
        ("spec: {parallelism: many}", "spec-invalid", "w.yaml:5: spec.parallelism: expected a whole number"),
        ("spec: {templates: [{name: a, steps: [{name: b, template: a}]}]}", "spec-invalid", "spec.templates[0].steps[0]: expected a list"),
        ("spec: {templates: [{name: a, steps: [[{name: b, template: a, withItems: [null]}]]}]}", "spec-invalid", "found null"),
        ("spec: {templates: [{name: a, inputs: {artifacts: [{name: x, gcs: {bucket: b, key: k}}]}}]}", "spec-unsupported", "artifacts[0].gcs"),
        (f"spec: {{parallelism: {'7' * 6000}}}", "spec-invalid", "777... is no whole number that can be read"),
        ("spec: {parallelism: 0x_}", "spec-invalid", "w.yaml:5: spec.parallelism: 0x_ is no whole number that can be read"),
        ("other: 1\nspec: {entrypoint: a}", "spec-invalid", "w.yaml:5: other: unknown field"),
        ("spec: {}", "spec-invalid", "required"),
    ],
)
def test_what_is_wrong_is_told_with_line_and_path(text: str, code: str, said: str) -> None:
    error = refused(HEAD + text)
    assert (error.code, said in error.message) == (code, True), error.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no workflow in it"),
        ("a: [", "not YAML"),
        ("kind: WorkflowEventBinding", "not supported; there is no server"),
        ("kind: Deployment", "is none of Workflow"),
        ("spec: {}", "kind: is missing; write 'kind: Workflow'"),
        ("kind: Workflow\nspec: {}", "apiVersion: is missing; write 'apiVersion: argoproj.io/v1alpha1'"),
        ("kind: Workflow\napiVersion: v1", "expected 'argoproj.io/v1alpha1'"),
        ("kind: Workflow\napiVersion: argoproj.io/v1alpha1\nspec: {entrypoint: a}", "has a 'name'"),
        (f"kind: Workflow\napiVersion: argoproj.io/v1alpha1\nmetadata: {{name: {'a' * 64}}}", "has at most 63"),
        (f"kind: CronWorkflow\napiVersion: argoproj.io/v1alpha1\nmetadata: {{name: {'a' * 53}}}", "has at most 52"),
    ],
)
def test_what_is_no_workflow_is_refused(text: str, said: str) -> None:
    assert said in refused(text).message
