"""The chart of this package, and the program that installs it."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pachyderm_dagster.errors import ExecutionError, InvalidError, StateError

HELM = "helm"
WAIT = "10m"
_CHART = Path("deploy", "helm", "pachyderm-dagster")
_LATE = ("context deadline exceeded", "timed out waiting")
"""What Helm says of pods that were not ready in time, and nothing more."""


@dataclass(frozen=True, slots=True)
class Release:
    """Where something is installed, and under which name.

    Args:
        context: of the kubeconfig; None for its current one.
    """

    name: str
    namespace: str
    context: str | None = None

    @property
    def words(self) -> list[str]:
        """As `helm` takes it, behind the name."""
        return ["--namespace", self.namespace, *(["--kube-context", self.context] if self.context else [])]


def chart_folder() -> Path:
    """The chart in an installed package, or in a clone.

    Raises:
        InvalidError: `chart-missing`.
    """
    package = Path(str(files("pachyderm_dagster")))
    for folder in (package / "chart", package.parent / _CHART):
        if (folder / "Chart.yaml").is_file():
            return folder
    raise InvalidError("chart-missing", f"there is no chart in {package}, nor beside it; install this package from a wheel, or use it in a clone")


def install_words(release: Release, chart: Path, values: Sequence[str], settings: Sequence[str]) -> list[str]:
    """The arguments that install or upgrade, and wait until all pods are ready; values that an earlier call gave hold on.

    Args:
        values: files; `-` is standard input.
        settings: KEY=VALUE, which win.
    """
    kept = ["--install", "--create-namespace", "--reset-then-reuse-values", "--wait", "--timeout", WAIT]
    return ["upgrade", release.name, str(chart), *release.words, *kept, *_given(values, settings)]


def render_words(release: Release, chart: Path, values: Sequence[str], settings: Sequence[str]) -> list[str]:
    """The arguments that print the manifests, and ask no cluster."""
    return ["template", release.name, str(chart), *release.words, *_given(values, settings)]


def run_helm(words: Sequence[str], environ: Mapping[str, str], *, stdin: str = "") -> str:
    """What `helm` says.

    Raises:
        InvalidError: `helm-missing`.
        ExecutionError: `helm-failed`, with its own words.
    """
    program = shutil.which(HELM, path=environ.get("PATH"))
    if program is None:
        way_out = "install Helm 3 (most systems have a package of it, or: go install helm.sh/helm/v3/cmd/helm@v3.19.0) and have it on the PATH"
        raise InvalidError("helm-missing", f"the program '{HELM}', which installs the chart, was not found; {way_out}")
    done = subprocess.run([program, *words], input=stdin, capture_output=True, text=True, env=dict(environ), check=False)
    if done.returncode:
        said = " ".join(line.strip() for line in done.stderr.splitlines() if line.strip() and "[INFO]" not in line)
        late = f"; after {WAIT} something was not ready: `kubectl get pods` shows what, its events and logs why, and the same command goes on waiting"
        said = said.removeprefix("Error: ") or f"exit status {done.returncode}"
        raise ExecutionError("helm-failed", f"helm {words[0]} failed: {said}{late if any(phrase in said for phrase in _LATE) else ''}")
    return done.stdout


def find_password(release: Release, environ: Mapping[str, str]) -> str | None:
    """That of the bundled servers of a release; None when there is no release.

    Raises:
        StateError: `release-not-trial`, when there is one, without such servers.
    """
    try:
        found = json.loads(run_helm(["get", "values", release.name, *release.words, "--output", "json"], environ)) or {}
    except ExecutionError as error:
        if "not found" in error.message:
            return None
        raise
    bundled = found.get("bundled") or {}
    if not bundled.get("enabled"):
        problem = f"release '{release.name}' in namespace '{release.namespace}' has databases and a store that are not its own, and would get empty ones"
        raise StateError("release-not-trial", f"{problem}; `deploy kubernetes` upgrades it; for a trial beside it give another --release or --namespace")
    return str(bundled["password"]) if bundled.get("password") else None


def _given(values: Sequence[str], settings: Sequence[str]) -> list[str]:
    return [word for file in values for word in ("--values", file)] + [word for setting in settings for word in ("--set", setting)]
