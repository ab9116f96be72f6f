"""Runs pipelines under kfp's own local orchestrator, in the environments that tests/kubeflow/environments makes."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cli.pachctl import ROOT

PYTHONS = os.environ.get("TEST_KFP_PYTHONS", "").split(":")
"""Those that have kfp: its oldest version that is supported, and the newest."""
FILES = Path(__file__).parent / "with_kfp"


def call(kfp: str, script: str, *words: str, **variables: str) -> str:
    """Runs one of the scripts for kfp; what it printed."""
    ended = subprocess.run([kfp, str(FILES / script), *words], check=False, capture_output=True, text=True, env={**os.environ, **variables})
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def run_locally(kfp: str, scratch: Path, file: Path, *given: str, folders: Sequence[Path] = ()) -> str:
    """Runs a pipeline with parameters, each container in a pod of this machine that sees the home, and these folders."""
    home = os.environ["PACHYDERM_HOME"]
    variables = {"TEST_PODS_PYTHON": sys.executable, "TEST_PODS_FOLDERS": ":".join([home, *map(str, folders)]), "TMPDIR": str(scratch)}
    return call(kfp, "run_local.py", str(file), str(scratch / "root"), *given, **variables)


def edges_and_montage(python: str = sys.executable, code: str = str(ROOT / "definitions/edges"), image: str = "pillow") -> str:
    """The example's pipeline file for a machine, or an image, with its Python and its code elsewhere."""
    text = (ROOT / "definitions/edges/pipelines.yaml").read_text()
    return text.replace("/usr/local/bin/python", python).replace("/code", code).replace("image: pillow", f"image: {image}")


def write_pictures(folder: Path) -> None:
    """The example's pictures."""
    subprocess.run([sys.executable, str(ROOT / "definitions/edges/export.py"), str(folder)], check=True)
