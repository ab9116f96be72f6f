"""What a workflow comes to: phases, order, outputs, as the real controller gives them."""

import pytest

from pachyderm_dagster.argo.journal import MemoryJournal
from pachyderm_dagster.argo.nodes import Phase
from tests.argo.playing import Play, play, pod

TEMPLATES = "  templates:\n"
SAY = pod("say", "print {{inputs.parameters.text}}", inputs="text")
OK, FAIL, CRASH = pod("ok"), pod("fail", "exit 3"), pod("crash", "crash")


SKIPPED = "{name: a, template: gen, when: 'x == y'}"


def gen_template(more: str = "") -> str:
    return f"  - {{name: gen, container: {{image: x}}, outputs: {{parameters: [{{name: p, valueFrom: {{path: /p{more}}}}}]}}}}\n"


def steps(*groups: str, more: str = "") -> str:
    return f"{TEMPLATES}  - {{name: main, steps: [{', '.join(f'[{group}]' for group in groups)}]{more}}}\n"


def dag(*tasks: str, more: str = "") -> str:
    return f"{TEMPLATES}  - {{name: main, dag: {{tasks: [{', '.join(tasks)}]{more}}}}}\n"


def text(value: str) -> str:
    return f"template: say, arguments: {{parameters: [{{name: text, value: {value}}}]}}"


# --- steps


def test_groups_are_serial_and_their_items_parallel() -> None:
    waits = pod("wait", "sleep 5")
    played = play(steps("{name: a, template: wait}, {name: b, template: wait}", "{name: c, template: wait}") + waits)
    assert played.seconds == 10
    assert played.actors.most_at_once == 2
    assert list(played.nodes) == ["wf", "wf[0]", "wf[0].a", "wf[0].b", "wf[1]", "wf[1].c"]
    assert played.root.phase is Phase.SUCCEEDED


def test_children_of_a_group_run_to_the_end_and_later_groups_are_not_made() -> None:
    slow = pod("slow", "sleep 9")
    played = play(steps("{name: a, template: fail}, {name: b, template: slow}", "{name: c, template: ok}") + OK + FAIL + slow)
    assert played.phases() == {"": "Failed", "[0].a": "Failed", "[0].b": "Succeeded"}
    assert played.seconds == 9


def test_continue_on_lets_a_failure_pass() -> None:
    played = play(steps("{name: a, template: fail, continueOn: {failed: true}}", "{name: c, template: ok}") + OK + FAIL)
    assert played.phases() == {"": "Succeeded", "[0].a": "Failed", "[1].c": "Succeeded"}
    crashed = play(steps("{name: a, template: crash, continueOn: {failed: true}}", "{name: c, template: ok}") + OK + CRASH)
    assert crashed.phases() == {"": "Failed", "[0].a": "Error"}


def test_results_go_on_to_later_groups() -> None:
    played = play(
        steps("{name: a, " + text("hello") + "}", "{name: b, " + text("'{{steps.a.outputs.result}} {{steps.a.status}} {{steps.a.exitCode}}'") + "}") + SAY
    )
    assert played.node("[1].b").inputs == {"text": "hello Succeeded 0"}


def test_results_are_kept_only_where_a_tag_asks_for_them() -> None:
    played = play(steps("{name: a, " + text("hello") + "}") + SAY)
    assert played.node("[0].a").outputs.result is None


def test_when_skips_before_the_rest_is_looked_at() -> None:
    played = play(
        steps(SKIPPED, "{name: b, when: '1 > 2', " + text("'x{{steps.a.outputs.parameters.p}}'") + "}", "{name: c, template: ok}") + gen_template() + SAY + OK
    )
    assert played.phases() == {"": "Succeeded", "[0].a": "Skipped", "[1].b": "Skipped", "[2].c": "Succeeded"}
    assert played.node("[1].b").message == "when '1 > 2' evaluated false"


def test_a_condition_that_is_an_error_is_the_templates() -> None:
    played = play(steps("{name: a, when: 'a-b == c', template: ok}, {name: b, template: ok}") + OK)
    assert played.root.phase is Phase.ERROR
    assert "a-b == c" in played.root.message
    assert played.node("[0].b").phase is Phase.SUCCEEDED


# --- graphs


