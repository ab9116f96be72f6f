"""The commands of `dg` in a project that uses the components, as its user calls them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.home import Home

COMPONENTS = ("PachydermPipelines", "PachydermWorkspace")
PROJECT = """\
[project]
name = "library"
version = "0.1.0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "library"
"""
DEFINITIONS = """\
from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


class Project:
    """A project as `dg` makes it."""

    def __init__(self, folder: Path, home: Home) -> None:
        self.folder = folder
        self.defs = folder / "src" / "library" / "defs"
        self.defs.mkdir(parents=True)
        (folder / "pyproject.toml").write_text(PROJECT)
        (self.defs.parent / "__init__.py").touch()
        (self.defs.parent / "definitions.py").write_text(DEFINITIONS)
        paths = [str(folder / "src"), str(Path(__file__).parents[2])]
        # `dg` looks for the newest version of itself on the internet, and for its settings in the user's folder.
        settings = {"DAGSTER_CLI_CONFIG": str(folder / "dg.toml"), "HOME": str(folder), "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}
        self.environ = {**home.environ, **settings}

    def dg(self, *words: str) -> str:
        """What a command prints, which must succeed."""
        program = "import sys; sys.argv[0] = 'dg'; from dagster_dg_cli.cli import main; main()"
        command = [sys.executable, "-c", program, *words]
        done = subprocess.run(command, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def project(tmp_path: Path, home: Home) -> Project:
    return Project(tmp_path / "library", home)


def test_dg_lists_the_components(project: Project) -> None:
    listed = {found["key"]: found["summary"] for found in json.loads(project.dg("list", "components", "--json"))["items"]}
    assert all(f"pachyderm_dagster.integration.{name}" in listed for name in COMPONENTS)
    assert listed["pachyderm_dagster.integration.PachydermPipelines"].startswith("Pachyderm pipelines from pipeline files")


def test_what_dg_scaffolds_passes_its_checks_and_is_listed(project: Project) -> None:
    project.dg("scaffold", "defs", "pachyderm_dagster.integration.PachydermPipelines", "words")
    assert {path.name for path in (project.defs / "words").iterdir()} == {"defs.yaml", "pipelines.yaml"}
    assert "All definitions loaded successfully" in project.dg("check", "defs")
    found = json.loads(project.dg("list", "defs", "--json"))
    assert {asset["asset_key"] for asset in found["assets"]} == {"default/books", "default/count", "default/total"}
    assert [sensor["name"] for sensor in found["sensors"]] == ["commits_default"]


def test_dg_refuses_a_pipeline_file_that_is_wrong_and_says_where(project: Project) -> None:
    project.dg("scaffold", "defs", "pachyderm_dagster.integration.PachydermPipelines", "words")
    file = project.defs / "words" / "pipelines.yaml"
    file.write_text(file.read_text().replace("glob: /*", "glob: '/(*'"))
    with pytest.raises(AssertionError, match="glob-invalid|spec-invalid") as failed:
        project.dg("check", "defs")
    assert "pipelines.yaml" in str(failed.value)


def test_a_workspace_is_mirrored_after_its_state_is_refreshed(project: Project, home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    project.dg("scaffold", "defs", "pachyderm_dagster.integration.PachydermWorkspace", "mirror")
    project.dg("utils", "refresh-defs-state")
    found = json.loads(project.dg("list", "defs", "--json"))
    assert {asset["asset_key"] for asset in found["assets"]} == {"default/edges", "default/images"}
