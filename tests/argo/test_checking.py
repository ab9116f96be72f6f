import pytest

from pachyderm_dagster.argo.checking import check_object
from pachyderm_dagster.argo.checking_templates import find_cycle
from pachyderm_dagster.argo.library import library_of
from pachyderm_dagster.argo.reading import parse_objects
from pachyderm_dagster.errors import InvalidError

HEAD = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: w}\nspec:\n  entrypoint: main\n  templates:\n"
SAY = "  - {name: say, inputs: {parameters: [{name: text}]}, container: {image: x, args: ['{{inputs.parameters.text}}']}}\n"
SHARED = """---
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: shared}
spec:
  entrypoint: main
  arguments: {parameters: [{name: p}]}
  templates:
  - {name: main, container: {image: x}}
  - {name: say, inputs: {parameters: [{name: text}]}, container: {image: x}}
"""


def check(text: str) -> None:
    found = parse_objects(text, source="w.yaml")
    library = library_of(found)
    for read in found:
        check_object(read, library)


def problem(text: str) -> str:
    with pytest.raises(InvalidError) as caught:
        check(text)
    assert caught.value.code == "spec-invalid"
    return caught.value.message


def steps(*groups: str) -> str:
    return HEAD + "  - name: main\n    steps: [" + ", ".join(groups) + "]\n" + SAY


def dag(*tasks: str) -> str:
    return HEAD + "  - name: main\n    dag: {tasks: [" + ", ".join(tasks) + "]}\n" + SAY


TEXT = "template: say, arguments: {parameters: [{name: text, value: '%s'}]}"


def test_what_is_right_passes() -> None:
    check(steps("[{name: a, " + TEXT % "x" + "}]", "[{name: b, " + TEXT % "{{steps.a.outputs.result}} {{workflow.name}}" + "}]"))
    check(dag("{name: a, " + TEXT % "x" + "}", "{name: b, depends: a.Succeeded, " + TEXT % "{{tasks.a.status}}" + "}"))
    check(HEAD + "  - {name: main, steps: [[{name: a, templateRef: {name: shared, template: main}}]]}\n" + SHARED)
    check(f"{HEAD.split('spec:')[0]}spec: {{workflowTemplateRef: {{name: shared}}, arguments: {{parameters: [{{name: p, value: 1}}]}}}}\n{SHARED}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + SAY, "w.yaml:5: spec.entrypoint: there is no template 'main'; there are: 'say'"),
        (HEAD + "  - {name: main}\n", "w.yaml:7: spec.templates[0]: a template is exactly one of"),
        (HEAD + "  - {name: main, container: {image: x}, steps: [[]]}\n", "found container and steps"),
        (HEAD + "  - {name: main, container: {image: x}}\n" * 2, "'main' is given 2 times"),
        (HEAD + "  - {name: main, container: {image: x}, parallelism: 2}\n", "parallelism: it belongs to steps and dag"),
        (HEAD + "  - {name: main, suspend: {}, activeDeadlineSeconds: 2}\n", "belongs to container, script and containerSet"),
        (HEAD + "  - {name: main, container: {image: x}, retryStrategy: {limit: some}}\n", "limit: expected a whole number"),
        (HEAD + "  - {name: main, container: {image: x}, retryStrategy: {retryPolicy: Never}}\n", "expected 'OnFailure'"),
        (HEAD + "  - {name: main, container: {image: '{{inputs.parameters.no}}'}}\n", "is not among the inputs, which are: none"),
        (HEAD + "  - {name: main, container: {image: '{{workflow.parameters.no}}'}}\n", "is not among the arguments of the workflow"),
        (HEAD + "  - {name: main, container: {image: '{{workflow.nmae}}'}}\n", "stands for nothing"),
        (
            HEAD + "  - {name: main, container: {image: x}, outputs: {parameters: [{name: p, valueFrom: {parameter: a}}]}}\n",
            "it has one of path; found parameter",
        ),
        (HEAD + "  - {name: main, container: {image: x}, inputs: {artifacts: [{name: a, path: b, optional: true}]}}\n", "no absolute path"),
        (HEAD + "  - {name: main, inputs: {parameters: [{name: a, value: x, enum: [u, v]}]}, container: {image: x}}\n", "'x' is not one of 'u', 'v'"),
        (steps("[{name: a, template: nowhere}]"), "w.yaml:8: spec.templates[0].steps[0][0]: there is no template 'nowhere'"),
        (steps("[{name: a, template: say}]"), "needs the parameter 'text'"),
        (steps("[{name: a}]"), "one of template, templateRef, inline; found none"),
        (steps("[{name: a, " + TEXT % "x" + "}, {name: a, " + TEXT % "x" + "}]"), "'a' is given 2 times"),
        (steps("[{name: a, " + TEXT % "x" + ", withItems: [1], withParam: '[]'}]"), "withItems and withParam are given"),
        (steps("[{name: a, " + TEXT % "x" + ", withSequence: {count: 1, end: 2}}]"), "one of 'count' and 'end'"),
        (steps("[{name: a, " + TEXT % "{{steps.b.outputs.result}}" + "}]", "[{name: b, " + TEXT % "x" + "}]"), "does not name a step of an earlier group"),
        (steps("[{name: a, " + TEXT % "{{tasks.b.status}}" + "}]"), "in this template it is 'steps'"),
        (steps("[{name: a, templateRef: {name: gone, template: x}}]"), "there is no WorkflowTemplate 'gone'"),
        (dag("{name: a, " + TEXT % "x" + ", dependencies: [b]}"), "depends on 'b', and there is no such task"),
        (dag("{name: a, depends: b, " + TEXT % "x" + "}", "{name: b, depends: a, " + TEXT % "x" + "}"), "a -> b -> a"),
        (
            dag("{name: a, " + TEXT % "x" + "}", "{name: b, depends: a, " + TEXT % "x" + "}", "{name: c, dependencies: [a], " + TEXT % "x" + "}"),
            "uses one of them",
        ),
        (dag("{name: 1a, " + TEXT % "x" + "}", "{name: b, depends: 1a, " + TEXT % "x" + "}"), "begins with a digit"),
        (dag("{name: a, " + TEXT % "x" + ", continueOn: {failed: true}}", "{name: b, depends: a, " + TEXT % "x" + "}"), "no 'continueOn'"),
        (dag("{name: a, depends: a.Good, " + TEXT % "x" + "}"), "'Good' is no result"),
        (dag("{name: a, " + TEXT % "x" + "}", "{name: b, " + TEXT % "{{tasks.a.status}}" + "}"), "does not name a task that this one depends on"),
    ],
)
def test_what_is_wrong_is_told_before_it_runs(text: str, said: str) -> None:
    found = problem(text)
    assert said in found, found


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("schedule: nonsense", "spec.schedule"),
        ("schedules: ['@daily'], schedule: '@daily'", "'schedules' is given too"),
        ("suspend: true", "spec.schedules: required"),
        ("schedule: '@daily', concurrencyPolicy: Sometimes", "expected 'Allow'"),
    ],
)
def test_schedules_are_checked(spec: str, said: str) -> None:
    head = "apiVersion: argoproj.io/v1alpha1\nkind: CronWorkflow\nmetadata: {name: c}\nspec: {"
    text = head + spec + ", workflowSpec: {entrypoint: a, templates: [{name: a, container: {image: x}}]}}"
    assert said in problem(text)


