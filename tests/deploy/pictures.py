"""Pictures of a release in which definitions/edges ran (tests/deploy/trial): `python -m tests.deploy.pictures http://127.0.0.1:3000 docs/images`."""

import json
import sys
import tempfile
import urllib.request
from pathlib import Path

from tests.browser.browsing import Browser

RUNS = "{runsOrError(filter: {statuses: [SUCCESS]}) {... on Runs {results {runId assetSelection {path}}}}}"


def find_run(url: str, asset: str) -> str:
    """The newest run that made an asset, and no other one."""
    request = urllib.request.Request(f"{url}/graphql", json.dumps({"query": RUNS}).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        found = json.load(response)["data"]["runsOrError"]["results"]
    return next(str(run["runId"]) for run in found if asset in {key["path"][-1] for key in run["assetSelection"] or ()})


def take(url: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as profile, Browser(url, Path(profile, "chromium"), folder) as browser:
        browser.resize(1200, 1000)
        browser.open("/locations/pachyderm/asset-groups/default/lineage")
        browser.wait_for("images", "edges", "montage", "Materialized")
        browser.take_picture("cluster-graph")
        browser.resize(1280, 900)
        browser.open(f"/runs/{find_run(url, 'edges')}")
        browser.wait_for("Success", "default__edges", "RUN_SUCCESS", "ASSET_MATERIALIZATION")
        browser.take_picture("cluster-run")


if __name__ == "__main__":
    take(sys.argv[1].rstrip("/"), Path(sys.argv[2]))
