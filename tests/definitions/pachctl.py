"""`pachctl` as a user has it: the program of this environment, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.docs.markdown import ROOT


def pachctl(home: Path, *words: str) -> str:
    """Standard output of the command, which must succeed."""
    environment = {**os.environ, "PACHYDERM_HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["pachctl", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"pachctl {' '.join(words)}:\n{done.stderr}"
    return done.stdout


def documents(home: Path, *words: str) -> list[dict[str, Any]]:
    """The documents that the command prints as JSON, one a line."""
    return [json.loads(line) for line in pachctl(home, *words, "-o", "json").splitlines()]
