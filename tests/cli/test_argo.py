"""Workflows of Argo on the command line."""

import os
from pathlib import Path

import pytest

from tests.cli.pachctl import Document, Pachctl, process

SAY = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: say-}
spec:
  entrypoint: main
  templates:
  - name: main
    container: {image: busybox, command: [echo], args: [hello]}
"""


@pytest.fixture
def say(tmp_path: Path) -> Path:
    path = tmp_path / "say.yaml"
    path.write_text(SAY)
    return path


def test_lint_lists_what_is_right(pachctl: Pachctl, say: Path) -> None:
    assert pachctl.json("argo", "lint", str(say)) == [{"kind": "Workflow", "name": "say-", "file": str(say), "line": 1}]
    assert pachctl("argo", "lint", str(say)).out.splitlines()[0].split() == ["KIND", "NAME", "FILE", "LINE"]


def test_lint_tells_what_is_wrong_with_its_line(pachctl: Pachctl, say: Path) -> None:
    say.write_text(SAY.replace("entrypoint: main", "entrypoint: mian"))
    answer = pachctl.run("argo", "lint", str(say))
    assert (answer.status, answer.code) == (1, "spec-invalid")
    assert f"{say}:5: spec.entrypoint: there is no template 'mian'" in answer.err


def test_lint_finds_templates_in_other_files(pachctl: Pachctl, say: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared.yaml"
    shared.write_text(SAY.replace("kind: Workflow", "kind: WorkflowTemplate").replace("generateName: say-", "name: shared"))
    say.write_text(SAY.split("spec:")[0] + "spec: {workflowTemplateRef: {name: shared}}\n")
    assert pachctl.fail("argo", "lint", str(say)) == "spec-invalid"
    assert [one["kind"] for one in pachctl.json("argo", "lint", str(say), str(shared))] == ["Workflow", "WorkflowTemplate"]


def test_lint_tells_fields_without_effect(pachctl: Pachctl, say: Path) -> None:
    say.write_text(SAY + "  serviceAccountName: me\n")
    assert "note: " in pachctl("argo", "lint", str(say)).err


FLOW = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: flow}
spec:
  entrypoint: main
  arguments: {parameters: [{name: code, value: 0}]}
  templates:
  - name: main
    steps:
    - - {name: first, template: say, withItems: [a, b], arguments: {parameters: [{name: text, value: '{{item}}'}]}}
    - - {name: last, template: end}
  - {name: say, inputs: {parameters: [{name: text}]}, container: {image: busybox, command: [echo], args: ['{{inputs.parameters.text}}']}}
  - {name: end, script: {image: busybox, command: [sh], source: 'exit {{workflow.parameters.code}}'}}
"""
WAIT = SAY.replace("generateName: say-", "name: wait").replace(
    "container: {image: busybox, command: [echo], args: [hello]}", "suspend: {}\n    outputs: {parameters: [{name: ok, valueFrom: {supplied: {}}}]}"
)


def steps_of(out: str) -> list[str]:
    """The tree that was printed, without the columns behind it."""
    lines = out[out.index("STEP ") :].splitlines()[1:]
    return [line[: line.rindex(" flow-")].rstrip() if " flow-" in line else line for line in lines]


def test_submit_runs_and_draws_the_nodes_as_argo_does(pachctl: Pachctl, say: Path) -> None:
    say.write_text(FLOW)
    answer = pachctl("argo", "submit", str(say))
    assert "Status:             Succeeded" in answer.out
    assert [line.split("  ")[0].rstrip() for line in steps_of(answer.out)] == [
        "✔ flow",
        "├─┬─✔ first(0:a) say",
        "│ └─✔ first(1:b) say",
        "└───✔ last",
    ]


