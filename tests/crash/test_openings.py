"""Opening a home, a new one or one that an earlier release left, can be killed at every call: the next command finds nothing amiss.

At one call in four, and at every one where TEST_KILLS is set.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOMES = ROOT / "tests" / "metadata" / "homes"

EVERY = 1 if os.environ.get("TEST_KILLS") else 4
pytestmark = pytest.mark.timeout(600)


def kills_of(folder: Path, *words: str) -> int:
    command = [sys.executable, "-m", "tests.crash.openings", str(folder), "--every", str(EVERY), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_making_a_home_can_be_killed_at_every_call(tmp_path: Path) -> None:
    assert kills_of(tmp_path) >= 30 // EVERY


def test_upgrading_a_home_can_be_killed_at_every_call(tmp_path: Path) -> None:
    assert kills_of(tmp_path, "--archive", str(HOMES / "0001.tar.gz")) >= 20 // EVERY
