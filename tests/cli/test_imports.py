"""A command that only looks at the record is as light as the record."""

import json
import subprocess
import sys

import pytest

from tests.cli.pachctl import ROOT, Pachctl

HEAVY = ("pyarrow", "numpy", "dagster", "kubernetes", "obstore", "yaml", "alembic", "croniter", "sqlalchemy.dialects.postgresql")
SCRIPT = """
import json, sys
from pachyderm_dagster.cli.main import main
status = main(sys.argv[1:])
print(json.dumps([status, sorted(sys.modules)]), file=sys.stderr)
"""


def modules_of(*words: str) -> tuple[int, set[str]]:
    """The status of a command line in a fresh process, and the modules that it imported."""
    answer = subprocess.run([sys.executable, "-c", SCRIPT, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    status, modules = json.loads(answer.stderr.splitlines()[-1])
    return status, set(modules)


@pytest.mark.parametrize(
    "words",
    [
        "list repo",
        "inspect repo books",
        "list branch books",
        "inspect branch books@master",
        "list commit books@master",
        "inspect commit books@master",
        "list pipeline",
        "inspect pipeline count",
        "list job -p count",
        "inspect job count@master",
        "list project",
    ],
)
def test_looking_at_the_record_imports_nothing_heavy(worked: Pachctl, words: str) -> None:
    status, modules = modules_of(*words.split())
    assert status == 0
    assert modules.isdisjoint(HEAVY)


def test_waiting_for_what_is_finished_imports_no_dagster(worked: Pachctl) -> None:
    assert modules_of("wait", "commit", "count@master")[1].isdisjoint(HEAVY)


def test_files_are_listed_without_dagster(worked: Pachctl) -> None:
    assert modules_of("list", "file", "books@master")[1].isdisjoint(("dagster", "kubernetes"))


def test_files_of_a_store_in_a_folder_are_read_without_what_reaches_buckets(worked: Pachctl) -> None:
    assert "obstore" not in modules_of("list", "file", "books@master")[1]


def test_help_imports_no_record() -> None:
    assert modules_of("--help")[1].isdisjoint(("sqlalchemy", *HEAVY))


def test_no_command_waits_for_pandas(worked: Pachctl) -> None:
    script = "import sys; from pachyderm_dagster.__main__ import run; run(); print('pandas' in sys.modules, file=sys.stderr)"
    answer = subprocess.run([sys.executable, "-c", script, "list", "file", "books@master"], cwd=ROOT, check=True, capture_output=True, text=True)
    assert answer.stderr == "False\n"
    assert "/" in answer.stdout