def test_tasks_start_when_what_they_wait_for_has_ended() -> None:
    waits = pod("wait", "sleep {{inputs.parameters.s}}", inputs="s")

    def task(name: str, seconds: int, needs: str = "") -> str:
        return f"{{name: {name}, template: wait, dependencies: [{needs}], arguments: {{parameters: [{{name: s, value: {seconds}}}]}}}}"

    played = play(dag(task("a", 1), task("b", 5, "a"), task("c", 2, "a"), task("d", 1, "b, c")) + waits)
    assert played.actors.ended == ["wf.a", "wf.c", "wf.b", "wf.d"]
    assert played.seconds == 7


@pytest.mark.parametrize(
    ("depends", "expected"),
    [
        ("a.Failed", "Succeeded"),
        ("a", "Omitted"),
        ("a || b", "Succeeded"),
        ("b && !a.Succeeded", "Succeeded"),
        ("s", "Succeeded"),
        ("s.Succeeded", "Omitted"),
        ("c.Errored", "Succeeded"),
        ("c.Failed", "Omitted"),
    ],
)
def test_depends_decides_between_running_and_omitting(depends: str, expected: str) -> None:
    first = ["{name: a, template: fail}", "{name: b, template: ok}", "{name: c, template: crash}", "{name: s, template: ok, when: 'x == y'}"]
    played = play(dag(*first, f"{{name: t, template: ok, depends: '{depends}'}}") + OK + FAIL + CRASH)
    assert played.node(".t").phase.value == expected


def test_other_branches_run_on_after_a_failure_whatever_fail_fast_says() -> None:
    for more in ("", ", failFast: false"):
        played = play(dag("{name: a, template: fail}", "{name: b, template: ok}", "{name: c, template: ok, dependencies: [b]}", more=more) + OK + FAIL)
        assert played.phases() == {"": "Failed", ".a": "Failed", ".b": "Succeeded", ".c": "Succeeded"}


def test_an_omitted_leaf_has_the_worst_of_its_branch() -> None:
    tasks = ("{name: a, template: fail}", "{name: b, template: ok, depends: a.Succeeded}")
    assert play(dag(*tasks) + OK + FAIL).root.phase is Phase.FAILED
    passing = ("{name: a, template: ok}", "{name: b, template: ok, depends: a.Failed}")
    assert play(dag(*passing) + OK).root.phase is Phase.SUCCEEDED


def test_a_failure_that_a_leaf_consumed_does_not_fail_the_graph() -> None:
    played = play(dag("{name: a, template: fail}", "{name: b, template: ok, depends: a.Failed}") + OK + FAIL)
    assert played.root.phase is Phase.SUCCEEDED


def test_only_targets_and_what_they_need_are_run() -> None:
    played = play(dag("{name: a, template: ok}", "{name: b, template: ok, dependencies: [a]}", "{name: c, template: fail}", more=", target: b") + OK + FAIL)
    assert played.phases() == {"": "Succeeded", ".a": "Succeeded", ".b": "Succeeded"}


# --- fan-outs


def test_items_have_nodes_of_their_own_and_results_are_put_together() -> None:
    fan = "{name: a, withItems: [3, 4], " + text("'\"{{item}}\"'") + "}"
    played = play(steps(fan, "{name: b, " + text("'{{steps.a.outputs.result}}'") + "}") + SAY)
    assert [name for name in played.phases() if "a(" in name] == ["[0].a(0:3)", "[0].a(1:4)"]
    assert played.node("[1].b").inputs == {"text": '["3","4"]'}


def test_a_plain_word_among_results_is_an_error_of_the_template() -> None:
    played = play(steps("{name: a, withItems: [x], " + text("'{{item}}'") + "}", "{name: b, " + text("'{{steps.a.outputs.result}}'") + "}") + SAY)
    assert played.root.phase is Phase.ERROR


def test_a_plain_word_among_results_of_a_graph_is_an_error_of_the_template() -> None:
    slow = pod("slow", "sleep 9")
    tasks = (
        "{name: a, withItems: [x], " + text("'{{item}}'") + "}",
        "{name: b, depends: a, " + text("'{{tasks.a.outputs.result}}'") + "}",
        "{name: c, template: slow}",
    )
    played = play(dag(*tasks) + SAY + slow)
    assert played.phases() == {"": "Error", ".a": "Succeeded", ".a(0:x)": "Succeeded", ".c": "Succeeded"}
    assert "'x' of one of several is no JSON" in played.root.message


def test_plain_words_of_a_fan_out_whose_results_nobody_asks_for_do_no_harm() -> None:
    tasks = (
        "{name: all, " + text("'[1, 2]'") + "}",
        "{name: a, depends: all, withParam: '{{tasks.all.outputs.result}}', " + text("'word {{item}}'") + "}",
    )
    played = play(dag(*tasks) + SAY)
    assert played.root.phase is Phase.SUCCEEDED
    assert played.node(".a(0:1)").outputs.result is None


