"""Plays the part of Kubeflow for single tasks: folders for artifacts, and the words that it would put in place of placeholders."""

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pachyderm_dagster.kubeflow.script import datum_script
from pachyderm_dagster.pps.spec import PipelineSpec
from tests.cli.pachctl import Answer, Pachctl

Document = dict[str, Any]


class Task:
    """One task: its folder, and what it is told.

    Args:
        inputs: the folders of input artifacts, by name.
        artifacts, parameters: names of outputs.
    """

    def __init__(
        self, folder: Path, *, inputs: Mapping[str, Sequence[Path]] | None = None, artifacts: Sequence[str] = (), parameters: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.told = json.dumps(
            {
                "inputs": {"artifacts": {name: {"artifacts": [{"name": name, "uri": str(one)} for one in found]} for name, found in (inputs or {}).items()}},
                "outputs": {
                    "artifacts": {name: {"artifacts": [{"name": name, "uri": str(folder / name)}]} for name in artifacts},
                    "parameters": {name: {"outputFile": str(folder / f"{name}.txt")} for name in parameters},
                    "outputFile": str(folder / "executor_output.json"),
                },
            }
        )

    def run(self, pachctl: Pachctl, *words: str) -> Answer:
        """Runs a command of ours in it."""
        return pachctl("kubeflow", *words, "--executor-input", self.told)

    def fail(self, pachctl: Pachctl, *words: str) -> str:
        """The same, which has to fail; the code of its error."""
        return pachctl.fail("kubeflow", *words, "--executor-input", self.told)

    def parameter(self, name: str) -> str:
        """An output parameter."""
        return (self.folder / f"{name}.txt").read_text()

    def metadata(self, name: str) -> Document:
        """What is noted on an output artifact."""
        told: Document = json.loads((self.folder / "executor_output.json").read_text())["artifacts"][name]["artifacts"][0]["metadata"]
        return told


def run_user_code(
    spec: PipelineSpec,
    data: Path,
    out: Path,
    pfs: Path,
    *,
    share: str = "0",
    told: str = "{}",
    shell: str = "sh",
    env: Mapping[str, str] | None = None,
    on_volume: bool = False,
    imports: Sequence[Path] = (),
) -> subprocess.CompletedProcess[str]:
    """Runs the script of a pipeline where its pod would, with another folder in place of `/pfs`."""
    there = re.compile(r"(?<![\w.-])/pfs\b")
    script = there.sub(str(pfs), datum_script(spec, on_volume=on_volume, imports=len(imports)))
    for file in data.glob("datums/*/*"):
        file.write_text(there.sub(str(pfs), file.read_text()))
    cmd = [there.sub(str(pfs), word) for word in spec.transform.cmd]
    words = [*shell.split(), "-c", script, spec.pipeline.name, str(data), str(out), f"file://{out}", told, share, *map(str, imports), *cmd]
    return subprocess.run(words, check=False, capture_output=True, text=True, env={**os.environ, **(env or {})})
