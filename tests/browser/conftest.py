"""`dev` for a home with pictures, edges and a montage, and a browser that looks at it; both serve all tests of a module."""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from pachyderm_dagster.integration.instance import open_instance
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.workspace import open_workspace
from tests.browser.browsing import CHROMIUM, DRIVER, Browser
from tests.integration.home import Home
from tests.integration.served import Served

EDGES = Path(__file__).parents[2] / "definitions" / "edges"
PICTURES = "BROWSER_PICTURES"
"""Names a folder to which the pictures of the documentation go."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Repo `images` with three drawings in two commits, and the example's two pipelines on it, which nothing has run yet."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("PACHYDERM_", "DAGSTER_"))}
    environ = {**settings, "PACHYDERM_HOME": str(tmp_path_factory.mktemp("browser") / "home")}
    workspace = open_workspace(environ)
    with contextlib.closing(workspace), open_instance(workspace.settings) as instance:
        made = Home(workspace, environ, instance)
        made.commit("images@master", {"/circles.png": drawing(0), "/squares.png": drawing(1)}, "Two drawings")
        text = (EDGES / "pipelines.yaml").read_text().replace("/usr/local/bin/python", sys.executable).replace("/code/", f"{EDGES}/")
        for spec in parse_specs(text, source="edges"):
            workspace.pps.create_pipeline(spec)
        yield made


@pytest.fixture(scope="module")
def served(home: Home) -> Iterator[Served]:
    started = Served(home)
    with started.process:
        yield started
        started.process.kill()


@pytest.fixture(scope="module")
def browser(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(f"http://127.0.0.1:{served.port}", tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def open_browser(url: str, profile: Path) -> Browser:
    """A window on the UI at `url`, which takes the documentation's pictures where they are asked for."""
    if not (shutil.which(CHROMIUM) and shutil.which(DRIVER)):
        pytest.fail(f"{CHROMIUM} and {DRIVER} are missing; on Debian: apt-get install chromium chromium-driver")
    pictures = os.environ.get(PICTURES)
    return Browser(url, profile, Path(pictures) if pictures else None)


def drawing(kind: int) -> bytes:
    """A small PNG, another one for each number."""
    picture = Image.new("RGB", (240, 160), "white")
    draw = ImageDraw.Draw(picture)
    for number in range(6):
        left, top = 20 + number * 35, 20 + (number * 53 * (kind + 1)) % 90
        color = ("#4f43dd", "#0f9960", "#d9822b", "#c23030")[(number + kind) % 4]
        (draw.ellipse if kind % 2 == 0 else draw.rectangle)((left, top, left + 40, top + 40), outline=color, width=4)
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
