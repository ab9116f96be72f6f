"""Shells complete commands, options and names."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pachyderm_dagster.cli.completing import Candidate, answer, complete
from pachyderm_dagster.cli.table import COMMANDS
from tests.cli import signatures
from tests.cli.pachctl import ROOT, Pachctl

BIN = str(Path(sys.executable).parent)
# What bash makes of a line before it asks for completions.
ASK = """
eval "$(pachctl completion bash)"
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=("${@:2}")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_pachctl_completion
printf '%s\\n' "${COMPREPLY[@]}"
"""


def words(line: str) -> list[str]:
    return [candidate.word for candidate in complete(line, os.environ)]


def asked_of_shell(*command: str) -> list[str]:
    environ = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    return subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True, text=True).stdout.splitlines()


def bash(line: str, *split: str) -> list[str]:
    return asked_of_shell("bash", "-c", ASK, "bash", line, *split)


@pytest.fixture
def books(pachctl: Pachctl) -> Pachctl:
    """Two repos; one of them has two branches and a file in a folder."""
    pachctl("create", "repo", "books")
    pachctl("create", "repo", "prices")
    pachctl.put("books@master:/old and/moby dick", "Call me Ishmael.")
    pachctl("create", "branch", "books@release", "--head", "master")
    return pachctl


def test_signatures_are_those_of_the_commands() -> None:
    assert signatures.FILE.read_text() == signatures.written(), "run `python -m tests.cli.signatures`"


def test_every_command_is_completed_word_by_word() -> None:
    for command in COMMANDS:
        parts = command.split()
        for at, part in enumerate(parts):
            assert part in words(f"pachctl {' '.join([*parts[:at], part[:2]])}")


def test_words_are_told_apart_by_what_they_mean() -> None:
    assert complete("pachctl fs", os.environ) == [Candidate("fsck", COMMANDS["fsck"].help)]


def test_options_and_their_choices_are_completed() -> None:
    assert words("pachctl list repo --a") == ["--all", "--all-projects"]
    assert words("pachctl list repos --a") == ["--all", "--all-projects"]
    assert words("pachctl list repo --type ") == ["user", "spec", "meta"]
    assert words("pachctl list repo --type=m") == ["--type=meta"]
    assert words("pachctl completion ") == ["bash", "zsh", "fish"]
    assert words("pachctl put file books@master -f ") == ["FILE"]


def test_names_of_repos_branches_and_commits_are_completed(books: Pachctl) -> None:
    head = books.json("inspect", "branch", "books@master")[0]["head"]
    assert words("pachctl inspect repo b") == ["books"]
    assert words("pachctl list file ") == ["books@", "prices@"]
    assert words("pachctl list file books@") == ["books@master", "books@release", f"books@{head}"]
    assert words("pachctl inspect branch books@") == ["books@master", "books@release"]
    assert words("pachctl create branch books@new --head m") == ["master"]
    assert words(f"pachctl inspect commit {head[:4]}") == [head]
    assert words("pachctl list commit pri") == ["prices", "prices@"]
    assert words("pachctl edit metadata branch books@m") == ["books@master"]


def test_names_of_another_project_are_completed(books: Pachctl) -> None:
    books("create", "project", "vision")
    books("create", "repo", "vision/cats")
    assert words("pachctl inspect project v") == ["vision"]
    assert words("pachctl inspect repo --project vision ") == ["cats"]
    assert words("pachctl inspect repo vi") == ["vision/"]
    assert words("pachctl inspect repo vision/") == ["vision/cats"]


def test_names_of_pipelines_jobs_and_transactions_are_completed(worked: Pachctl) -> None:
    assert words("pachctl inspect pipeline ") == ["count", "loud"]
    assert words("pachctl inspect job ") == ["count@", "loud@"]
    jobs = [job["id"] for job in worked.json("list", "job", "-p", "count")]
    assert words("pachctl inspect job count@") == [f"count@{id}" for id in jobs]
    started = worked("start", "transaction").out.strip()
    assert words("pachctl resume transaction ") == [started]


def test_datums_are_completed_of_the_job_or_the_newest_of_the_pipeline_that_is_named(worked: Pachctl) -> None:
    newest, *_, oldest = worked.json("list", "job", "-p", "count")
    ids = [datum["id"] for datum in worked.json("list", "datum", f"count@{newest['id']}")]
    assert len(ids) == 3
    for line in (
        f"inspect datum count@{newest['id']} ",
        f"logs -j count@{newest['id']} --datum ",
        "logs -p count --datum ",
        "logs --pipeline=count --datum ",
        "run datum count ",
    ):
        assert words(f"pachctl {line}") == ids
    assert words(f"pachctl logs -p count --datum {ids[0][:6]}") == ids[:1]
    assert words(f"pachctl inspect datum count@{oldest['id']} ") == []
    assert words("pachctl logs --datum ") == []


def test_files_are_completed_folder_by_folder(books: Pachctl) -> None:
    assert words("pachctl get file books@master:/o") == ["books@master:/old and/"]
    assert words("pachctl get file 'books@master:/old and/") == ["books@master:/old and/moby dick"]


def test_what_cannot_be_looked_up_completes_to_nothing(books: Pachctl, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    for line in (
        "pachctl get file books@master:/none/",
        "pachctl list file none@",
        "pachctl nonsense ",
        "pachctl create repo x y",
        "",
        "pachctl inspect repo '",
    ):
        capsysbinary.readouterr()
        assert answer(line, os.environ) == 0
        assert capsysbinary.readouterr().err == b""


def test_home_that_does_not_exist_is_not_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PACHYDERM_HOME", str(tmp_path / "home"))
    assert words("pachctl inspect repo ") == []
    assert not (tmp_path / "home").exists()


def test_bash_gets_what_comes_after_the_mark_at_which_it_ended_the_word(books: Pachctl) -> None:
    assert bash("pachctl list fi", "pachctl", "list", "fi") == ["file"]
    assert bash("pachctl inspect branch books@", "pachctl", "inspect", "branch", "books", "@") == ["master", "release"]
    assert bash("pachctl inspect branch books@m", "pachctl", "inspect", "branch", "books", "@", "m") == ["master"]
    assert bash("pachctl get file books@master:/o", "pachctl", "get", "file", "books", "@", "master", ":", "/o") == ["/old\\ and/"]
    assert bash("pachctl get file 'books@master:/o", "pachctl", "get", "file", "'books@master:/o") == ["books@master:/old and/"]
    assert bash("pachctl list repo --type=m", "pachctl", "list", "repo", "--type", "=", "m") == ["meta"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_completes_names(books: Pachctl) -> None:
    script = 'pachctl completion fish | source; complete -C "pachctl inspect branch books@"'
    assert asked_of_shell("fish", "-c", script) == ["books@master", "books@release"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_takes_the_script() -> None:
    script = 'autoload -U compinit; compinit -u -d /dev/null; eval "$(pachctl completion zsh)"; echo $_comps[pachctl]'
    assert asked_of_shell("zsh", "-f", "-c", script) == ["_pachctl_completion"]


def test_completing_imports_no_command(books: Pachctl) -> None:
    script = "import sys; from pachyderm_dagster.__main__ import run; run(); print(sorted(sys.modules), file=sys.stderr)"
    for line, light in (("pachctl put file --", ("sqlalchemy",)), ("pachctl put file b", ())):
        environ = {**os.environ, "_PACHCTL_COMPLETE": line}
        answer = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environ, check=True, capture_output=True, text=True)
        assert answer.stdout
        for module in ("pyarrow", "numpy", "dagster", "obstore", "yaml", *light):
            assert f"'{module}'" not in answer.stderr