def test_maps_give_their_keys() -> None:
    played = play(steps("{name: a, withItems: [{b: 2, a: x}], " + text("'{{item.a}}-{{item.b}}-{{item}}'") + "}") + SAY)
    assert played.node("[0].a(0:a:x,b:2)").inputs == {"text": 'x-2-{"a":"x","b":2}'}


def test_param_comes_from_a_step_and_an_empty_list_is_skipped() -> None:
    gen = pod("gen", "print [1, 2]")
    none = pod("none", "print []")
    fan = "withParam: '{{steps.g.outputs.result}}'"
    played = play(steps("{name: g, template: gen}", "{name: a, " + fan + ", " + text("'{{item}}'") + "}") + SAY + gen)
    assert [name for name in played.phases() if ".a" in name] == ["[1].a(0:1)", "[1].a(1:2)"]
    empty = play(steps("{name: g, template: none}", "{name: a, " + fan + ", " + text("'{{item}}'") + "}") + SAY + none)
    assert empty.node("[1].a").phase is Phase.SKIPPED and empty.node("[1].a").message == "Skipped, empty params"
    assert empty.root.phase is Phase.SUCCEEDED


def test_a_fan_out_of_a_graph_is_a_group_with_its_results() -> None:
    flaky = pod("flaky", "exit {{inputs.parameters.code}}", inputs="code")
    tasks = (
        "{name: a, template: flaky, withItems: [0, 1], arguments: {parameters: [{name: code, value: '{{item}}'}]}}",
        "{name: any, template: ok, depends: a.AnySucceeded}",
        "{name: all, template: ok, depends: a.AllFailed}",
    )
    played = play(dag(*tasks) + flaky + OK)
    # What was omitted inherits from the fan-out, which failed.
    assert played.phases() == {"": "Failed", ".a": "Failed", ".a(0:0)": "Succeeded", ".a(1:1)": "Failed", ".any": "Succeeded", ".all": "Omitted"}
    assert played.node(".a").type == "TaskGroup"


def test_when_is_asked_for_each_item() -> None:
    played = play(steps("{name: a, withItems: [1, 2, 3], when: '{{item}} > 1', " + text("'{{item}}'") + "}") + SAY)
    assert [node.phase.value for name, node in played.nodes.items() if "a(" in name] == ["Skipped", "Succeeded", "Succeeded"]


def test_parallelism_limits_children_and_pods() -> None:
    waits = pod("wait", "sleep 1")
    fan = "{name: a, template: wait, withSequence: {count: 6}}"
    assert play(steps(fan, more=", parallelism: 2") + waits).actors.most_at_once == 2
    assert play("  parallelism: 3\n" + steps(fan) + waits).actors.most_at_once == 3
    assert play(steps(fan) + waits).actors.most_at_once == 6


def test_fail_fast_starts_nothing_after_a_failure() -> None:
    fan = "{name: a, template: fail, withSequence: {count: 4}}"
    played = play(steps(fan, more=", parallelism: 1, failFast: true") + FAIL)
    assert len(played.actors.started) == 1
    assert played.root.phase is Phase.FAILED
    assert played.root.message == "template has failed or errored children and failFast enabled"
    assert len(play(steps(fan, more=", parallelism: 1") + FAIL).actors.started) == 4


# --- parameters


def test_arguments_come_before_values_and_defaults() -> None:
    both = "  - {name: both, inputs: {parameters: [{name: a, value: own}, {name: b, default: own}]}, container: {image: x}}\n"
    played = play(steps("{name: s, template: both}, {name: t, template: both, arguments: {parameters: [{name: a, value: x}, {name: b, value: ''}]}}") + both)
    assert played.node("[0].s").inputs == {"a": "own", "b": "own"}
    assert played.node("[0].t").inputs == {"a": "x", "b": ""}


