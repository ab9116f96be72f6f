"""The examples' workflows of Argo in Dagster's UI, on a real PostgreSQL and with a viewer on this machine: launched from the launchpad, to their end."""

import contextlib
import json
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
from tests.argo.deployments import DeploymentHome
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
NAMES = ("two-models", "experiments", "estimates")


@pytest.fixture(scope="module")
def winery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestDatabase]:
    """A database with the wines."""
    with new_database("postgresql", tmp_path_factory.mktemp("winery")) as database:
        command = ["psql", database.url, "--no-psqlrc", "--quiet", "--file", str(FOLDER / "winery.sql")]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        yield database


@pytest.fixture(scope="module")
def secret(winery: TestDatabase, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file with the database's URL."""
    file = tmp_path_factory.mktemp("secret") / "secret.yaml"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "winery"}, "stringData": {"url": winery.url}}))
    return str(file)


@pytest.fixture(scope="module")
def viewer(secret: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeploymentHome]:
    """The example's viewer in a home without a cluster, with a keeper, on a port that is free."""
    folder = tmp_path_factory.mktemp("home")
    home = DeploymentHome(folder)
    (folder / "viewer.yaml").write_text((FOLDER / "viewer.yaml").read_text().replace("8080", str(home.port)))
    with home.kept():
        home.kubectl("apply", "-f", secret, "-f", str(folder / "viewer.yaml"))
        home.kubectl("rollout", "status", "deployment/viewer")
        yield home


@pytest.fixture(scope="module")
def served(secret: str, viewer: DeploymentHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `dagster dev` over the workflows, as a user's own code location has them."""
    folder = tmp_path_factory.mktemp("location")
    (folder / "location.py").write_text(LOCATION.format(files=[*(str(FOLDER / f"{name}.yaml") for name in NAMES), secret]))
    (folder / "dagster").mkdir()
    # No offer to join a community, which would stand before the page.
    (folder / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {name: value for name, value in viewer.environ.items() if not name.startswith("DAGSTER_")}
    environ = {**settings, "DAGSTER_HOME": str(folder / "dagster"), "PYTHONPATH": str(ROOT)}
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


def launch(browser: Browser, job: str, steps: int, config: str = "") -> None:
    """Types a run's parameters into the launchpad, starts it, and waits until all its steps have succeeded."""
    browser.open(f"/locations/location.py/jobs/{job}/playground/setup?config={urllib.parse.quote(config)}")
    browser.wait_for("No errors")
    browser.poll(lambda: browser.find_button("Launch Run") is not None, "button to launch")
    browser.click("Launch Run")
    browser.wait_for("Success", f"Succeeded ({steps})", "RUN_SUCCESS")


def test_two_models_run_side_by_side(browser: Browser) -> None:
    browser.resize(1280, 900)
    launch(browser, "two_models", 4, "parameters:\n  neighbours: '7'\n")
    browser.take_picture("workflow-run")


def test_experiments_of_a_table_become_weights_in_the_database(browser: Browser, winery: TestDatabase) -> None:
    launch(browser, "experiments", 5, "parameters:\n  kind: Barolo\n")
    assert winery.rows("SELECT (SELECT count(DISTINCT experiment) FROM weights) = (SELECT count(*) FROM experiments)") == [(True,)]


def test_estimates_are_uploaded_and_the_viewer_shows_them(browser: Browser, viewer: DeploymentHome) -> None:
    assert "Grignolino" not in viewer.ask("/")
    launch(browser, "estimates", 5)
    assert viewer.ask("/").count("Grignolino") > 0
