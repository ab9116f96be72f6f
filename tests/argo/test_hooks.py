"""Hooks: run once, when what they wait for has come true; and daemons, which run on for others."""

import asyncio

import pytest

from pachyderm_dagster.argo.calls import Call
from pachyderm_dagster.argo.hooks import EarlyHooks
from pachyderm_dagster.argo.journal import MemoryJournal
from pachyderm_dagster.argo.library import OWN
from pachyderm_dagster.argo.node_table import NodeTable
from pachyderm_dagster.argo.nodes import Node, NodeType, Phase
from pachyderm_dagster.argo.templates import Hook
from tests.argo.playing import Play, Time, play, pod, subject_of
from tests.argo.test_engine import FAIL, OK, TEMPLATES, dag, steps

NOTE = pod("note", "print {{inputs.parameters.text}}", inputs="text")
SLOW = pod("slow", "sleep 5")


def hooked(expression: str, *, text: str = "x", name: str = "told", template: str = "note") -> str:
    return f"{{{name}: {{expression: {expression!r}, template: {template}, arguments: {{parameters: [{{name: text, value: {text!r}}}]}}}}}}"


def test_a_hook_of_the_workflow_runs_once_while_it_runs() -> None:
    played = play("  hooks: " + hooked('workflow.status == "Running"') + "\n" + steps("{name: a, template: slow}", "{name: b, template: slow}") + SLOW + NOTE)
    assert played.phases() == {"": "Succeeded", "[0].a": "Succeeded", "[1].b": "Succeeded", ".hooks.told": "Succeeded"}
    assert played.actors.ended[0] == "wf.hooks.told"


def test_a_hook_sees_what_came_of_the_workflow() -> None:
    text = "  hooks: " + hooked('workflow.status == "Failed"', text="{{workflow.status}}") + "\n" + steps("{name: a, template: fail}") + FAIL + NOTE
    assert play(text).node(".hooks.told").inputs == {"text": "Failed"}
    never = "  hooks: " + hooked('workflow.status == "Failed"') + "\n" + steps("{name: a, template: ok}") + OK + NOTE
    assert ".hooks.told" not in play(never).phases()


def test_the_workflow_waits_for_its_hooks() -> None:
    slow = pod("note", "sleep 30", inputs="text")
    assert play("  hooks: " + hooked('workflow.status == "Running"') + "\n" + steps("{name: a, template: ok}") + OK + slow).seconds == 30


def test_hooks_of_steps_and_tasks_see_their_own_node() -> None:
    step = "{name: a, template: slow, hooks: " + hooked('steps.a.status == "Running"', text="{{steps.a.status}}") + "}"
    played = play(steps(step) + SLOW + NOTE)
    assert played.phases() == {"": "Succeeded", "[0].a": "Succeeded", "[0].a.hooks.told": "Succeeded"}
    assert played.node("[0].a.hooks.told").inputs == {"text": "Running"}
    task = "{name: a, template: fail, hooks: " + hooked('tasks.a.status == "Failed"', text="{{tasks.a.exitCode}}") + "}"
    assert play(dag(task) + FAIL + NOTE).node(".a.hooks.told").inputs == {"text": "3"}


def test_a_hook_that_fails_changes_nothing_for_its_step() -> None:
    step = "{name: a, template: slow, hooks: " + hooked('steps.a.status == "Running"', template="broken") + "}"
    played = play(steps(step, "{name: b, template: slow}") + SLOW + pod("broken", "exit 1", inputs="text"))
    assert played.phases() == {"": "Succeeded", "[0].a": "Succeeded", "[0].a.hooks.told": "Failed", "[1].b": "Succeeded"}


def test_an_expression_that_is_none_is_an_error_of_the_template() -> None:
    played = play(steps("{name: a, template: ok, hooks: " + hooked("1 +") + "}") + OK + NOTE)
    assert played.root.phase is Phase.ERROR


def test_a_hook_that_ran_is_not_run_again() -> None:
    text = "  hooks: " + hooked('workflow.status == "Running"') + "\n" + steps("{name: a, template: slow}", "{name: b, template: slow}") + SLOW + NOTE
    whole = play(text)
    kept = [whole.node(name) for name in (".hooks.told", "[0].a")]
    again = Play(text, journal=MemoryJournal(kept)).run()
    assert again.actors.started == ["wf[1].b"]
    assert again.phases() == whole.phases()


