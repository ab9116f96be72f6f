"""A process that is killed at any call of any operation loses nothing that it acknowledged, and leaves a home that fsck has nothing against.

TEST_KILLS says how often (a few hundred take some minutes), TEST_KILLS_SEED which ones.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("TEST_KILLS") or 64)
SEED = os.environ.get("TEST_KILLS_SEED") or "0"
AT_ONCE = 64


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, KILLS, AT_ONCE))
def test_what_was_acknowledged_outlives_kills_at_any_call_and_fsck_is_content(tmp_path: Path, first: int) -> None:
    kills = min(AT_ONCE, KILLS - first)
    command = [sys.executable, "-m", "tests.crash.rounds", str(tmp_path), "--seed", f"{SEED}-{first}", "--kills", str(kills)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\nagain: {' '.join(command)}"
    summary = json.loads(done.stdout)
    assert summary["kills"] == kills
    # Nearly all of them hit something that was under way.
    assert summary["under way"] > kills // 2