def test_cycles_are_found_however_the_graph_is_cut() -> None:
    assert find_cycle({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}) is None
    assert find_cycle({"x": [], "a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]


def of_main(fields: str) -> str:
    return HEAD + f"  - {{name: main, {fields}}}\n" + SAY


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            "container: {image: x, volumeMounts: [{name: v, mountPath: /a}]}, inputs: {artifacts: [{name: a, path: /a, raw: {data: x}}]}",
            "inputs.artifacts[0].path: '/a' is already mounted in volumeMounts.v",
        ),
        ("container: {image: x, volumeMounts: [{name: v, mountPath: /a}, {name: w, mountPath: /a}]}", "'/a' is already mounted in volumeMounts.v"),
        ("container: {image: x, volumeMounts: [{name: v, mountPath: /a, subPath: a/../..}]}", "volumeMounts[0].subPath: 'a/../..' leads out"),
        ("container: {image: x}, sidecars: [{name: a, image: x}, {name: a, image: x}]", "sidecars[0].name: 'a' is the name of another container"),
        ("container: {image: x}, initContainers: [{name: main, image: x}]", "initContainers[0].name: 'main' is the name of another container"),
        ("container: {image: x}, sidecars: [{image: x}]", "sidecars[0].name: required"),
        ("containerSet: {containers: []}", "containerSet.containers: required"),
        ("containerSet: {containers: [{name: a, image: x, dependencies: [b]}]}", "there is no container 'b'; there are 'a'"),
        (
            "containerSet: {containers: [{name: a, image: x, dependencies: [b]}, {name: b, image: x, dependencies: [a]}]}",
            "containers depend on each other: a -> b -> a",
        ),
        (
            "containerSet: {containers: [{name: a, image: x}]}, outputs: {parameters: [{name: p, valueFrom: {path: /p}}]}",
            "outputs are those of the container 'main', and there is none",
        ),
        ("containerSet: {containers: [{name: a, image: x}], retryStrategy: {retries: many}}", "retryStrategy.retries: expected a whole number"),
        ("suspend: {}, sidecars: [{name: a, image: x}]", "it belongs to container, script and containerSet"),
        ("container: {image: x}, hooks: {a: {template: say}}", "unknown field"),
    ],
)
def test_what_is_wrong_with_containers_is_told(fields: str, said: str) -> None:
    assert said in problem(of_main(fields))


def test_a_hook_that_is_not_exit_says_when_it_is_run() -> None:
    assert "hooks.a.expression: required" in problem(steps("[{name: a, " + TEXT % "x" + ", hooks: {a: {template: say}}}]"))
    of_workflow = HEAD.replace("main\n", "plain\n  hooks: {a: {template: plain}}\n") + "  - {name: plain, container: {image: x}}\n"
    assert "spec.hooks.a.expression: required" in problem(of_workflow)