@pytest.mark.parametrize("at", ["the workflow", "its hooks"])
def test_hooks_have_ended_when_what_they_are_of_was_cancelled(at: str) -> None:
    said: list[str] = []

    async def hook(call: Call) -> Node:
        said.append("begins")
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            # A pod takes its time to end.
            for _ in range(5):
                await asyncio.sleep(0)
            said.append("ends")
        raise AssertionError(call)

    async def workflow() -> Node:
        if at == "the workflow":
            table.put(node)
            await asyncio.get_running_loop().create_future()
        return node

    async def scenario() -> None:
        hooks = EarlyHooks({"told": Hook(expression="true", template="note")}, call, table.scope, table=table, library=subject.library, run=hook)
        running = asyncio.ensure_future(hooks.during(workflow()))
        while not said:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert said == ["begins", "ends"]

    clock = Time().clock
    subject = subject_of(steps("{name: a, template: slow}") + SLOW + pod("note"), {}, clock)
    table = NodeTable(subject, MemoryJournal(), clock, lambda _: None)
    call = Call("wf", "wf", subject.library.named(OWN, "main"), OWN, {}, {})
    node = table.begin(call, NodeType.STEPS)
    asyncio.run(scenario())


# --- daemons

DAEMON = pod("serve", "sleep 2", "ready 10.0.0.7", "sleep 1000", more=", daemon: true")
USE = pod("use", "sleep 5", "print {{inputs.parameters.ip}}", inputs="ip")


def test_a_daemon_is_done_when_it_is_ready_and_ends_with_its_template() -> None:
    use = "{name: b, template: use, arguments: {parameters: [{name: ip, value: '{{steps.a.ip}}'}]}}"
    played = play(steps("{name: a, template: serve}", use) + DAEMON + USE)
    assert played.phases() == {"": "Succeeded", "[0].a": "Succeeded", "[1].b": "Succeeded"}
    assert played.node("[1].b").inputs == {"ip": "10.0.0.7"}
    assert played.seconds == 7
    assert played.actors.ended == ["wf[1].b", "wf[0].a"]


def test_tasks_depend_on_a_daemon_that_is_ready() -> None:
    tasks = ("{name: a, template: serve}", "{name: b, template: slow, depends: a}", "{name: c, template: slow, depends: a.Daemoned}")
    played = play(dag(*tasks, "{name: d, template: slow, depends: a.Succeeded}") + DAEMON + SLOW)
    assert played.phases() == {"": "Succeeded", ".a": "Succeeded", ".b": "Succeeded", ".c": "Succeeded", ".d": "Omitted"}


def test_a_daemon_that_ends_before_it_is_ready_has_failed() -> None:
    played = play(steps("{name: a, template: serve}", "{name: b, template: ok}") + pod("serve", "sleep 2", more=", daemon: true") + OK)
    assert played.phases() == {"": "Failed", "[0].a": "Failed"}
    dies = pod("serve", "ready 1", "sleep 1", "exit 1", more=", daemon: true")
    played = play(steps("{name: a, template: serve}", "{name: b, template: slow}") + dies + SLOW)
    assert played.phases() == {"": "Succeeded", "[0].a": "Failed", "[1].b": "Succeeded"}


def test_a_daemon_is_tried_again_until_it_is_ready() -> None:
    flaky = pod("serve", "sleep 1", "exit {{=retries == '0' ? 1 : 0}}", "ready 1", "sleep 99", more=", daemon: true, retryStrategy: {limit: 2}")
    played = play(steps("{name: a, template: serve}", "{name: b, template: slow}") + flaky + SLOW)
    assert played.phases() == {"": "Succeeded", "[0].a": "Succeeded", "[0].a(0)": "Failed", "[0].a(1)": "Succeeded", "[1].b": "Succeeded"}


def test_a_daemon_ends_when_the_workflow_is_stopped() -> None:
    played = Play(steps("{name: a, template: serve}", "{name: b, template: forever}") + DAEMON + pod("forever", "sleep 99"), stop_after=10).run()
    assert played.actors.at_once == 0
    assert played.root.phase is Phase.FAILED


def test_an_entry_that_is_a_daemon_ends_when_it_is_ready() -> None:
    played = play(TEMPLATES + DAEMON.replace("name: serve", "name: main"))
    assert (played.root.phase, played.seconds) == (Phase.SUCCEEDED, 2)