def test_outputs_of_a_flow_come_from_inside_and_are_published() -> None:
    gen = pod("gen", "out p={{inputs.parameters.v}}", inputs="v", more=", outputs: {parameters: [{name: p, valueFrom: {path: /p}}]}")
    inner = (
        "  - name: inner\n    steps: [[{name: g, template: gen, arguments: {parameters: [{name: v, value: '7'}]}}]]\n"
        "    outputs: {parameters: [{name: o, globalName: made, valueFrom: {parameter: '{{steps.g.outputs.parameters.p}}'}},"
        ' {name: e, valueFrom: {expression: "asInt(steps.g.outputs.parameters.p) + 1"}}]}\n'
    )
    last = text("'{{steps.i.outputs.parameters.o}} {{steps.i.outputs.parameters.e}} {{workflow.outputs.parameters.made}}'")
    played = play(steps("{name: i, template: inner}", "{name: s, " + last + "}") + inner + gen + SAY)
    assert played.node("[1].s").inputs == {"text": "7 8 7"}


def test_outputs_of_skipped_steps_are_their_defaults_or_nothing() -> None:
    use = text("'{{steps.a.outputs.parameters.p}}'")
    with_default = play(steps(SKIPPED, "{name: b, " + use + "}") + gen_template(", default: dd") + SAY)
    assert with_default.node("[1].b").inputs == {"text": "dd"}
    own = "  - {name: say, inputs: {parameters: [{name: text, default: mine}]}, container: {image: x}}\n"
    dropped = play(steps(SKIPPED, "{name: b, " + use + "}") + gen_template() + own)
    assert dropped.node("[1].b").inputs == {"text": "mine"}
    expression = text("\"{{=steps.a.outputs.parameters.p ?? 'none'}}\"")
    assert play(steps(SKIPPED, "{name: b, " + expression + "}") + gen_template() + SAY).node("[1].b").inputs == {"text": "none"}
    mixed = text("'x{{steps.a.outputs.parameters.p}}'")
    assert play(steps(SKIPPED, "{name: b, " + mixed + "}") + gen_template() + SAY).root.phase is Phase.ERROR


def test_parameters_of_the_workflow_are_known_everywhere_and_overridden() -> None:
    arguments = "  arguments: {parameters: [{name: a, value: 1}, {name: b, value: x}]}\n"
    main = pod("main", "print {{workflow.parameters.a}} {{workflow.parameters}} {{workflow.name}} {{workflow.namespace}} {{pod.name}} {{node.name}}")
    played = play(arguments + TEMPLATES + main, b="y")
    args = played.actors.pods["wf"].template.container
    assert args is not None
    assert args.args == ('print 1 [{"name":"a","value":"1"},{"name":"b","value":"y"}] wf default wf wf',)


def test_artifacts_flow_by_reference() -> None:
    make = pod("make", "art a", more=", outputs: {artifacts: [{name: a, path: /a}]}")
    use = "  - {name: use, inputs: {artifacts: [{name: i, path: /i}, {name: none, path: /none, optional: true}]}, container: {image: x}}\n"
    given = "arguments: {artifacts: [{name: i, from: '{{steps.m.outputs.artifacts.a}}'}]}"
    played = play(steps("{name: m, template: make}", "{name: u, template: use, " + given + "}") + make + use)
    assert played.root.phase is Phase.SUCCEEDED
    assert played.actors.pods["wf[1].u"].artifacts == {"i": played.node("[0].m").outputs.artifacts["a"]}


# --- retries


def test_attempts_are_nodes_and_the_last_one_counts() -> None:
    flaky = pod("main", "exit {{=asInt(retries) < 2 ? 1 : 0}}", more=", retryStrategy: {limit: 3}")
    played = play(TEMPLATES + flaky)
    assert played.phases() == {"": "Succeeded", "(0)": "Failed", "(1)": "Failed", "(2)": "Succeeded"}
    assert played.root.type == "Retry"


def test_limits_end_it_and_backoff_waits() -> None:
    failing = pod("main", "exit 1", more=", retryStrategy: {limit: 2, backoff: {duration: 10s, factor: 2}}")
    played = play(TEMPLATES + failing)
    assert played.phases() == {"": "Failed", "(0)": "Failed", "(1)": "Failed", "(2)": "Failed"}
    assert played.seconds == 30
    assert played.root.message == "No more retries left"


def test_an_expression_over_the_last_attempt_decides() -> None:
    strategy = ", retryStrategy: {limit: 9, expression: 'asInt(lastRetry.exitCode) > 1'}"
    assert len(play(TEMPLATES + pod("main", "exit 1", more=strategy)).actors.started) == 1
    assert len(play(TEMPLATES + pod("main", "exit 2", more=strategy)).actors.started) == 10


