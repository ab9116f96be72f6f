"""Renders the chart, and finds one's way in what comes out."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/pachyderm-dagster"
VALUES = Path(__file__).parent / "values"
GOLDEN = Path(__file__).parent / "golden"
SETS = ("minimal", "trial", "whole")


def helm(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([os.environ["HELM"], *words], capture_output=True, text=True, check=False)


def render(values: str) -> str:
    done = helm("template", "demo", CHART, "--namespace", "lab", "--values", VALUES / f"{values}.yaml")
    assert done.returncode == 0, done.stderr
    return done.stdout


def manifests(values: str) -> list[Manifest]:
    return [one for one in yaml.safe_load_all(render(values)) if one]


def pods(found: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """The pods of servers, each with the name of what makes it."""
    for one in found:
        if one["kind"] in ("Deployment", "StatefulSet"):
            yield one["metadata"]["name"], one["spec"]["template"]


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def named(found: list[Manifest], kind: str, name: str) -> Manifest:
    (one,) = [one for one in found if one["kind"] == kind and one["metadata"]["name"] == f"demo-pachyderm-dagster-{name}"]
    return one
