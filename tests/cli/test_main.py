import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pachyderm_dagster import __version__
from pachyderm_dagster.cli.failures import refuse_unexpected
from tests.cli.pachctl import ROOT, Pachctl, process


def test_help_lists_every_command(pachctl: Pachctl) -> None:
    printed = pachctl("--help").out
    assert "create repo" in printed
    assert "flush commit" in printed
    assert pachctl().out == printed


def test_verb_alone_shows_its_nouns_and_is_wrong_usage(pachctl: Pachctl) -> None:
    answer = pachctl.run("create")
    assert answer.status == 2
    assert "repo      Make a repo." in answer.out


def test_help_of_a_command_ends_with_an_example(pachctl: Pachctl) -> None:
    printed = pachctl("create", "repo", "-h").out
    assert printed.startswith("Usage: pachctl create repo [OPTIONS] REPO\n\n  Make a repo.\n")
    assert printed.splitlines()[-1].strip().startswith("Example: pachctl create repo")


def test_help_of_several_paragraphs_is_not_indented(pachctl: Pachctl) -> None:
    paragraphs = pachctl("put", "file", "--help").out.split("\n\n")
    assert all(line.startswith("  ") and not line.startswith("   ") for paragraph in paragraphs[1:4] for line in paragraph.splitlines())
    assert "  " not in paragraphs[3].replace("\n  ", " ").strip()


def test_mistyped_command_is_answered_with_what_is_near(pachctl: Pachctl) -> None:
    assert "did you mean 'list'?" in pachctl.misuse("lst", "repo")
    assert "did you mean 'repo'?" in pachctl.misuse("list", "rep")
    assert "`pachctl --help`" in pachctl.misuse("xyzzy")


def test_plurals_are_understood(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "images")
    assert pachctl("list", "repos", "-o", "json").document["name"] == "images"
    assert pachctl.json("list", "branches", "images") == []


def test_unknown_option_and_missing_argument_are_wrong_usage(pachctl: Pachctl) -> None:
    assert "--nonsense" in pachctl.misuse("list", "repo", "--nonsense")
    assert "REPO" in pachctl.misuse("create", "repo")
    assert "Try 'pachctl create repo --help'." in pachctl.misuse("create", "repo")


def test_unforeseen_error_is_one_line_and_its_traceback_a_file(capsys: pytest.CaptureFixture[str], environment_of_its_own: Path) -> None:
    with pytest.raises(RuntimeError) as raised:
        raise RuntimeError("two\nlines")
    assert refuse_unexpected(raised.value, ["list", "repo"], os.environ) == 1
    (report,) = (environment_of_its_own / "tracebacks").iterdir()
    assert capsys.readouterr().err == f"error: unexpected RuntimeError: two lines; its traceback is in {report}; please report it [internal]\n"
    assert "pachctl list repo" in report.read_text().splitlines()[0]
    assert "Traceback (most recent call last)" in report.read_text()


def test_unforeseen_error_is_told_where_no_file_can_be_written(capsys: pytest.CaptureFixture[str], environment_of_its_own: Path) -> None:
    (environment_of_its_own / "tracebacks").write_text("")
    assert refuse_unexpected(RuntimeError("no"), [], os.environ) == 1
    assert "could not be kept" in capsys.readouterr().err


@pytest.mark.parametrize("config", ["NONSENSE = 1\n", "not toml", None])
def test_config_file_that_cannot_be_used_is_refused(pachctl: Pachctl, environment_of_its_own: Path, config: str | None) -> None:
    file = environment_of_its_own / "config.toml"
    if config is None:
        file.mkdir()
    else:
        file.write_text(config)
    assert pachctl.fail("config") == "config-invalid"
    assert pachctl.fail("list", "repo") == "config-invalid"