def test_errors_are_retried_by_policy_only() -> None:
    assert len(play(TEMPLATES + pod("main", "crash", more=", retryStrategy: {limit: 2}")).actors.started) == 1
    assert len(play(TEMPLATES + pod("main", "crash", more=", retryStrategy: {limit: 2, retryPolicy: OnError}")).actors.started) == 3


def test_steps_are_tried_again_as_a_whole() -> None:
    played = play(steps("{name: a, template: fail}", more=", retryStrategy: {limit: 1}") + FAIL)
    assert played.phases() == {"": "Failed", "(0)": "Failed", "(0)[0].a": "Failed", "(1)": "Failed", "(1)[0].a": "Failed"}


def test_strategy_of_the_workflow_is_that_of_its_pods() -> None:
    played = play("  retryStrategy: {limit: 1}\n" + steps("{name: a, template: fail}") + FAIL)
    assert played.phases() == {"": "Failed", "[0].a": "Failed", "[0].a(0)": "Failed", "[0].a(1)": "Failed"}


# --- handlers, time, waiting


def test_exit_handler_runs_whatever_came_of_it_and_knows_it() -> None:
    tell = pod("tell", "print {{workflow.status}} {{workflow.failures}}")
    failed = play("  onExit: tell\n" + steps("{name: a, template: fail}") + FAIL + tell)
    assert failed.root.phase is Phase.FAILED
    container = failed.actors.pods["wf.onExit"].template.container
    assert container is not None
    assert container.args[0].startswith('print Failed "[{\\"displayName\\":')
    assert play("  onExit: tell\n" + TEMPLATES + pod("main") + tell).phases() == {"": "Succeeded", ".onExit": "Succeeded"}


def test_a_handler_that_fails_is_the_workflows_phase() -> None:
    played = play("  hooks: {exit: {template: fail}}\n" + TEMPLATES + pod("main") + FAIL)
    assert played.root.phase is Phase.FAILED
    assert played.nodes["wf"].phase is Phase.SUCCEEDED


def test_exit_hook_of_a_step_gets_its_outputs_and_changes_nothing() -> None:
    hook = "hooks: {exit: {template: fail2, arguments: {parameters: [{name: text, value: '{{steps.a.status}}'}]}}}"
    fail2 = pod("fail2", "exit 1", inputs="text")
    played = play(steps("{name: a, template: ok, " + hook + "}", "{name: b, template: ok}") + OK + fail2)
    assert played.phases() == {"": "Succeeded", "[0].a": "Succeeded", "[0].a.onExit": "Failed", "[1].b": "Succeeded"}
    assert played.node("[0].a.onExit").inputs == {"text": "Succeeded"}


def test_deadlines_of_pods_fail_them() -> None:
    for more in (", activeDeadlineSeconds: 5", ", timeout: 5s"):
        played = play(TEMPLATES + pod("main", "sleep 60", more=more))
        assert (played.root.phase, played.seconds) == (Phase.FAILED, 5)
        assert played.root.message == "Pod was active on the node longer than the specified deadline"
        assert played.actors.at_once == 0


def test_deadlines_that_the_executor_keeps_are_its_own() -> None:
    # Only it knows when the pod is on a node.
    played = Play(TEMPLATES + pod("main", "sleep 60", more=", activeDeadlineSeconds: 5"), keeps_deadlines=True).run()
    assert (played.root.phase, played.seconds) == (Phase.SUCCEEDED, 60)


def test_timeout_counts_the_wait_for_a_place_and_the_deadline_does_not() -> None:
    tail = steps("{name: a, template: wait}, {name: b, template: limited}")
    waits = pod("wait", "sleep 10")
    timeout = play("  parallelism: 1\n" + tail + waits + pod("limited", "sleep 1", more=", timeout: 5s"))
    assert timeout.node("[0].b").phase is Phase.FAILED
    deadline = play("  parallelism: 1\n" + tail + waits + pod("limited", "sleep 1", more=", activeDeadlineSeconds: 5"))
    assert deadline.root.phase is Phase.SUCCEEDED


def test_deadline_of_the_workflow_fails_what_is_not_done_and_handlers_run() -> None:
    text_ = "  activeDeadlineSeconds: 5\n  onExit: ok\n" + steps("{name: a, template: ok}", "{name: b, template: slow}") + OK + pod("slow", "sleep 60")
    played = play(text_)
    assert played.phases() == {"": "Failed", "[0].a": "Succeeded", "[1].b": "Failed", ".onExit": "Succeeded"}
    assert played.node("[1].b").message == "Step exceeded its deadline"


