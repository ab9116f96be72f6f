"""Command lines, and a home in which pipelines have run."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from pachyderm_dagster.cli.main import main
from tests.cli.pachctl import Pachctl
from tests.cli.source_folder import SCRIPT, SPEC
from tests.records import SERVER

COUNT = {
    "pipeline": {"name": "count"},
    "description": "counts words",
    "input": {"pfs": {"repo": "books", "glob": "/*"}},
    "transform": {"cmd": ["sh"], "stdin": ["for book in /pfs/books/*; do echo counting $book; wc -w < $book > /pfs/out/$(basename $book); done"]},
}
LOUD = {
    "pipeline": {"name": "loud"},
    "input": {"pfs": {"repo": "count", "glob": "/"}},
    "transform": {"cmd": ["sh"], "stdin": ["if [ -e /pfs/count/bad ]; then echo this is bad; exit 3; fi", "cat /pfs/count/* > /pfs/out/all"]},
}


@pytest.fixture(scope="session")
def home_with_jobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with books, their words counted, the counts put together, and one failure.

    Of each pipeline the oldest job saw nothing, the second one book, the third two; in the last, `loud` fails on the book named bad.
    """
    if SERVER is not None:
        pytest.skip("this home is copied, and its record with it")
    home = tmp_path_factory.mktemp("home-with-jobs")
    files = tmp_path_factory.mktemp("books")
    (files / "pipelines.json").write_text(json.dumps(COUNT) + json.dumps(LOUD))
    for name, text in (("hamlet", "to be or not to be"), ("moby-dick", "call me Ishmael"), ("bad", "x")):
        (files / name).write_text(text)
    with _environment({"PACHYDERM_HOME": str(home)}):
        assert main(["create", "repo", "books", "-d", "plain text"]) == 0
        assert main(["create", "pipeline", "-f", str(files / "pipelines.json")]) == 0
        for name in ("hamlet", "moby-dick"):
            assert main(["put", "file", "books@master", "-f", str(files / name)]) == 0
        assert main(["flush", "commit", "books@master"]) == 0
        assert main(["put", "file", "books@master", "-f", str(files / "bad")]) == 0
        assert main(["flush", "commit", "books@master"]) == 1
    return home


@pytest.fixture
def worked(pachctl: Pachctl, home_with_jobs: Path, environment_of_its_own: Path) -> Pachctl:
    """The command line, on a copy of `home_with_jobs`."""
    shutil.copytree(home_with_jobs, environment_of_its_own, dirs_exist_ok=True)
    return pachctl


@pytest.fixture
def books(pachctl: Pachctl) -> Pachctl:
    """The command line, in a home with one book."""
    pachctl("create", "repo", "books")
    pachctl.put("books@master:/hamlet", "to be or not to be")
    return pachctl


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A source folder with its pipeline file."""
    made = tmp_path / "count"
    made.mkdir()
    (made / "run.sh").write_text(SCRIPT)
    (made / "count.yaml").write_text(SPEC)
    return made


class _environment:
    """The process's environment with a few other variables, for as long as a block."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def __enter__(self) -> None:
        self._before = dict(os.environ)
        os.environ.update(self._variables)

    def __exit__(self, *_: object) -> None:
        os.environ.clear()
        os.environ.update(self._before)
