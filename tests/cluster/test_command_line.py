"""The commands for clusters, where there is none: each error names the next step."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def told(*arguments: str | Path) -> str:
    """What a command that fails said."""
    done = subprocess.run([sys.executable, "-m", "tests.cluster", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done
    assert done.stderr.startswith("error: ")
    return done.stderr


@pytest.mark.parametrize("command", ["status", "kubeconfig"])
def test_command_on_no_cluster_says_how_one_is_made(command: str, tmp_path: Path) -> None:
    assert "make one with 'python -m tests.cluster up'" in told("--folder", tmp_path / "none", command)


def test_image_that_nothing_builds_is_refused_with_those_that_are(tmp_path: Path) -> None:
    assert "localhost/busybox:1" in told("--folder", tmp_path / "none", "images", "localhost/nothing:1")


def test_image_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    assert f"there is no image at {tmp_path}/none.tar" in told("--folder", tmp_path / "none", "load", tmp_path / "none.tar")


def test_image_for_a_cluster_that_does_not_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image.tar").touch()

    assert "does not run; start it" in told("--folder", tmp_path / "none", "load", tmp_path / "image.tar")


def test_program_that_wrote_nothing_is_refused(tmp_path: Path) -> None:
    assert "no program 'kubelet' has written anything" in told("--folder", tmp_path / "none", "logs", "kubelet")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")

    assert "choose another one: --folder" in told("--folder", tmp_path, "--number", "98", "down")
    assert (tmp_path / "mine").read_text() == "kept"
