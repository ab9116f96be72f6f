"""`deploy` and `undeploy`, with a `helm` that writes down how it was called; tests/deploy has the real one."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.pachctl import Pachctl

HELM = """#!/bin/sh
printf '%s\\n' "$@" > {folder}/called-$1
case $1 in
get) if [ -e {folder}/values ]; then cat {folder}/values; else echo 'Error: release: not found' >&2; exit 1; fi ;;
upgrade) cat > {folder}/stdin; if [ -e {folder}/broken ]; then echo 'Error: timed out waiting' >&2; exit 1; fi; echo 'STATUS: deployed' ;;
template) cat > {folder}/stdin; echo 'kind: Deployment' ;;
uninstall) echo 'release uninstalled' ;;
esac
"""


@pytest.fixture
def helm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder: what `helm` was called with and given is there."""
    program = tmp_path / "bin" / "helm"
    program.parent.mkdir()
    program.write_text(HELM.format(folder=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path


def called(helm: Path, verb: str) -> list[str]:
    return (helm / f"called-{verb}").read_text().splitlines()


def bundled(helm: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((helm / "stdin").read_text())["bundled"]
    return found


def test_local_installs_the_chart_with_servers_of_its_own(pachctl: Pachctl, helm: Path) -> None:
    assert pachctl("deploy", "local", "--namespace", "lab", "--context", "kind", "--set", "bundled.persistent=false").out == "STATUS: deployed\n"
    words = called(helm, "upgrade")
    assert words[:2] == ["upgrade", "pachyderm-dagster"]
    assert yaml.safe_load((Path(words[2]) / "Chart.yaml").read_text())["name"] == "pachyderm-dagster"
    assert words[3:7] == ["--namespace", "lab", "--kube-context", "kind"]
    assert {"--install", "--wait", "--reset-then-reuse-values"} <= set(words)
    assert words[-4:] == ["--values", "-", "--set", "bundled.persistent=false"]
    assert bundled(helm)["enabled"] is True
    assert len(str(bundled(helm)["password"])) == 32


def test_local_keeps_the_password_of_what_is_installed(pachctl: Pachctl, helm: Path) -> None:
    (helm / "values").write_text('{"bundled": {"enabled": true, "password": "abcdefghijklmnop"}}')
    pachctl("deploy", "local")
    assert bundled(helm)["password"] == "abcdefghijklmnop"


def test_local_gives_no_empty_databases_to_a_release_that_has_others(pachctl: Pachctl, helm: Path) -> None:
    (helm / "values").write_text('{"databases": {"existingSecret": "lab"}, "storage": {"url": "s3://lab"}}')
    answer = pachctl.run("deploy", "local", "--release", "lab")
    assert (answer.status, answer.code) == (1, "release-not-trial")
    assert "release 'lab' in namespace 'default'" in answer.err and "`deploy kubernetes` upgrades it" in answer.err
    assert not (helm / "called-upgrade").exists()


def test_dry_run_prints_the_manifests_and_asks_no_cluster(pachctl: Pachctl, helm: Path) -> None:
    assert pachctl("deploy", "local", "--dry-run").out == "kind: Deployment\n"
    assert not (helm / "called-get").exists()
    assert not (helm / "called-upgrade").exists()


def test_kubernetes_takes_files_of_values_and_bundles_nothing(pachctl: Pachctl, helm: Path) -> None:
    (helm / "lab.yaml").write_text("storage: {url: s3://lab}")
    pachctl("deploy", "kubernetes", "-f", str(helm / "lab.yaml"), "--release", "lab")
    assert called(helm, "upgrade")[1] == "lab"
    assert called(helm, "upgrade")[-4:] == ["--values", "-", "--values", str(helm / "lab.yaml")]
    # Also where a trial was before, whose values hold on.
    assert bundled(helm) == {"enabled": False}


def test_what_helm_refuses_is_told_in_its_words(pachctl: Pachctl, helm: Path) -> None:
    (helm / "broken").touch()
    answer = pachctl.run("deploy", "kubernetes")
    assert (answer.status, answer.code) == (1, "helm-failed")
    assert "helm upgrade failed: timed out waiting" in answer.err
    assert "the same command goes on waiting" in answer.err


def test_undeploy_removes_the_release(pachctl: Pachctl, helm: Path) -> None:
    assert pachctl("undeploy", "--release", "lab", "-n", "data").out == "release uninstalled\n"
    assert called(helm, "uninstall") == ["uninstall", "lab", "--namespace", "data", "--wait"]


def test_without_helm_the_way_to_get_it_is_said(pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = pachctl.run("deploy", "local")
    assert (answer.status, answer.code) == (1, "helm-missing")
    assert "install Helm 3" in answer.err
