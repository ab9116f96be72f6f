"""What a person sees and does in Dagster's UI, by a real browser. With BROWSER_PICTURES=docs/images, the pictures of the documentation are taken anew."""

import itertools
import urllib.parse
from pathlib import Path

import pytest

from pachyderm_dagster.pps.model import JobState
from tests.browser.browsing import Browser
from tests.browser.conftest import drawing
from tests.integration.home import Home
from tests.integration.served import Served

pytestmark = pytest.mark.timeout(240)
SLEEP = "sleep 86399"
"""A command that nothing else on the machine runs."""


def output(home: Home, pipeline: str) -> str:
    """The id of the first commit that a pipeline makes, once it is finished."""
    (first,) = itertools.islice(home.workspace.pfs.subscribe_commit(f"{pipeline}@master", stop=lambda: False), 1)
    return first.id


def is_running(command: str) -> bool:
    """Whether any process has this in its command line."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            # It ended while we looked.
            continue
    return any(command in line for line in lines)


@pytest.fixture(autouse=True)
def ran(home: Home, served: Served) -> None:
    """The first runs have ended."""
    output(home, "montage")


def test_graph_shows_repos_and_pipelines_with_what_became_of_them(browser: Browser) -> None:
    browser.resize(1200, 640)
    browser.open("/locations/pachyderm/asset-groups/default/lineage")
    browser.wait_for("images", "edges", "montage", "Python", "Dataset", "1 / 1 Passed", times=2)
    assert "Failed" not in browser.text()
    browser.take_picture("asset-graph")


def test_asset_page_shows_the_commit_its_files_and_the_datums(home: Home, browser: Browser) -> None:
    browser.resize(1600, 1150)
    browser.open("/assets/default/edges?view=overview")
    browser.wait_for(f"edges@{output(home, 'edges')}", "2 files added", "+ /circles.png", "the edges of each picture", "find_edges.py", "commits_default")
    browser.wait_for("pachyderm/datums_processed", "pachyderm/slowest_datums")
    browser.take_picture("asset")


def test_run_page_shows_the_step_of_each_pipeline_and_its_materialization(home: Home, browser: Browser) -> None:
    browser.resize(1280, 900)
    browser.open(f"/runs/{home.jobs('edges')[-1].run_id}")
    browser.wait_for("Success", "pipelines_default", "default__edges", "RUN_SUCCESS", "ASSET_MATERIALIZATION")
    browser.take_picture("run")


def test_sensor_page_shows_its_ticks_and_job(browser: Browser) -> None:
    browser.resize(1280, 900)
    browser.open("/locations/pachyderm/sensors/commits_default")
    browser.wait_for("commits_default", "pipelines_default", "runs requested")
    browser.take_picture("sensor")


def test_run_that_is_launched_on_an_old_commit_shows_that_it_is_behind(home: Home, browser: Browser) -> None:
    old = home.workspace.pfs.inspect_commit("images@master").id
    home.commit("images@master", {"/more.png": drawing(2)}, "One more")
    browser.poll(lambda: len(home.jobs("montage")) == 2 and home.jobs("montage")[0].state.is_terminal, "job of the second commit")
    config = f"ops:\n  default__edges:\n    config:\n      inputs:\n        images: {old}\n"
    browser.open(f"/locations/pachyderm/jobs/pipelines_default/playground/setup?config={urllib.parse.quote(config)}")
    browser.wait_for(old, "default__edges", "No errors")
    browser.poll(lambda: browser.find_button("Launch Run") is not None, "button to launch")
    browser.take_picture("launchpad")
    browser.click("Launch Run")
    browser.wait_for("Success", "RUN_SUCCESS")
    launched = home.jobs("edges")[0]
    assert launched.run_id is not None and launched.run_id in browser.driver.current_url
    assert home.jobs("montage")[0].id == launched.id
    assert [file.path for file in home.workspace.pfs.list_file(f"edges@{launched.id}:/")] == ["/circles.png", "/squares.png"]
    browser.open("/assets/default/edges?view=overview")
    browser.wait_for(f"edges@{launched.id}", "Unsynced")


def test_run_that_is_terminated_leaves_no_process_and_kills_its_job(home: Home, browser: Browser) -> None:
    home.commit("waiting@master", {"/a.png": drawing(2)})
    home.pipeline("slow", "waiting", code=f"exec {SLEEP}")
    browser.poll(lambda: is_running(SLEEP), "the datum's process")
    run = home.jobs("slow")[0].run_id
    browser.open(f"/runs/{run}")
    browser.wait_for("Executing (1)")
    browser.click("Terminate")
    browser.click("Terminate 1 run")
    browser.open(f"/runs/{run}")
    browser.wait_for("Canceled", "RUN_CANCELED")
    assert home.jobs("slow")[0].state is JobState.KILLED
    assert not is_running(SLEEP)