def test_failures_are_exit_status_1_and_can_be_tried_again(pachctl: Pachctl, say: Path) -> None:
    say.write_text(FLOW)
    answer = pachctl.run("argo", "submit", str(say), "-p", "code=3")
    assert answer.status == 1
    assert "✖ last" in answer.out
    before = {node["name"]: node for node in pachctl("argo", "get", "flow", "-o", "json").document["nodes"]}
    assert before["flow[1].last"]["message"] == "Error (exit code 3)"
    assert pachctl.run("argo", "retry", "flow").status == 1
    after = {node["name"]: node for node in pachctl("argo", "get", "@latest", "-o", "json").document["nodes"]}
    assert after["flow[0].first(0:a)"] == before["flow[0].first(0:a)"]
    assert after["flow[1].last"]["started"] > before["flow[1].last"]["started"]


def test_submitted_workflows_are_listed_and_their_logs_kept(pachctl: Pachctl, say: Path) -> None:
    pachctl("argo", "submit", str(say))
    pachctl("argo", "submit", str(say), "--generate-name", "again-")
    pachctl("argo", "submit", str(say), "--name", "named")
    listed = pachctl.json("argo", "list")
    assert [(one["phase"], one["name"].partition("-")[0]) for one in listed] == [("Succeeded", name) for name in ("named", "again", "say")]
    assert pachctl("argo", "logs", "named").out == "named: hello\n"
    assert pachctl("argo", "logs", "named", "named").out == "hello\n"
    assert pachctl.fail("argo", "logs", "named", "other") == "pod-not-found"
    assert pachctl.fail("argo", "submit", str(say), "--name", "named") == "workflow-exists"
    assert pachctl.fail("argo", "get", "gone") == "workflow-not-found"
    assert pachctl.fail("argo", "retry", "named") == "workflow-succeeded"
    assert pachctl.fail("argo", "stop", "named") == "workflow-not-running"
    assert pachctl.fail("argo", "suspend", "named") == "workflow-not-running"
    assert pachctl.fail("argo", "resume", "named") == "workflow-not-suspended"


def test_a_suspended_workflow_is_resumed_with_parameters(pachctl: Pachctl, say: Path) -> None:
    say.write_text(WAIT)
    answer = pachctl("argo", "submit", str(say))
    assert "argo resume wait" in answer.err
    assert "ǁ wait" in answer.out
    assert pachctl.fail("argo", "resume", "wait", "-p", "no=1") == "parameter-unknown"
    assert pachctl.fail("argo", "resume", "wait", "-p", "ok") == "parameter-invalid"
    assert pachctl("argo", "resume", "wait", "-p", "ok=yes", "-o", "json").document["outputs"]["parameters"] == {"ok": "yes"}


def test_a_workflow_that_is_suspended_as_a_whole_is_resumed(pachctl: Pachctl, say: Path) -> None:
    say.write_text(SAY.replace("generateName: say-", "name: later").replace("  templates:", "  suspend: true\n  templates:"))
    answer = pachctl("argo", "submit", str(say))
    assert "the workflow waits" in answer.err and "Running (Suspended)" in answer.out
    assert "Succeeded" in pachctl("argo", "resume", "later").out


TWO = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: two}
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: dev, template: ask, ENV: dev}, {name: prod, template: ask, ENV: prod}]]
  - {name: ask, inputs: {parameters: [{name: env}]}, suspend: {}, outputs: {parameters: [{name: ok, valueFrom: {supplied: {}}}]}}
