"""Exports as hera's models of Argo's types take them, and workflows that hera writes as our engine runs them."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.cli.pachctl import Pachctl

pytestmark = pytest.mark.hera
PYTHON = os.environ.get("TEST_HERA_PYTHON", "")
FILES = Path(__file__).parent / "with_hera"
GOLDEN = sorted((Path(__file__).parent / "exported").glob("*.yaml"))


def _hera(script: str, *words: str) -> str:
    found = subprocess.run([PYTHON, str(FILES / script), *words], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Workflows of Argo that hera wrote."""
    folder = tmp_path_factory.mktemp("written")
    _hera("write.py", str(folder))
    return folder


def test_models_leave_all_of_what_is_exported() -> None:
    assert GOLDEN
    found = json.loads(_hera("accept.py", *map(str, GOLDEN)))
    assert found == [yaml.safe_load(path.read_text()) for path in GOLDEN]


def test_all_that_hera_writes_is_read(pachctl: Pachctl, written: Path) -> None:
    found = pachctl.json("argo", "lint", *map(str, sorted(written.iterdir())))
    assert [(one["kind"], one["name"]) for one in found] == [
        ("Workflow", "diamond"),
        ("CronWorkflow", "nightly"),
        ("WorkflowTemplate", "shared"),
        ("Workflow", "squares"),
    ]


@pytest.mark.parametrize(
    ("name", "logs"),
    [
        ("squares", ["[0, 1, 2, 3]", "0", "1", "4", "9", "total 14"]),
        ("diamond", ["a", "b", "bye Succeeded"]),
        ("shared", ["hello world"]),
    ],
)
def test_what_hera_writes_runs(pachctl: Pachctl, written: Path, name: str, logs: list[str]) -> None:
    pachctl("argo", "submit", str(written / f"{name}.yaml"), "--name", name)
    assert [line.partition(": ")[2] for line in pachctl("argo", "logs", name).out.splitlines()] == logs
