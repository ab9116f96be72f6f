"""How long a command takes that only reads: `pachctl list repo` against `python -c "import sqlalchemy"`, taken in turns."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROUNDS = 15
AIM = 1.5
PACHCTL = (sys.executable, "-m", "pachyderm_dagster")
BASE = (sys.executable, "-c", "import sqlalchemy")


def seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "PACHYDERM_HOME": home, "PYTHONPATH": str(Path(__file__).parents[1])}
        for number in range(10):
            subprocess.run((*PACHCTL, "create", "repo", f"repo-{number}"), env=environment, check=True)
        listing = (*PACHCTL, "list", "repo")
        pairs = [(seconds(BASE, environment), seconds(listing, environment)) for _ in range(ROUNDS)]
    base, ours = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(ours / base for base, ours in pairs)
    print(f"import sqlalchemy {base * 1000:.0f} ms, pachctl list repo {ours * 1000:.0f} ms: {ratio:.2f} × (aim {AIM})")


if __name__ == "__main__":
    main()
