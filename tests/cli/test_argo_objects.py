"""Templates of workflows and CronWorkflows that a home keeps, on the command line."""

import os
from pathlib import Path

import dagster as dg
import pytest

from pachyderm_dagster.integration import argo_definitions
from pachyderm_dagster.syncing.differences import Thing
from pachyderm_dagster.syncing.kept_syncs import KeptSync, KeptSyncs
from tests.cli.pachctl import Pachctl

TEMPLATE = """apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: train}
spec:
  entrypoint: main
  templates:
  - name: main
    container: {image: busybox, command: [echo], args: [trained]}
"""
CRON = """apiVersion: argoproj.io/v1alpha1
kind: CronWorkflow
metadata: {name: nightly}
spec:
  schedules: ["0 3 * * *"]
  timezone: Europe/Berlin
  workflowSpec: {workflowTemplateRef: {name: train}}
"""


@pytest.fixture
def template(tmp_path: Path) -> str:
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    return str(tmp_path / "template.yaml")


@pytest.fixture
def cron(tmp_path: Path) -> str:
    (tmp_path / "cron.yaml").write_text(CRON)
    return str(tmp_path / "cron.yaml")


@pytest.mark.parametrize(("words", "kind"), [("template", "WorkflowTemplate"), ("cluster-template", "ClusterWorkflowTemplate")])
def test_templates_are_kept_shown_replaced_and_removed(pachctl: Pachctl, template: str, words: str, kind: str) -> None:
    Path(template).write_text(TEMPLATE.replace("kind: WorkflowTemplate", f"kind: {kind}"))
    assert pachctl("argo", words, "create", template).out == f"created {kind} train\n"
    expected = {"kind": kind, "name": "train", "entrypoint": "main", "templates": ["main"]}
    assert pachctl.json("argo", words, "list") == [expected]
    (found,) = pachctl.json("argo", words, "get", "train")
    assert found["document"]["spec"]["templates"][0]["container"]["args"] == ["trained"]
    assert pachctl.fail("argo", words, "create", template) == "kept-object-exists"
    Path(template).write_text(Path(template).read_text().replace("entrypoint: main", "entrypoint: main\n  parallelism: 2"))
    pachctl("argo", words, "update", template)
    (found,) = pachctl.json("argo", words, "get", "train")
    assert found["document"]["spec"]["parallelism"] == 2
    assert pachctl("argo", words, "delete", "train").out == f"deleted {kind} train\n"
    assert pachctl.json("argo", words, "list") == []
    assert pachctl.fail("argo", words, "update", template) == "kept-object-not-found"


def test_workflows_find_templates_that_the_home_keeps(pachctl: Pachctl, template: str, tmp_path: Path) -> None:
    workflow = tmp_path / "w.yaml"
    workflow.write_text("apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {name: w}\nspec: {workflowTemplateRef: {name: train}}\n")
    assert pachctl.fail("argo", "submit", str(workflow)) == "spec-invalid"
    pachctl("argo", "template", "create", template)
    pachctl("argo", "submit", str(workflow))
    assert pachctl("argo", "logs", "w", "w").out == "trained\n"


def test_a_file_with_something_wrong_or_of_another_kind_keeps_nothing(pachctl: Pachctl, template: str, cron: str) -> None:
    assert pachctl.fail("argo", "cron", "create", template) == "spec-invalid"
    # Its template is nowhere.
    assert pachctl.fail("argo", "cron", "create", cron) == "spec-invalid"
    Path(template).write_text(f"{TEMPLATE}---\n{TEMPLATE}")
    assert pachctl.fail("argo", "template", "create", template) == "spec-invalid"
    assert pachctl.json("argo", "cron", "list") == pachctl.json("argo", "template", "list") == []


def test_a_cron_workflow_says_when_it_starts_next_unless_it_is_suspended(pachctl: Pachctl, template: str, cron: str) -> None:
    pachctl("argo", "template", "create", template)
    pachctl("argo", "cron", "create", cron)
    (found,) = pachctl.json("argo", "cron", "list")
    # 3 o'clock in Berlin is 1 o'clock in summer, 2 o'clock in winter.
    assert found.pop("next").partition("T")[2] in ("01:00:00Z", "02:00:00Z")
    assert found == {"kind": "CronWorkflow", "name": "nightly", "schedules": ["0 3 * * *"], "timezone": "Europe/Berlin", "suspended": False}
    assert pachctl("argo", "cron", "suspend", "nightly").out == "suspended CronWorkflow nightly\n"
    (found,) = pachctl.json("argo", "cron", "get", "nightly")
    assert (found["suspended"], found["next"], found["document"]["spec"]["suspend"]) == (True, None, True)
    pachctl("argo", "cron", "resume", "nightly")
    assert pachctl.json("argo", "cron", "get", "nightly")[0]["suspended"] is False
    pachctl("argo", "submit", "--from", "cronwf/nightly")
    assert pachctl.json("argo", "list")[0]["phase"] == "Succeeded"
    assert pachctl.run("argo", "cron", "delete").status == 2
    pachctl("argo", "cron", "delete", "--all")
    assert pachctl.json("argo", "cron", "list") == []
    assert len(pachctl.json("argo", "template", "list")) == 1


def test_who_changes_what_a_sync_declares_is_told(pachctl: Pachctl, template: str) -> None:
    syncs = KeptSyncs(Path(os.environ["PACHYDERM_HOME"]))
    syncs.put(KeptSync(name="ours", url="https://git.example.com/team", ref="main", folder="", project="default", things=(Thing("WorkflowTemplate", "train"),)))
    answer = pachctl("argo", "template", "create", template)
    assert "note: the sync 'ours' declares WorkflowTemplate train, and makes it so again" in answer.err


def test_lint_of_templates_is_that_of_files(pachctl: Pachctl, template: str) -> None:
    assert [one["kind"] for one in pachctl.json("argo", "template", "lint", template)] == ["WorkflowTemplate"]


def test_dagster_has_jobs_and_schedules_of_what_the_home_keeps_but_not_of_what_a_sync_declares(pachctl: Pachctl, template: str, cron: str) -> None:
    pachctl("argo", "template", "create", template)
    pachctl("argo", "cron", "create", cron)
    definitions = argo_definitions()
    assert {job.name for job in definitions.jobs or ()} == {"train", "nightly"}
    (schedule,) = definitions.schedules or ()
    assert isinstance(schedule, dg.ScheduleDefinition) and schedule.cron_schedule == ["0 3 * * *"]
    things = (Thing("CronWorkflow", "nightly"),)
    syncs = KeptSyncs(Path(os.environ["PACHYDERM_HOME"]))
    syncs.put(KeptSync(name="ours", url="https://git.example.com/team", ref="main", folder="", project="default", things=things))
    assert {job.name for job in argo_definitions().jobs or ()} == {"train"}