""".replace("ENV: dev", "arguments: {parameters: [{name: env, value: dev}]}").replace("ENV: prod", "arguments: {parameters: [{name: env, value: prod}]}")


def test_nodes_are_answered_by_their_fields(pachctl: Pachctl, say: Path) -> None:
    say.write_text(TWO)
    pachctl("argo", "submit", str(say))
    dev = ("--node-field-selector", "inputs.parameters.env.value=dev")
    assert pachctl.fail("argo", "node", "set", "two", "--node-field-selector", "displayName=gone") == "workflow-not-suspended"
    assert pachctl.fail("argo", "node", "set", "two", "--node-field-selector", "gone") == "selector-invalid"
    assert pachctl.fail("argo", "node", "set", "two", *dev, "--output-parameter", "no=1") == "parameter-unknown"
    pachctl("argo", "node", "set", "two", *dev, "--output-parameter", "ok=yes")
    assert "prod waits" in pachctl("argo", "resume", "two", *dev).err
    pachctl("argo", "node", "set", "two", "--node-field-selector", "displayName=prod", "--phase", "Failed", "--message", "not now")
    assert pachctl.run("argo", "retry", "two").status == 1
    nodes = {node["display_name"]: node for node in pachctl("argo", "get", "two", "-o", "json").document["nodes"]}
    assert nodes["dev"]["outputs"]["parameters"] == {"ok": "yes"}
    assert (nodes["prod"]["phase"], nodes["prod"]["message"]) == ("Failed", "not now")


def test_stopping_selected_nodes_has_them_fail(pachctl: Pachctl, say: Path) -> None:
    say.write_text(TWO)
    pachctl("argo", "submit", str(say))
    pachctl("argo", "stop", "two", "--node-field-selector", "displayName=prod", "-m", "no")
    assert pachctl.run("argo", "resume", "two", "-p", "ok=1").status == 1


def test_a_workflow_that_waits_is_stopped_here(pachctl: Pachctl, say: Path) -> None:
    say.write_text(WAIT)
    pachctl("argo", "submit", str(say))
    pachctl("argo", "stop", "wait")
    assert pachctl.json("argo", "list")[0]["phase"] == "Failed"


ARTIFACT = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: read}
spec:
  entrypoint: main
  arguments: {parameters: [{name: a}, {name: b, value: own}]}
  templates:
  - name: main
    inputs: {artifacts: [{name: text, path: /text}]}
    container: {image: busybox, command: [sh, -c], args: ["cat /text; echo {{workflow.parameters.a}} {{workflow.parameters.b}}"]}
"""


def test_files_are_artifacts_and_parameters_of_a_workflow(pachctl: Pachctl, say: Path, tmp_path: Path) -> None:
    say.write_text(ARTIFACT)
    (tmp_path / "parameters.yaml").write_text("a: 1\nb: two\n")
    (tmp_path / "text").write_text("hello\n")
    parameters = ("--parameter-file", str(tmp_path / "parameters.yaml"), "-p", "b=three")
    assert pachctl.fail("argo", "submit", str(say), *parameters) == "artifact-missing"
    assert pachctl.fail("argo", "submit", str(say), *parameters, "--artifact", f"other={tmp_path / 'text'}") == "artifact-unknown"
    for wrong in ("text", f"text={tmp_path / 'gone'}"):
        assert pachctl.fail("argo", "submit", str(say), *parameters, "--artifact", wrong) == "artifact-invalid"
    pachctl("argo", "submit", str(say), *parameters, "--artifact", f"text={tmp_path / 'text'}")
    assert pachctl("argo", "logs", "read", "read").out == "hello\n1 three\n"
    (tmp_path / "parameters.yaml").write_text("- a\n")
    assert pachctl.fail("argo", "submit", str(say), *parameters) == "parameter-invalid"


MAKE = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: make-}
spec:
  entrypoint: main
  arguments: {parameters: [{name: text, value: one}]}
  templates:
  - {name: main, steps: [[{name: a, template: make}, {name: b, template: make}]]}
  - name: make
    script: {image: busybox, command: [sh], source: "mkdir /out; echo {{workflow.parameters.text}} > /out/f"}
    outputs: {artifacts: [{name: o, path: /out, archive: {none: {}}}]}
