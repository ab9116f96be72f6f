"""What tags stand for in a workflow that runs, by the reference of fields: each variable once."""

import json

from tests.argo.playing import Played, play, pod

STEPS = "  templates:\n  - name: main\n    steps:\n"
SAY = pod("say", "print {{inputs.parameters.text}}", inputs="text")


def said(played: Played, node: str = "[0].a") -> str:
    """What a pod was told to print."""
    container = played.actors.pods[f"wf{node}"].template.container
    assert container is not None
    return str(container.args[0]).removeprefix("print ")


def step(text: str, name: str = "a") -> str:
    return f"    - - {{name: {name}, template: say, arguments: {{parameters: [{{name: text, value: {text!r}}}]}}}}\n"


def test_the_workflow_says_what_it_is_and_when_it_was_made() -> None:
    head = "  serviceAccountName: me\n  arguments: {parameters: [{name: p, value: 1}]}\n"
    tags = "{{workflow.name}} {{workflow.namespace}} {{workflow.uid}} {{workflow.mainEntrypoint}} {{workflow.serviceAccountName}} {{workflow.priority}}"
    assert said(play(head + STEPS + step(tags) + SAY)) == "wf default uid main me 0"
    times = "{{workflow.creationTimestamp}}|{{workflow.creationTimestamp.Y}}|{{workflow.creationTimestamp.RFC3339}}|{{workflow.creationTimestamp.s}}"
    made, year, rfc3339, seconds = said(play(head + STEPS + step(times) + SAY)).split("|")
    assert made.startswith(year) and rfc3339.startswith(f"{year}-") and rfc3339.endswith("Z") and seconds.isdigit()


def test_parameters_of_the_workflow_are_a_list_too() -> None:
    head = "  arguments: {parameters: [{name: p, value: 1}, {name: q, value: two}]}\n"
    expected = [{"name": "p", "value": "1"}, {"name": "q", "value": "two"}]
    for tag in ("workflow.parameters", "workflow.parameters.json"):
        assert json.loads(said(play(head + STEPS + step("{{" + tag + "}}") + SAY))) == expected


def test_the_workflow_knows_how_long_it_runs() -> None:
    played = play(STEPS + "    - - {name: w, template: wait}\n" + step("{{workflow.duration}}") + pod("wait", "sleep 5") + SAY)
    assert float(said(played, "[1].a")) == 5.0


def test_expressions_know_how_long_the_workflow_runs_too() -> None:
    played = play(STEPS + "    - - {name: w, template: wait}\n" + step("{{=asFloat(workflow.duration) + 1}}") + pod("wait", "sleep 5") + SAY)
    assert said(played, "[1].a") == "6"


def test_steps_say_when_they_ran_who_they_are_and_what_came_of_them() -> None:
    tags = "{{steps.w.id}} {{steps.w.status}} {{steps.w.exitCode}} {{steps.w.startedAt}} {{steps.w.finishedAt}} {{steps.w.ip}}"
    played = play(STEPS + "    - - {name: w, template: wait, continueOn: {failed: true}}\n" + step(tags) + pod("wait", "sleep 5", "exit 3") + SAY)
    id, status, code, started, finished, ip = said(played, "[1].a").split()
    assert (id, status, code, ip) == (played.node("[0].w").id, "Failed", "3", "127.0.0.1")
    assert started.endswith("Z") and finished.endswith("Z") and started < finished


def test_a_template_knows_its_node_and_its_pod() -> None:
    text = STEPS + "    - - {name: a, template: own}\n" + pod("own", "print {{node.name}} {{pod.name}} {{steps.name}}")
    played = play(text)
    assert said(played) == f"wf[0].a {played.node('[0].a').pod} wf[0].a"


def test_templates_of_all_namespaces_are_told_from_those_of_one() -> None:
    def shared(kind: str, words: str) -> str:
        template = pod("say", f"print {words}")
        return f"---\napiVersion: argoproj.io/v1alpha1\nkind: {kind}\nmetadata: {{name: shared}}\nspec:\n  templates:\n{template}"

    steps = "    - - {name: a, templateRef: {name: shared, template: say, clusterScope: true}}\n      - {name: b, templateRef: {name: shared, template: say}}\n"
    played = play(STEPS + steps + shared("ClusterWorkflowTemplate", "of all") + shared("WorkflowTemplate", "of one"))
    assert (said(played, "[0].a"), said(played, "[0].b")) == ("of all", "of one")


def test_an_output_artifact_may_be_chosen_by_an_expression() -> None:
    chosen = "steps.flip.outputs.result == 'heads' ? steps.first.outputs.artifacts.f : steps.second.outputs.artifacts.f"
    text = f"""{STEPS}    - - {{name: flip, template: flip}}
      - {{name: first, template: make}}
      - {{name: second, template: make}}
    outputs: {{artifacts: [{{name: chosen, fromExpression: "{chosen}"}}]}}
  - {{name: flip, script: {{image: x, command: [sh], args: [print tails], source: x}}}}
  - {{name: make, container: {{image: x, args: [art f]}}, outputs: {{artifacts: [{{name: f, path: /f}}]}}}}
"""
    played = play(text)
    assert played.root.outputs.artifacts["chosen"] == played.node("[0].second").outputs.artifacts["f"]


def test_a_recursion_with_a_cache_runs_each_number_once() -> None:
    # Ten numbers of Fibonacci's, each of which has its own pod once.
    text = """  templates:
  - name: main
    steps: [[{name: f, template: fib, arguments: {parameters: [{name: number, value: 9}]}}]]
  - name: fib
    inputs: {parameters: [{name: number}]}
    memoize: {key: "fib-{{inputs.parameters.number}}", cache: {configMap: {name: fib}}}
    steps:
    - - {name: one, template: print, when: "{{inputs.parameters.number}} <= 1", arguments: {parameters: [{name: text, value: 1}]}}
    - - name: a
        template: fib
        when: "{{inputs.parameters.number}} > 1"
        arguments: {parameters: [{name: number, value: "{{=asInt(inputs.parameters.number) - 1}}"}]}
    - - name: b
        template: fib
        when: "{{inputs.parameters.number}} > 1"
        arguments: {parameters: [{name: number, value: "{{=asInt(inputs.parameters.number) - 2}}"}]}
    - - name: sum
        template: print
        when: "{{inputs.parameters.number}} > 1"
        arguments: {parameters: [{name: text, value: "{{=asInt(steps.a.outputs.parameters.r) + asInt(steps.b.outputs.parameters.r)}}"}]}
    outputs: {parameters: [{name: r, valueFrom: {expression: "steps.one.outputs?.parameters?.r ?? steps.sum.outputs?.parameters?.r"}}]}
  - name: print
    inputs: {parameters: [{name: text}]}
    container: {image: x, args: ["out r={{inputs.parameters.text}}"]}
    outputs: {parameters: [{name: r, valueFrom: {path: /r}}]}
"""
    played = play(text)
    assert played.root.phase.value == "Succeeded"
    assert len(played.actors.started) == 10
    assert played.node("[0].f").outputs.parameters == {"r": "55"}
