"""Workflows that are run part by part: which can be, and that nothing comes of it but what comes of the whole."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pachyderm_dagster.argo.control import STOP
from pachyderm_dagster.argo.driving import run_to_end
from pachyderm_dagster.argo.nodes import Node, Phase
from pachyderm_dagster.argo.part_runs import PartEnd, abandon, begin_attempt, run_part, settle
from pachyderm_dagster.argo.parts import Part, parts_of, why_whole
from pachyderm_dagster.argo.run_folder import Answer, Ending
from pachyderm_dagster.argo.runs import Runs
from pachyderm_dagster.clock import ManualClock, SystemClock
from pachyderm_dagster.errors import StateError
from tests.argo.playing import ignore, subject_of

SHELL = "container: {image: busybox, command: [sh, -c], args: ['{{inputs.parameters.do}}']}"
RUN = "  - {name: run, inputs: {parameters: [{name: do}]}, outputs: {parameters: [{name: p, valueFrom: {path: /p, default: ''}}]}, " + SHELL + "}\n"


def step(name: str, do: str, more: str = "") -> str:
    return f'{{name: {name}, template: run, arguments: {{parameters: [{{name: do, value: "{do}"}}]}}{more}}}'


def dag(*tasks: str, more: str = "", spec: str = "") -> str:
    return f"{spec}  templates:\n  - {{name: main, dag: {{tasks: [{', '.join(tasks)}]}}{more}}}\n{RUN}"


def steps(*groups: str, more: str = "") -> str:
    return f"  templates:\n  - {{name: main, steps: [{', '.join(f'[{group}]' for group in groups)}]{more}}}\n{RUN}"


class InParts:
    """A workflow of a home, run part by part."""

    def __init__(self, home: Path, text: str) -> None:
        self.runs, self.clock = Runs(home), SystemClock()
        subject = subject_of(text, {}, ManualClock())
        assert why_whole(subject.spec, subject.library) is None
        self.parts = parts_of(subject.spec, subject.library)
        self.folder = self.runs.create(subject, network=False)

    def part(self, name: str) -> PartEnd | None:
        (part,) = (part for part in self.parts if part.name == name)
        with self.folder.running(shared=True):
            return asyncio.run(run_part(self.runs, self.folder, part, self.clock, ignore))

    def all(self, attempt: str = "1") -> Ending | None:
        """Runs what can be run, as Dagster does: each part after those that it waits for, together where they do not wait; what comes of the whole."""
        begin_attempt(self.folder, attempt)
        ended: dict[str, PartEnd] = {}
        with ThreadPoolExecutor() as pool:
            while ready := [part for part in self.parts if part.name not in ended and self._is_ready(part, ended)]:
                for part, end in zip(ready, pool.map(self.part, [part.name for part in ready]), strict=True):
                    assert end is not None
                    ended[part.name] = end
        return self.settle()

    def settle(self) -> Ending | None:
        return settle(self.runs, self.folder, self.clock, ignore)

    def _is_ready(self, part: Part, ended: dict[str, PartEnd]) -> bool:
        return all(name in ended and not ended[name].phase.is_failure for name in part.after)


def same(nodes: dict[str, Node]) -> dict[str, tuple[object, ...]]:
    """What is the same of nodes, however they were run."""
    return {name: (node.id, node.type, node.phase, node.parent, node.inputs, node.outputs.parameters, node.message) for name, node in nodes.items()}


WORKFLOWS = {
    "a graph": dag(
        step("a", "echo one > /p"),
        step("b", "echo {{tasks.a.outputs.parameters.p}}b > /p", ", depends: a"),
        step("c", "echo {{tasks.a.outputs.parameters.p}}c > /p", ", depends: a.Succeeded"),
        step("d", "echo {{tasks.b.outputs.parameters.p}} {{tasks.c.outputs.parameters.p}} > /p", ", depends: b && c"),
        more=", outputs: {parameters: [{name: all, valueFrom: {parameter: '{{tasks.d.outputs.parameters.p}}'}}]}",
    ),
    "a graph that fails": dag(step("a", "exit 3"), step("b", "true", ", depends: a"), step("c", "echo c > /p"), step("d", "true", ", depends: b && c")),
    "what is skipped": dag(
        step("a", "echo x > /p"),
        step("b", "true", ", depends: a, when: '{{tasks.a.outputs.parameters.p}} == y'"),
        step("c", "echo c > /p", ", depends: b"),
        step("d", "true", ", depends: c.Skipped"),
    ),
    "steps": steps(
        step("a", "echo 1 > /p") + ", " + step("b", "echo 2 > /p"),
        step("c", "echo {{steps.a.outputs.parameters.p}}{{steps.b.outputs.parameters.p}}{{item}} > /p", ", withItems: [x, y]"),
        step("d", "echo '{{steps.c.outputs.parameters}}' > /p"),
    ),
    "steps that fail": steps(step("a", "exit 1") + ", " + step("b", "echo 2 > /p"), step("c", "true")),
    "an empty fan-out": steps(step("a", "true", ", withParam: '[]'"), step("b", "echo b > /p")),
    "results": "  templates:\n  - name: main\n    steps: [[{name: a, template: say}]]\n"
    "    outputs: {parameters: [{name: r, valueFrom: {parameter: '{{steps.a.outputs.result}}'}}]}\n"
    "  - {name: say, container: {image: busybox, command: [echo, said]}}\n",
}


@pytest.mark.parametrize("text", WORKFLOWS.values(), ids=WORKFLOWS)
def test_parts_come_to_what_the_whole_comes_to(tmp_path: Path, text: str) -> None:
    whole = Runs(tmp_path / "whole")
    run = whole.create(subject_of(text, {}, ManualClock()), network=False)
    expected = run_to_end(whole, run, SystemClock(), ignore)
    found = InParts(tmp_path / "parts", text)
    ending = found.all()
    assert expected is not None and ending is not None
    assert (ending.phase, ending.message) == (expected.phase, expected.message)
    assert same(found.folder.nodes()) == same(run.nodes())
    assert found.folder.nodes()["wf"].outputs == run.nodes()["wf"].outputs


def test_a_run_is_open_until_no_part_can_be_run(tmp_path: Path) -> None:
    found = InParts(tmp_path, dag(step("a", "exit 3"), step("b", "true", ", depends: a"), step("c", "true"), step("d", "true", ", depends: c")))
    begin_attempt(found.folder, "1")
    ends = []
    for name in ("a", "c", "d"):
        assert found.settle() is None and found.folder.phase() is not Phase.FAILED
        ends.append(found.part(name))
    assert ends == [PartEnd(Phase.FAILED, "Error (exit code 3)"), PartEnd(Phase.SUCCEEDED), PartEnd(Phase.SUCCEEDED)]
    ending = found.settle()
    assert ending is not None and ending.phase is Phase.FAILED
    assert found.folder.nodes()["wf.b"].phase is Phase.OMITTED


def test_a_run_is_closed_once_though_two_parts_see_that_all_have_ended(tmp_path: Path) -> None:
    found = InParts(tmp_path, dag(step("a", "true"), step("b", "true")))
    begin_attempt(found.folder, "1")
    for name in ("a", "b"):
        found.part(name)
    first = found.settle()
    assert first is not None and first.phase is Phase.SUCCEEDED
    assert found.settle() is None and found.folder.ending() == first
    # A part that is run again opens it.
    found.part("b")
    assert found.settle() is not None


def test_another_attempt_keeps_what_succeeded(tmp_path: Path) -> None:
    claim = tmp_path / "argo" / "claims" / "state"
    claim.mkdir(parents=True)
    text = """  volumes: [{name: state, persistentVolumeClaim: {claimName: state}}]
  templates:
  - name: main
    steps: [[{name: a, template: count}, {name: b, template: once}], [{name: c, template: count}]]
  - {name: count, container: {image: busybox, command: [sh, -c], args: ["echo >> /state/counted"], volumeMounts: &m [{name: state, mountPath: /state}]}}
  - {name: once, container: {image: busybox, command: [ls, /state/ready], volumeMounts: *m}}
