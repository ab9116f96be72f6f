"""How long a code location waits for this package: its imports and a folder of pipelines, beside `import dagster` alone, in turns, the best of each."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 8
AIM_SECONDS = 0.15
ROOT = Path(__file__).parents[1]
CASES = {
    "import pachyderm_dagster.integration": "import dagster, pachyderm_dagster.integration",
    "from … import pachyderm_assets": "import dagster; from pachyderm_dagster.integration import pachyderm_assets",
    "pachyderm_assets('definitions/wordcount')": (
        "import dagster; from pachyderm_dagster.integration import pachyderm_assets; pachyderm_assets('definitions/wordcount').resolve_asset_graph()"
    ),
}
BASE = "import dagster"


def seconds(code: str) -> float:
    """A fresh process that does this."""
    began = time.perf_counter()
    subprocess.run((sys.executable, "-c", code), cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Prints the seconds beyond Dagster."""
    taken = [{code: seconds(code) for code in (BASE, *CASES.values())} for _ in range(ROUNDS)]
    best = {code: min(times[code] for times in taken) for code in taken[0]}
    print(f"{BASE}: {best[BASE]:.2f} s")
    for name, code in CASES.items():
        print(f"{name}: {best[code] - best[BASE]:+.3f} s, {best[code] / best[BASE]:.2f} × (aim +{AIM_SECONDS} s)")


if __name__ == "__main__":
    main()
