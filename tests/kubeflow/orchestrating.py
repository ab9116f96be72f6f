"""Runs pipelines under kfp's own local orchestrator, in the environments that tests/kubeflow/environments makes."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.cli.pachctl import ROOT

PYTHONS = os.environ.get("TEST_KFP_PYTHONS", "").split(":")
"""Those that have kfp: its oldest version that is supported, and the newest."""
FILES = Path(__file__).parent / "with_kfp"
EXAMPLE = ROOT / "definitions" / "edges"
HERE = {"/usr/local/bin/python": sys.executable, "/code": str(EXAMPLE)}
"""What stands in the example's file for its image, and where that is on this machine."""


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


def make_example(command: Callable[..., object], scratch: Path, changes: Mapping[str, str]) -> None:
    """Makes the example's pictures and pipelines in a home.

    Args:
        command: the command line of the home.
        changes: by what stands in the pipelines' file what is to stand there.
    """
    subprocess.run([sys.executable, str(EXAMPLE / "export.py"), str(scratch / "pictures")], check=True)
    text = (EXAMPLE / "pipelines.yaml").read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    (scratch / "pipelines.yaml").write_text(text)
    command("create", "repo", "images")
    command("put", "file", "-r", "images@master", "-f", str(scratch / "pictures"))
    command("create", "pipeline", "-f", str(scratch / "pipelines.yaml"))