def test_stopping_ends_pods_and_runs_the_handler() -> None:
    played = Play("  onExit: ok\n" + steps("{name: a, template: slow}") + OK + pod("slow", "sleep 60"), stop_after=3).run()
    assert played.phases() == {"": "Failed", "[0].a": "Failed", ".onExit": "Succeeded"}
    assert played.seconds == 3 and played.node("[0].a").message == "stopped"


SUSPEND = "  - {name: wait, suspend: {}, outputs: {parameters: [{name: ok, valueFrom: {supplied: {}}}]}}\n"


def test_suspended_nodes_go_on_with_what_they_are_given() -> None:
    main = steps("{name: w, template: wait}", "{name: s, " + text("'{{steps.w.outputs.parameters.ok}}'") + "}") + SUSPEND + SAY
    played = Play(main, answers={"wf[0].w": {"ok": "yes"}}).run()
    assert played.node("[1].s").inputs == {"text": "yes"}
    assert Play(main, answers={"wf[0].w": {}}).run().node("[0].w").phase is Phase.ERROR


def test_a_suspension_with_a_duration_ends_by_itself_with_its_defaults() -> None:
    wait = SUSPEND.replace("suspend: {}", "suspend: {duration: 20}").replace("supplied: {}", "supplied: {}, default: no")
    played = play(steps("{name: w, template: wait}") + wait)
    assert (played.seconds, played.node("[0].w").outputs.parameters) == (20, {"ok": "false"})


# --- templates of others, recursion, going on


def test_a_template_may_call_itself() -> None:
    main = (
        "  arguments: {parameters: [{name: count, value: 3}]}\n" + TEMPLATES + "  - name: main\n    inputs: {parameters: [{name: count}]}\n"
        "    steps: [[{name: again, template: main, when: '{{inputs.parameters.count}} > 1',"
        " arguments: {parameters: [{name: count, value: '{{=asInt(inputs.parameters.count) - 1}}'}]}}]]\n"
    )
    assert play(main).phases() == {"": "Succeeded", "[0].again": "Succeeded", "[0].again[0].again": "Succeeded", "[0].again[0].again[0].again": "Skipped"}


SHARED = """---
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: shared}
spec:
  templates:
  - {name: outer, steps: [[{name: i, template: inner}]]}
  - {name: inner, container: {image: x, args: ['print shared {{workflow.name}}']}}
"""


def test_templates_of_other_objects_find_their_own_and_see_this_workflow() -> None:
    played = play(steps("{name: r, templateRef: {name: shared, template: outer}}") + pod("inner", "print mine") + SHARED)
    container = played.actors.pods["wf[0].r[0].i"].template.container
    assert container is not None and container.args == ("print shared wf",)


def test_inline_templates_are_run() -> None:
    played = play(steps("{name: i, inline: {container: {image: x}}}"))
    assert played.phases() == {"": "Succeeded", "[0].i": "Succeeded"}


def test_defaults_of_templates_are_under_what_they_say() -> None:
    defaults = "  templateDefaults: {timeout: 5s, container: {image: d, workingDir: /w}}\n"
    played = play(defaults + TEMPLATES + pod("main", "sleep 60"))
    assert played.seconds == 5
    container = played.actors.pods["wf"].template.container
    assert container is not None and (container.image, container.working_dir) == ("x", "/w")


def test_what_succeeded_is_not_run_again() -> None:
    main = steps("{name: a, " + text("one") + "}", "{name: b, " + text("'{{steps.a.outputs.result}}'") + "}") + SAY
    whole = Play(main).run()
    first = whole.node("[0].a")
    again = Play(main, journal=MemoryJournal([first])).run()
    assert again.actors.started == ["wf[1].b"]
    assert again.phases() == whole.phases()
    assert again.node("[1].b").inputs == {"text": "one"}


def test_an_artifact_of_a_template_itself_has_its_tags_replaced() -> None:
    text = (
        steps("{name: a, template: take, arguments: {parameters: [{name: p, value: x}]}}")
        + "  - name: take\n    inputs:\n      parameters: [{name: p}]\n      artifacts:\n"
        + "      - {name: key, path: /k, s3: {key: '{{workflow.name}}/{{inputs.parameters.p}}'}}\n"
        + "      - {name: text, path: /t, raw: {data: 'is {{inputs.parameters.p}}'}}\n    container: {image: x}\n"
    )
    (pod,) = play(text).actors.pods.values()
    assert (pod.artifacts["key"].key, pod.artifacts["text"].raw) == ("wf/x", "is x")
