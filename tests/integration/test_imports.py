"""A code location pays for what it uses: what runs datums and reads files is imported by the first step or tick that needs it."""

import json
import subprocess
import sys

import pytest

import pachyderm_dagster.integration as integration
from pachyderm_dagster import __version__
from tests.cli.pachctl import ROOT

HEAVY = {"alembic", "boto3", "kubernetes", "numpy", "obstore", "pandas", "polars", "psycopg", "pyarrow", "pymysql", "sqlalchemy"}
"""Nothing of this comes with Dagster's own names."""
SPEC = """
import os, tempfile
os.chdir(tempfile.mkdtemp())
spec = '{"pipeline": {"name": "count"}, "input": {"pfs": {"repo": "books", "glob": "/*"}}, "transform": {"cmd": ["true"]}}'
open("pipeline.json", "w").write(spec)
"""
TELL = "\nimport json, sys; print(json.dumps([*sys.modules]))"


def imported_by(code: str) -> set[str]:
    """The modules that a fresh process has after `code`."""
    told = subprocess.run([sys.executable, "-c", code + TELL], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return set(json.loads(told.splitlines()[-1]))


def test_the_package_is_imported_without_any_of_its_parts() -> None:
    found = imported_by("import dagster, pachyderm_dagster.integration")
    assert found.isdisjoint(HEAVY)
    assert {name for name in found if name.startswith("pachyderm_dagster.")} == {"pachyderm_dagster.integration"}


@pytest.mark.parametrize(
    "code",
    [
        "from pachyderm_dagster.integration import *",
        "from pachyderm_dagster.integration import pachyderm_assets\npachyderm_assets('.').resolve_asset_graph()",
        "from pachyderm_dagster.integration import *\nrepo_asset('books'); commit_automation([pipeline_asset(spec)])",
        "from pachyderm_dagster.integration import PachydermIOManager, PachydermResource\nPachydermIOManager(); PachydermResource()",
    ],
    ids=["every name", "a folder of pipelines", "one by one", "resources"],
)
def test_definitions_load_without_what_runs_them(code: str) -> None:
    assert imported_by(SPEC + code).isdisjoint(HEAVY)


def test_dagster_knows_which_version_a_code_location_has() -> None:
    code = "import dagster\nfrom pachyderm_dagster.integration import PachydermIOManager\nprint(dagster.DagsterLibraryRegistry.get()['pachyderm-dagster'])"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert told == f"{__version__}\n"


def test_the_package_does_not_import_dagster_before_a_name_is_asked_for() -> None:
    assert "dagster" not in imported_by("import pachyderm_dagster.integration")


def test_every_public_name_is_found_and_listed() -> None:
    for name in integration.__all__:
        assert getattr(integration, name).__name__ == name
    assert set(integration.__all__) <= set(dir(integration))
    with pytest.raises(AttributeError, match="no attribute 'pipelines'"):
        integration.pipelines  # noqa: B018
