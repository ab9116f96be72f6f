"""What a code location pays for this package: its imports and a folder of pipelines, beside `import dagster` alone; processor seconds, the best of each."""

import os
import resource
import subprocess
import sys
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
    """The processor's seconds of a fresh process that does this: other work on the machine matters less to them."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run((sys.executable, "-c", code), cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Prints the seconds beyond Dagster."""
    taken = [{code: seconds(code) for code in (BASE, *CASES.values())} for _ in range(ROUNDS)]
    best = {code: min(times[code] for times in taken) for code in taken[0]}
    print(f"{BASE}: {best[BASE]:.2f} s")
    for name, code in CASES.items():
        print(f"{name}: {best[code] - best[BASE]:+.3f} s, {best[code] / best[BASE]:.2f} × (aim +{AIM_SECONDS} s)")


if __name__ == "__main__":
    main()
