"""A home with a Dagster instance in it, both real."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pachyderm_dagster.integration.instance import open_instance
from pachyderm_dagster.settings import load_settings
from pachyderm_dagster.workspace import Workspace, open_workspace
from tests.integration.home import Home


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "PACHYDERM_HOME": str(tmp_path / "home")}


@pytest.fixture
def workspace(environ: dict[str, str]) -> Iterator[Workspace]:
    opened = open_workspace(environ)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def empty_dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DAGSTER_HOME whose databases are made: that takes longer than most tests."""
    settings = load_settings({"PACHYDERM_HOME": str(tmp_path_factory.mktemp("empty"))})
    with open_instance(settings) as opened:
        opened.get_runs_count()
        opened.all_asset_keys()
        opened.all_instigator_state()
    return settings.dagster_home


@pytest.fixture
def instance(workspace: Workspace, empty_dagster_home: Path) -> Iterator[dg.DagsterInstance]:
    shutil.copytree(empty_dagster_home, workspace.settings.dagster_home)
    with open_instance(workspace.settings) as opened:
        yield opened


@pytest.fixture
def home(workspace: Workspace, environ: dict[str, str], instance: dg.DagsterInstance) -> Home:
    return Home(workspace, environ, instance)