@pytest.mark.parametrize(("words", "closed"), [("list repo", ">&-"), ("put file data@master:/f -f -", "<&-"), ("get file data@master:/f", ">&-")])
def test_closed_standard_stream_is_told(pachctl: Pachctl, words: str, closed: str) -> None:
    pachctl("create", "repo", "data")
    pachctl("put", "file", "data@master:/f", "-f", "-", stdin=b"as it was")
    command = f"{sys.executable} -m pachyderm_dagster {words} {closed}"
    answer = subprocess.run(["sh", "-c", command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (answer.returncode, answer.stderr.count("\n")) == (1, 1)
    assert answer.stderr.endswith("[stream-closed]\n")
    assert pachctl("get", "file", "data@master:/f").data == b"as it was"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_record_in_memory_is_refused(pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PACHYDERM_METADATA_URL", url)
    assert pachctl.fail("list", "repo") == "config-invalid"


def test_settings_that_cannot_be_used_are_refused(pachctl: Pachctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACHYDERM_METADATA_URL", "nonsense")
    assert pachctl.fail("list", "repo") == "config-invalid"
    monkeypatch.delenv("PACHYDERM_METADATA_URL")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PACHYDERM_HOME", str(tmp_path / "file"))
    assert pachctl.fail("list", "repo") == "home-unusable"


def test_settings_are_shown_with_their_origin(pachctl: Pachctl, environment_of_its_own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (environment_of_its_own / "config.toml").write_text('PACHYDERM_STORAGE_URL = "s3://bucket/prefix"\n')
    monkeypatch.setenv("PACHYDERM_METADATA_URL", "postgresql://me:secret@server/db?password=secret&sslmode=require")
    found = {setting["name"]: (setting["value"], setting["origin"]) for setting in pachctl.json("config")}
    assert found["PACHYDERM_HOME"] == (str(environment_of_its_own), "environment")
    assert found["PACHYDERM_STORAGE_URL"] == ("s3://bucket/prefix", "config.toml")
    assert found["PACHYDERM_EXECUTOR"] == ("local", "default")
    assert found["PACHYDERM_METADATA_URL"] == ("postgresql://me:***@server/db?password=***&sslmode=require", "environment")
    assert "secret" not in pachctl("config").out


def test_home_of_another_version_is_refused(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    pachctl("create", "repo", "images")
    script = "import sqlite3, sys; base = sqlite3.connect(sys.argv[1]); base.execute(\"UPDATE alembic_version SET version_num = '9999'\"); base.commit()"
    subprocess.run([sys.executable, "-c", script, str(environment_of_its_own / "metadata.db")], check=True)
    assert pachctl.fail("list", "repo") == "home-version"
    assert pachctl.fail("put", "file", "images@master:/a", stdin=b"1") == "home-version"


def test_version_is_shown(pachctl: Pachctl) -> None:
    assert __version__ in pachctl("version").out
    assert pachctl("version", "-o", "json").document["version"] == __version__


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed_for_both_names(pachctl: Pachctl, shell: str) -> None:
    printed = pachctl("completion", shell).out
    assert "_PACHCTL_COMPLETE" in printed
    assert "_PACHYDERM_DAGSTER_COMPLETE" in printed


def test_closed_pipe_is_quiet(pachctl: Pachctl) -> None:
    for number in range(50):
        pachctl("create", "repo", f"repo-{number}", "-d", "x" * 2000)
    with process("list", "repo", "-o", "json") as listing:
        assert listing.stdout is not None
        listing.stdout.close()
        assert listing.stderr is not None
        assert listing.stderr.read() == ""
        assert listing.wait() == 0


def test_full_output_is_refused(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "images")
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "pachyderm_dagster", "list", "repo"]
        answer = subprocess.run(command, cwd=ROOT, check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert answer.returncode == 1
    assert re.fullmatch(r"error: .*\[storage-full\]\n", answer.stderr)


def test_argument_that_is_no_text_is_refused(pachctl: Pachctl) -> None:
    assert pachctl.fail("create", "repo", "images", "-d", "\udcff") == "text-invalid"


def test_ctrl_c_ends_with_130(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "images")
    with process("subscribe", "commit", "images@master") as waiting:
        assert waiting.stderr is not None
        waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait() == 130
        assert waiting.stderr.read() == ""


def test_daemon_needs_a_port_that_exists(pachctl: Pachctl) -> None:
    assert "--port" in pachctl.misuse("dev", "--port", "99999")


def test_removed_commands_say_what_to_use(pachctl: Pachctl) -> None:
    for words, hint in (
        (("mount", "/pfs"), "get file"),
        (("flush-job", "edges/1"), "wait job"),
    ):
        answer = pachctl.run(*words)
        assert (answer.status, answer.code) == (1, "command-gone")
        assert hint in answer.err
