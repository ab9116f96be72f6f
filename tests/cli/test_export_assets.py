"""`export assets`: the assets of a Dagster project as a pipeline of Kubeflow."""

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.pachctl import Document, Pachctl
from tests.kubeflow.running import Task, run_user_code
from tests.kubeflow.specs import specs

MODULE = "tests.integration.exported_graph"
CODE = ("--code-image", "registry/code:1", "--code-python", "/opt/venv/bin/python")


def export(pachctl: Pachctl, *words: str) -> Document:
    found: Document = next(iter(yaml.safe_load_all(pachctl("export", "assets", MODULE, *words).out)))
    return found


def test_a_job_is_a_pipeline_whose_tasks_are_its_assets_in_the_order_of_the_graph(pachctl: Pachctl) -> None:
    found = export(pachctl, "--job", "count_all", "--head", *CODE)
    assert found["pipelineInfo"]["name"] == "count-all"
    tasks = found["root"]["dag"]["tasks"]
    assert [tasks[f"run-{word}"]["taskInfo"]["name"] for word in ("words", "total")] == ["default/words", "default/total"]
    assert tasks["stage-total"]["dependentTasks"] == ["commit-words"]
    assert list(found["root"]["inputDefinitions"]["parameters"]) == ["texts_commit"]


def test_functions_of_this_machine_run_in_the_image_that_is_named_others_in_their_own(pachctl: Pachctl) -> None:
    executors = export(pachctl, "--job", "count_all", "--head", *CODE)["deploymentSpec"]["executors"]
    words, total = (executors[f"exec-run-{word}"]["container"] for word in ("words", "total"))
    assert (words["image"], total["image"]) == ("registry/code:1", "registry/total:1")
    runner = ["-P", "-m", "pachyderm_dagster.worker.datum_function", ""]
    assert words["args"][5:] == ["/opt/venv/bin/python", *runner, f"{MODULE}:words"]
    assert total["args"][5:] == ["/usr/bin/python3", *runner, f"{MODULE}:total"]


def test_a_selection_reads_what_it_leaves_out_by_commit(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "words")
    id = pachctl.put("words@master:/a", "x")
    found = export(pachctl, "--select", 'key:"default/total"')
    assert found["root"]["inputDefinitions"]["parameters"]["words_commit"]["defaultValue"] == id
    assert sorted(found["root"]["dag"]["tasks"]) == ["commit-total", "run-total", "stage-total"]
    upstream = export(pachctl, "--select", '+key:"default/total"', "--head", *CODE)
    assert "run-words" in upstream["root"]["dag"]["tasks"]


def test_without_a_choice_it_is_all_pipelines(pachctl: Pachctl) -> None:
    assert {"run-words", "run-total"} <= export(pachctl, "--head", *CODE)["root"]["dag"]["tasks"].keys()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([MODULE, "--job", "none"], "dagster-job-not-found"),
        ([MODULE, "--job", "mixed"], "export-unsupported"),
        ([MODULE, "--select", "key:"], "selection-invalid"),
        ([MODULE, "--select", 'key:"default/texts"'], "assets-not-found"),
        ([MODULE], "export-unsupported"),
        (["tests.integration"], "definitions-not-found"),
        (["no_such_module"], "definitions-not-found"),
    ],
)
def test_what_cannot_be_exported_is_told(pachctl: Pachctl, words: list[str], code: str) -> None:
    assert pachctl.fail("export", "assets", *words, "--head") == code


def test_a_job_and_a_selection_are_one_or_the_other(pachctl: Pachctl) -> None:
    pachctl.misuse("export", "assets", MODULE, "--job", "count_all", "--select", "*")


def test_what_is_exported_runs_to_the_result_of_the_graph(pachctl: Pachctl, tmp_path: Path) -> None:
    pachctl("create", "repo", "texts")
    pachctl.put("texts@master:/a", "to be or")
    commit = pachctl.put("texts@master:/b", "not to be")
    executors = export(pachctl, "--job", "count_all", *CODE[:3], sys.executable)["deploymentSpec"]["executors"]
    for word in ("words", "total"):
        stage, user = (executors[f"exec-{verb}-{word}"]["container"] for verb in ("stage", "run"))
        options = dict(zip(stage["args"], stage["args"][1:], strict=False))
        transform = {"cmd": [sys.executable, *user["args"][6:]], "datum_batching": True}
        (spec,) = specs({**json.loads(options["--spec"]), "transform": transform})
        staged = Task(tmp_path / word, parameters=["datums", "made_from"])
        staged.run(pachctl, "stage", "--spec", options["--spec"], "--commit", options["--commit"], commit, "--data", str(tmp_path / word / "data"))
        env = {one["name"]: one["value"] for one in user["env"]} | {"PYTHONPATH": os.pathsep.join(sys.path)}
        ended = run_user_code(spec, tmp_path / word / "data", tmp_path / word / "out", tmp_path / "pfs", env=env)
        assert ended.returncode == 0, ended.stderr
        put = Task(tmp_path / word / "put", inputs={"out": [tmp_path / word / "out"]}, parameters=["commit"])
        told = ["--made-from", staged.parameter("made_from"), "--datums", staged.parameter("datums")]
        put.run(pachctl, "commit", "--branch", f"default/{word}@kubeflow", *told)
        commit = put.parameter("commit")
    (written,) = pachctl.json("list", "file", "total@kubeflow:/")
    assert pachctl("get", "file", f"total@kubeflow:{written['path']}").out == "2"
