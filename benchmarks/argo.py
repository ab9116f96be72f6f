"""Workflows of Argo: a fan-out of a thousand pods that do nothing against `xargs -P2`, and the start of a small workflow beyond its imports."""

import os
import sys
from pathlib import Path

from benchmarks.measuring import PACHCTL, Taken, command, in_turns, line, places

ITEMS = int(os.environ.get("ITEMS", "1000"))
ROOT = Path(__file__).parents[1]
ENVIRONMENT = {"PYTHONPATH": str(ROOT)}
FAN_OUT_AIM, START_AIM = 3.0, 0.5
WORKFLOW = """apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: fan-out-}
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: each, template: nothing, withSequence: {count: %d}}]]
  - {name: nothing, container: {image: busybox, command: ["true"]}}
"""
IMPORTS = "import pachyderm_dagster.cli.argo"


def submit(folder: Path, name: str) -> Taken:
    """Submits one of the workflows in a home below the folder."""
    return command(*PACHCTL, "argo", "submit", name, folder=folder, environment={**ENVIRONMENT, "PACHYDERM_HOME": str(folder / "home")})


def main() -> None:
    """Prints the figures."""
    for folder in places():
        (folder / "many.yaml").write_text(WORKFLOW % ITEMS)
        (folder / "one.yaml").write_text(WORKFLOW % 1)
        taken = in_turns(
            {
                "xargs": lambda folder=folder: command("sh", "-c", f"seq {ITEMS} | xargs -n1 -P2 true", folder=folder),  # type: ignore[misc]
                "many": lambda folder=folder: submit(folder, "many.yaml"),  # type: ignore[misc]
                "one": lambda folder=folder: submit(folder, "one.yaml"),  # type: ignore[misc]
                "imports": lambda folder=folder: command(sys.executable, "-c", IMPORTS, folder=folder, environment=ENVIRONMENT),  # type: ignore[misc]
            },
            rounds=1,
        )
        seconds = {name: found.seconds for name, found in taken.items()}
        detail = f"{seconds['many']:.1f} s against {seconds['xargs']:.1f} s"
        line(f"a fan-out of {ITEMS:,} pods / xargs -P2", seconds["many"] / seconds["xargs"], FAN_OUT_AIM, detail=detail)
        processor = {name: found.processor_seconds for name, found in taken.items()}
        detail = f"{processor['many']:.1f} s against {processor['xargs']:.1f} s"
        line("the same in processor time", processor["many"] / processor["xargs"], detail=detail)
        line("a workflow with one pod, beyond its imports", seconds["one"] - seconds["imports"], START_AIM, unit="s")


if __name__ == "__main__":
    main()