"""
    found = InParts(tmp_path, text)
    first = found.all()
    assert first is not None and first.phase is Phase.FAILED and (claim / "counted").read_text() == "\n"
    (claim / "ready").touch()
    # As a step that Dagster tries again in the same run.
    begin_attempt(found.folder, "1")
    assert found.part("b") == PartEnd(Phase.SUCCEEDED) and found.settle() is None and found.folder.ending() is None
    second = found.all("2")
    assert second is not None and second.phase is Phase.SUCCEEDED
    assert (claim / "counted").read_text() == "\n\n"
    assert {node.phase for node in found.folder.nodes().values()} == {Phase.SUCCEEDED}


def test_an_attempt_does_not_begin_while_an_earlier_one_runs(tmp_path: Path) -> None:
    found = InParts(tmp_path, dag(step("a", "true")))
    begin_attempt(found.folder, "1")
    with found.folder.running(shared=True):
        begin_attempt(found.folder, "1")
        with pytest.raises(StateError, match="workflow-running"):
            begin_attempt(found.folder, "2")
        with pytest.raises(StateError, match="workflow-running"):
            run_to_end(found.runs, found.folder, found.clock, ignore)


def test_a_part_that_waits_for_an_answer_says_so_and_goes_on_with_it(tmp_path: Path) -> None:
    text = """  templates:
  - name: main
    dag: {tasks: [{name: ask, template: ask}, {name: other, template: ok}]}
  - {name: ask, suspend: {}, outputs: {parameters: [{name: ok, valueFrom: {supplied: {}}}]}}
  - {name: ok, container: {image: busybox, command: ['true']}}
