"""A home with a Dagster instance in it, both real."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext

from pachyderm_dagster.integration.instance import open_instance
from pachyderm_dagster.settings import load_settings
from pachyderm_dagster.workspace import Workspace, open_workspace
from tests.cli.pachctl import ROOT
from tests.integration.function_project import Project
from tests.integration.home import Home


@pytest.fixture(autouse=True)
def _load_context() -> Iterator[None]:
    """A job that runs from code in this process leaves what that code was loaded for: the components of the next test would take it for theirs."""
    yield
    DefinitionsLoadContext._instance = None


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


@pytest.fixture
def project(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    # Its source is newer than any compiled one only to the second.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setitem(os.environ, "PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setitem(os.environ, "PACHYDERM_HOME", home.environ["PACHYDERM_HOME"])
    # Workers find this package where it is installed; here it is tested.
    monkeypatch.setitem(os.environ, "PYTHONPATH", str(ROOT))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Project(home, tmp_path / "words_of_books.py")
    sys.modules.pop("words_of_books", None)