"""


def test_artifacts_of_a_run_are_one_commit_of_a_repo(pachctl: Pachctl, say: Path) -> None:
    say.write_text(MAKE)
    for text in ("one", "two"):
        pachctl("argo", "submit", str(say), "-p", f"text={text}", "--name", f"make-{text}")
    commits = pachctl.json("list", "commit", "argo-make@master")
    assert [one["description"] for one in commits] == ["workflow make-two", "workflow make-one"]
    kept = pachctl("argo", "get", "make-two", "-o", "json").document["artifacts"]
    assert kept == f"argo-make@{commits[0]['id']}"
    files = [one["path"] for one in pachctl.json("glob", "file", f"{kept}:/**") if one["type"] == "file"]
    pods = [node["pod"] for node in pachctl("argo", "get", "make-two", "-o", "json").document["nodes"] if node["pod"]]
    assert sorted(files) == sorted(f"/make-two/{pod}/o/f" for pod in pods)
    assert pachctl("get", "file", f"{kept}:{files[0]}").out == "two\n"


def test_a_run_whose_end_was_not_kept_has_one_commit_still(pachctl: Pachctl, say: Path) -> None:
    say.write_text(MAKE)
    pachctl("argo", "submit", str(say), "--name", "make-it")
    (Path(os.environ["PACHYDERM_HOME"]) / "argo" / "runs" / "make-it" / "ending.json").unlink()
    pachctl("argo", "retry", "make-it")
    assert len(pachctl.json("list", "commit", "argo-make@master")) == 1


def test_logs_of_other_containers_are_asked_for_by_name(pachctl: Pachctl, say: Path) -> None:
    say.write_text(SAY + "    initContainers: [{name: first, image: busybox, command: [echo, before]}]\n")
    pachctl("argo", "submit", str(say), "--name", "logged")
    assert pachctl("argo", "logs", "logged", "-c", "first").out == "logged: before\n"
    assert pachctl("argo", "logs", "logged").out == "logged: hello\n"


def test_runs_are_deleted_by_name_age_and_end(pachctl: Pachctl, say: Path) -> None:
    for name in ("one", "two"):
        pachctl("argo", "submit", str(say), "--name", name)
    say.write_text(WAIT)
    pachctl("argo", "submit", str(say))
    assert pachctl.run("argo", "delete").status == 2
    assert pachctl.fail("argo", "delete", "gone") == "workflow-not-found"
    assert pachctl("argo", "delete", "one").out == "deleted one\n"
    assert pachctl("argo", "delete", "--older", "1h").out == ""
    assert pachctl("argo", "delete", "--completed").out == "deleted two\n"
    assert pachctl("argo", "delete", "--all").out == "deleted wait\n"
    assert pachctl.json("argo", "list") == []


def test_submit_refuses_what_cannot_start(pachctl: Pachctl, say: Path) -> None:
    assert pachctl.fail("argo", "submit", str(say), "-p", "none=1") == "parameter-unknown"
    assert pachctl.fail("argo", "submit", str(say), "--entrypoint", "none") == "template-not-found"
    say.write_text(SAY + "---\n" + SAY)
    assert pachctl.fail("argo", "submit", str(say)) == "workflow-not-single"
    say.write_text(SAY.replace("  templates:", "  arguments: {parameters: [{name: a}]}\n  templates:"))
    assert pachctl.fail("argo", "submit", str(say)) == "parameter-missing"
    assert pachctl.json("argo", "list") == []


def test_a_running_workflow_is_stopped_from_outside(pachctl: Pachctl, say: Path) -> None:
    say.write_text(SAY.replace("generateName: say-", "name: long").replace("command: [echo], args: [hello]", "command: [sleep], args: ['1000']"))
    with process("argo", "submit", str(say)) as running:
        assert running.stderr is not None
        assert "long" in running.stderr.readline()
        while pachctl.run("argo", "stop", "long").status:
            pass
        assert running.wait() == 1
    assert pachctl("argo", "get", "long", "-o", "json").document["message"] == "workflow shutdown with strategy: Stop"


def test_an_interrupted_workflow_goes_on_where_it_was(pachctl: Pachctl, say: Path) -> None:
    long = FLOW.replace("exit {{workflow.parameters.code}}", "test -e /flag/go || sleep 1000")
    long = long.replace("command: [sh], source", "volumeMounts: [{name: flag, mountPath: /flag}], command: [sh], source")
    say.write_text(long.replace("  templates:", "  volumes: [{name: flag, persistentVolumeClaim: {claimName: flag}}]\n  templates:"))
    flag = Path(os.environ["PACHYDERM_HOME"]) / "argo" / "claims" / "flag"
    flag.mkdir(parents=True)
    with process("argo", "submit", str(say)) as running:
        while "flow[1].last" not in running_nodes(pachctl):
            pass
        running.kill()
        running.wait()
    (flag / "go").touch()
    first = running_nodes(pachctl)["flow[0].first(0:a)"]
    assert pachctl("argo", "retry", "flow", "-o", "json").document["phase"] == "Succeeded"
    assert running_nodes(pachctl)["flow[0].first(0:a)"] == first


LINES = (
    SAY.replace("generateName: say-", "name: lines")
    .replace(
        "command: [echo], args: [hello]",
        "command: [sh, -c], args: ['echo first; until test -e /flag/go; do sleep 0.1; done; echo last'], volumeMounts: [{name: flag, mountPath: /flag}]",
    )
    .replace("  templates:", "  volumes: [{name: flag, persistentVolumeClaim: {claimName: flag}}]\n  templates:")
)


@pytest.fixture
def flag() -> Path:
    folder = Path(os.environ["PACHYDERM_HOME"]) / "argo" / "claims" / "flag"
    folder.mkdir(parents=True)
    return folder / "go"


def test_logs_are_followed_while_a_workflow_runs_and_end_with_it(pachctl: Pachctl, say: Path, flag: Path) -> None:
    say.write_text(LINES)
    with process("argo", "submit", str(say)) as running:
        while pachctl.run("argo", "logs", "lines").out != "lines: first\n":
            pass
        with process("argo", "logs", "lines", "--follow") as following:
            assert following.stdout is not None
            assert following.stdout.readline() == "lines: first\n"
            flag.touch()
            assert following.stdout.read() == "lines: last\n"
            assert following.wait() == 0
        assert running.wait() == 0
    assert pachctl("argo", "logs", "lines", "--tail", "1").out == "lines: last\n"
    assert pachctl("argo", "logs", "lines", "--tail", "0").out == ""
    assert pachctl("argo", "logs", "lines", "lines", "--grep", "rst").out == "first\n"


def test_who_waits_and_watches_is_told_how_a_workflow_ended(pachctl: Pachctl, say: Path, flag: Path) -> None:
    say.write_text(LINES)
    with process("argo", "submit", str(say)) as running:
        while pachctl.run("argo", "logs", "lines").out != "lines: first\n":
            pass
        assert [one["name"] for one in pachctl.json("argo", "list", "--running")] == ["lines"]
        with process("argo", "wait", "lines") as waiting, process("argo", "watch", "lines") as watching:
            assert watching.stdout is not None
            assert watching.stdout.readline() == "Name:               lines\n"
            flag.touch()
            assert waiting.communicate()[0] == "lines Succeeded\n"
            assert "Status:             Succeeded" in watching.stdout.read()
            assert (waiting.wait(), watching.wait()) == (0, 0)
        running.wait()
    assert pachctl.json("argo", "list", "--running") == pachctl.json("argo", "list", "--status", "Failed") == []
    assert [one["name"] for one in pachctl.json("argo", "list", "--completed")] == ["lines"]


def test_nobody_waits_for_what_does_not_come(pachctl: Pachctl, say: Path) -> None:
    say.write_text(WAIT)
    pachctl("argo", "submit", str(say))
    answer = pachctl.run("argo", "wait", "wait")
    assert (answer.status, answer.code) == (1, "workflow-not-running") and "argo resume wait" in answer.err
    assert pachctl.fail("argo", "logs", "wait", "--follow") == "workflow-not-running"
    pachctl("argo", "terminate", "wait")
    answer = pachctl.run("argo", "wait", "wait")
    assert (answer.status, answer.out) == (1, "wait Failed\n")
    assert pachctl.fail("argo", "wait", "gone") == "workflow-not-found"
    assert pachctl("argo", "wait", "gone", "--ignore-not-found").out == ""
    assert pachctl.fail("argo", "terminate", "wait") == "workflow-not-running"


def running_nodes(pachctl: Pachctl) -> dict[str, Document]:
    answer = pachctl.run("argo", "get", "flow", "-o", "json")
    return {node["name"]: node for node in answer.document["nodes"]} if answer.status == 0 else {}
