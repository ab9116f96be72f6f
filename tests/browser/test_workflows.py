"""The examples' workflows of Argo in Dagster's UI, on a real PostgreSQL: launched with parameters that are typed in, and their nodes looked at."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator

import pytest

from pachyderm_dagster.errors import UnreachableError
from pachyderm_dagster.integration.web_api import is_loaded, is_up
from tests.browser.browsing import Browser
from tests.browser.conftest import open_browser
from tests.docs.markdown import ROOT
from tests.records import SERVER
from tests.sql.databases import TestDatabase, new_database

FOLDER = ROOT / "definitions" / "workflows"
pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(SERVER is None or shutil.which("psql") is None, reason="needs PostgreSQL, and its program psql; tests/browser/run starts one"),
]
LOCATION = """
from pachyderm_dagster.integration import argo_definitions

defs = argo_definitions({files}, network=True)
"""


@pytest.fixture(scope="module")
def winery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestDatabase]:
    """A database with the wines."""
    with new_database("postgresql", tmp_path_factory.mktemp("winery")) as database:
        command = ["psql", database.url, "--no-psqlrc", "--quiet", "--file", str(FOLDER / "winery.sql")]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        yield database


@pytest.fixture(scope="module")
def served(winery: TestDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `dagster dev` over the workflows, as a user's own code location has them."""
    folder = tmp_path_factory.mktemp("location")
    secret = folder / "secret.yaml"
    secret.write_text(json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "winery"}, "stringData": {"url": winery.url}}))
    files = [str(FOLDER / "two-models.yaml"), str(FOLDER / "experiments.yaml"), str(secret)]
    (folder / "location.py").write_text(LOCATION.format(files=files))
    (folder / "dagster").mkdir()
    # No offer to join a community, which would stand before the page.
    (folder / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"PACHYDERM_HOME": str(folder / "home"), "DAGSTER_HOME": str(folder / "dagster"), "PYTHONPATH": str(ROOT)}
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PACHYDERM_", "DAGSTER_"))} | own
    command = [sys.executable, "-m", "dagster", "dev", "--python-file", str(folder / "location.py"), "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("w") as log, subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=subprocess.STDOUT) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            while not is_ready(url):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.3)
                    pytest.fail((folder / "log").read_text())
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def is_ready(url: str) -> bool:
    with contextlib.suppress(UnreachableError):
        return is_up(url) and is_loaded(url)
    return False


@pytest.fixture(scope="module")
def browser(served: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(served, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def launch(browser: Browser, job: str, config: str) -> None:
    """Types a run's parameters into the launchpad, and starts it."""
    browser.open(f"/locations/location.py/jobs/{job}/playground/setup?config={urllib.parse.quote(config)}")
    browser.wait_for("No errors")
    browser.poll(lambda: browser.find_button("Launch Run") is not None, "button to launch")
    browser.click("Launch Run")


def test_two_models_run_side_by_side(browser: Browser) -> None:
    browser.resize(1280, 900)
    launch(browser, "two_models", "parameters:\n  neighbours: '7'\n")
    browser.wait_for("Success", "dataset", "neighbours", "bayes", "scores", "RUN_SUCCESS")
    browser.take_picture("workflow-run")


def test_experiments_of_a_table_become_weights_in_the_database(browser: Browser, winery: TestDatabase) -> None:
    launch(browser, "experiments", "parameters:\n  kind: Barolo\n")
    browser.wait_for("Success", "list", "fit", "collect", "save", "RUN_SUCCESS")
    assert winery.rows("SELECT count(DISTINCT experiment) = (SELECT count(*) FROM experiments) FROM weights") == [(True,)]