"""
    found = InParts(tmp_path, text)
    assert found.part("ask") is None and found.settle() is None
    (waiting,) = found.folder.suspended()
    found.folder.answer([Answer(waiting.name, {"ok": "yes"})])
    assert found.part("ask") == PartEnd(Phase.SUCCEEDED)
    assert found.part("other") == PartEnd(Phase.SUCCEEDED)
    ending = found.settle()
    assert ending is not None and ending.phase is Phase.SUCCEEDED
    assert found.folder.nodes()["wf.ask"].outputs.parameters == {"ok": "yes"}


def test_a_stop_ends_a_part_and_what_is_left_is_told_of(tmp_path: Path) -> None:
    found = InParts(tmp_path, dag(step("a", "sleep 1000"), step("b", "true", ", depends: a")))
    ends: list[PartEnd | None] = []
    running = threading.Thread(target=lambda: ends.append(found.part("a")))
    running.start()
    wait = threading.Event()
    while "wf.a" not in found.folder.nodes():
        wait.wait(0.01)
    found.folder.ask_to_stop(STOP)
    running.join()
    assert ends == [PartEnd(Phase.FAILED, "workflow shutdown with strategy: Stop")]
    abandon(found.runs, found.folder, found.clock, "stopped")
    ending = found.folder.ending()
    assert ending is not None and (ending.phase, ending.message) == (Phase.FAILED, "stopped")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("  templates: [{name: main, container: {image: x}}]\n", "its entrypoint 'main' is neither 'steps' nor 'dag'"),
        (dag(step("a", "true"), spec="  onExit: main\n"), "exit handler"),
        (dag(step("a", "true"), spec="  parallelism: 2\n"), "'parallelism'"),
        (dag(step("a", "true"), more=", parallelism: 2"), "'parallelism'"),
        (dag(step("a", "true"), spec="  activeDeadlineSeconds: 5\n"), "deadline"),
        (dag(step("a", "true"), more=", failFast: true"), "'failFast'"),
        (dag(step("a", "true"), spec="  synchronization: {mutexes: [{name: m}]}\n"), "it holds locks"),
        (dag(step("a", "true"), more=", synchronization: {mutexes: [{name: m}]}"), "it holds locks"),
        (dag(step("a", "true"), more=", memoize: {key: k, cache: {configMap: {name: c}}}"), "may be kept for the next time"),
        (dag(step("a", "true"), more=", retryStrategy: {limit: 2}"), "tried again"),
        (dag(step("a", "true"), spec="  templateDefaults: {retryStrategy: {limit: 2}}\n"), "tried again"),
        (dag(step("a", "true"), step("b", "true", ", depends: a.Failed")), "'b' is run after failures too: 'a.Failed'"),
        (dag(step("a", "true"), step("b", "true", ", depends: '!a'")), "'b' is run after failures"),
        (dag(step("a", "true"), step("c", "true"), step("b", "true", ", depends: a || c")), "'b' is run after failures"),
        (steps(step("a", "true", ", continueOn: {failed: true}")), "what follows 'a' is run after its failure too"),
    ],
)
def test_what_follows_more_than_successes_is_run_as_a_whole(text: str, reason: str) -> None:
    subject = subject_of(text, {}, ManualClock())
    assert reason in (why_whole(subject.spec, subject.library) or "")


def test_parts_wait_as_the_file_says() -> None:
    def after(text: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        subject = subject_of(text, {}, ManualClock())
        return ((part.name, part.place, part.after) for part in parts_of(subject.spec, subject.library))

    graph = dag(step("a-b", "true"), step("c", "true", ", depends: a-b && (a-b)"))
    assert list(after(graph)) == [("a-b", ".a-b", ()), ("c", ".c", ("a-b",))]
    listed = steps(step("a", "true") + ", " + step("b", "true"), step("c", "true"))
    assert list(after(listed)) == [("a", "[0].a", ()), ("b", "[0].b", ()), ("c", "[1].c", ("a", "b"))]


def test_a_step_that_others_use_while_it_runs_keeps_a_workflow_whole() -> None:
    subject = subject_of(dag(step("a", "true"), step("b", "true")).replace("{name: run,", "{name: run, daemon: true,"), {}, ManualClock())
    assert why_whole(subject.spec, subject.library) == "what follows 'a' uses it while it runs"
