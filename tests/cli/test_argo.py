"""Workflows of Argo on the command line."""

from pathlib import Path

import pytest

from tests.cli.pachctl import Pachctl

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
