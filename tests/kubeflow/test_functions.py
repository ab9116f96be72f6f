"""Functions of Python in Kubeflow: a `datum_asset` that is installed in an image runs datum after datum, each in a process of its own."""

import sys
from pathlib import Path
from typing import Any

import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration import datum_asset, pfs
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.worker.function_code import FUNCTION_CODE, code_digest
from tests.cli.pachctl import Pachctl
from tests.kubeflow.running import Task, run_user_code
from tests.kubeflow.specs import container, exported, specs
from tests.kubeflow.test_script import SHELLS

MODULE = """
from pathlib import Path

def shout(texts: str) -> str:
    if texts == "bad":
        raise ValueError("no good")
    return texts.upper()
"""
RUNNER = "pachyderm_dagster.worker.datum_function"


def document(folder: Path, root: str = "") -> dict[str, Any]:
    """The pipeline of the function, as `datum_asset(python=...)` declares it."""
    (folder / "shouting.py").write_text(MODULE)
    env = {FUNCTION_CODE: code_digest([folder / "shouting.py"]), "PYTHONPATH": f"{folder}:{Path(__file__).parents[2]}"}
    transform = {"cmd": [sys.executable, "-P", "-m", RUNNER, root, "shouting:shout"], "env": env, "datum_batching": True}
    return {"pipeline": {"name": "shout"}, "input": {"pfs": {"repo": "texts", "glob": "/*"}}, "transform": transform, "reprocess_spec": "code_change"}


def run(pachctl: Pachctl, tmp_path: Path, spec: PipelineSpec, shell: str = "sh") -> tuple[int, str]:
    """What the task of the function does of `texts`; the environment is that of its container."""
    stage = Task(tmp_path / "stage", artifacts=["data"], parameters=["datums", "made_from"])
    stage.run(pachctl, "stage", "--spec", spec.to_json(), "--commit", "default/texts@master", "", "--data", str(tmp_path / "stage/data"))
    env = {one["name"]: one["value"] for one in container(exported(document(tmp_path)), "exec-run-shout")["env"]}
    ended = run_user_code(spec, tmp_path / "stage/data", tmp_path / "out", tmp_path / "pfs", shell=shell, env=env)
    if ended.returncode == 0:
        put = Task(tmp_path / "commit", inputs={"out": [tmp_path / "out"]})
        words = ["--made-from", stage.parameter("made_from"), "--datums", stage.parameter("datums")]
        put.run(pachctl, "commit", "--branch", "default/shout@kubeflow", *words)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_a_function_runs_on_each_datum(pachctl: Pachctl, tmp_path: Path, shell: str) -> None:
    pachctl("create", "repo", "texts")
    for name in ("a", "it's"):
        pachctl.put(f"texts@master:/{name}", f"{name} text")
    (spec,) = specs(document(tmp_path))
    assert run(pachctl, tmp_path, spec, shell) == (0, "")
    (written,) = pachctl.json("list", "file", "shout@kubeflow:/it's")
    assert pachctl("get", "file", f"shout@kubeflow:{written['path']}").out == "IT'S TEXT"


def test_what_a_function_raises_fails_its_datum(pachctl: Pachctl, tmp_path: Path) -> None:
    pachctl("create", "repo", "texts")
    pachctl.put("texts@master:/a", "bad")
    (spec,) = specs(document(tmp_path))
    status, said = run(pachctl, tmp_path, spec)
    assert status == 1 and "the function raised ValueError: no good" in said


def test_code_that_is_only_on_this_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match=r"`python=`"):
        exported(document(tmp_path, root="/somewhere/here"))


def sample(texts: str) -> str:
    """What the decorator takes."""
    return texts


def test_what_the_decorator_declares_is_what_is_taken() -> None:
    found = datum_asset(input=pfs("texts", glob="/*"), python="/opt/venv/bin/python")(sample)
    (asset,) = found.specs
    declared = asset.metadata["pachyderm/spec"].value
    assert "PACHYDERM_ONE_DATUM" in {one["name"] for one in container(exported(declared), "exec-run-sample")["env"]}
