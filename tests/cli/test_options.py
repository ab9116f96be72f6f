"""Options that many commands take, and those of pachctl that are taken or refused everywhere."""

import json
from pathlib import Path

import pytest
import yaml

from pachyderm_dagster import __version__
from pachyderm_dagster.cli.table import COMMANDS, HYPHENATED
from tests.cli.pachctl import Pachctl


def test_yaml_says_what_json_says(pachctl: Pachctl) -> None:
    for name in ("books", "prices"):
        pachctl("create", "repo", name, "-d", "täglich: neu")
    pachctl.put("books@master:/moby-dick", "Call me Ishmael.")
    for command in ("list repo", "inspect repo books", "list file books@master", "diff file books@master:/", "list commit books", "config get context"):
        as_yaml = pachctl(*command.split(), "-o", "yaml").out
        assert as_yaml.startswith("---\n")
        assert list(yaml.safe_load_all(as_yaml)) == [json.loads(json.dumps(one)) for one in pachctl.json(*command.split())]


def test_output_wins_over_raw(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "books")
    assert pachctl("list", "repo", "--raw").document["name"] == "books"
    assert pachctl("list", "repo", "--raw", "-o", "yaml").out.startswith("---\n")


@pytest.mark.parametrize("option", ["--no-pager", "--no-color", "--no-metrics"])
def test_what_is_always_so_may_be_asked_for(pachctl: Pachctl, option: str) -> None:
    pachctl("create", "repo", "books", option)
    assert pachctl(option, "list", "repo").out == pachctl("list", "repo", option).out
    assert pachctl("list-repo", option).out == pachctl("list", "repo").out


@pytest.mark.parametrize(
    "line",
    [
        "list repo -v",
        "-v list repo",
        "list repo --verbose",
        "list repo --rpc-timeout 5s",
        "delete repo --all -A",
        "delete pipeline --all -A",
        "finish commit books@master -f",
        "collect garbage -m 1G",
        "config update context --project default --pachd-address grpc://localhost:30650",
    ],
)
def test_options_that_can_do_nothing_here_are_refused(pachctl: Pachctl, line: str) -> None:
    assert pachctl.fail(*line.split()) == "option-gone"


@pytest.mark.parametrize(
    "line",
    [
        "auth login",
        "create snapshot",
        "inspect snapshot 1",
        "list task pps",
        "run pps-load-test -s 3",
        "misc dns-lookup host",
        "enterprise get-state",
        "license activate --no-register",
        "idp list-connector",
        "shell",
        "connect localhost",
        "debug dump dump.tgz",
        "restart cluster",
        "config delete context minikube",
        "config import-kube minikube",
        "config set metrics false",
    ],
)
def test_commands_of_pachyderm_that_do_not_exist_here_say_what_to_do(pachctl: Pachctl, line: str) -> None:
    assert pachctl.fail(*line.split()) == "command-gone"


def test_every_command_of_two_words_is_found_with_a_hyphen(pachctl: Pachctl) -> None:
    assert {words.replace(" ", "-") for words in COMMANDS if words.count(" ") == 1} == set(HYPHENATED)
    pachctl("create-project", "vision")
    pachctl("create-repo", "books")
    set_id = pachctl.put("books@master:/a", "1")
    pachctl.put("books@master:/b", "2")
    pachctl("squash-commit", set_id)
    assert len(pachctl.json("list", "commit", "books")) == 1


def test_diff_reads_the_old_file_in_its_own_project(pachctl: Pachctl) -> None:
    pachctl("create", "project", "vision")
    for project, text in (("default", "new"), ("vision", "old")):
        pachctl("create", "repo", "books", "--project", project)
        pachctl("put", "file", "books@master:/a", "--project", project, "-f", "-", stdin=text.encode())
    (difference,) = pachctl.json("diff", "file", "books@master:/a", "books@master:/a", "--old-project", "vision")
    assert (difference["op"], difference["new"]["path"]) == ("changed", "/a")


def test_leaving_a_transaction_shows_programs_what_it_holds(pachctl: Pachctl) -> None:
    started = pachctl("start", "transaction").out.strip()
    pachctl("create", "repo", "books")
    assert pachctl.json("stop", "transaction") == [{**pachctl.json("inspect", "transaction", started)[0]}]


def test_version_is_shown_as_an_option_too(pachctl: Pachctl) -> None:
    assert pachctl("--version").out == f"pachyderm-dagster {__version__}\n"


def test_history_lists_the_versions_of_each_file_with_their_commits(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "books")
    ids = [pachctl.put(f"books@master:/{path}", text) for path, text in (("a", "1"), ("d/b", "2"), ("a", "33"), ("d/b", "4"), ("c", "5"))]
    pachctl("delete", "file", "books@master:/c")

    def listed(*words: str) -> list[tuple[str, int, str]]:
        return [(one["path"], one["size_bytes"], one["commit"]) for one in pachctl.json("list", "file", *words)]

    assert listed("books@master", "--history", "all") == [("/a", 2, ids[2]), ("/a", 1, ids[0]), ("/d", 1, ids[3]), ("/d", 1, ids[1])]
    assert listed("books@master", "--history", "1") == [("/a", 2, ids[2]), ("/d", 1, ids[3])]
    assert listed("books@master:/a", "--history", "-1") == [("/a", 2, ids[2]), ("/a", 1, ids[0])]
    assert listed(f"books@{ids[0]}", "--history", "all") == [("/a", 1, ids[0])]
    assert listed("books@master:/d/", "--history", "all") == [("/d/b", 1, ids[3]), ("/d/b", 1, ids[1])]


def test_history_of_a_file_that_came_back_goes_on_before_it_was_deleted(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "books")
    first = pachctl.put("books@master:/a", "1")
    pachctl("delete", "file", "books@master:/a")
    again = pachctl.put("books@master:/a", "1")
    assert [one["commit"] for one in pachctl.json("list", "file", "books@master:/a", "--history", "all")] == [again, first]


def test_history_of_nothing_is_refused(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "books")
    pachctl.put("books@master:/a", "1")
    assert pachctl.fail("list", "file", "books@master:/b", "--history", "all") == "file-not-found"
    assert pachctl.fail("list", "file", "books@master:/*", "--history", "all") == "path-invalid"
    assert "nor 'all'" in pachctl.misuse("list", "file", "books@master", "--history", "some")
    assert pachctl("list", "file", "books@master", "--history", "none").out == pachctl("list", "file", "books@master").out


def test_get_file_writes_to_no_url(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "books")
    pachctl.put("books@master:/a", "1")
    assert pachctl.fail("get", "file", "books@master:/a", "-o", "s3://bucket/a") == "target-invalid"


@pytest.mark.parametrize("url", ["s3://", "gs:///"])
def test_bucket_without_a_name_is_refused(pachctl: Pachctl, url: str) -> None:
    pachctl("create", "repo", "books")
    assert pachctl.fail("put", "file", "books@master:/a", "-f", url) == "source-unreadable"


def test_message_shows_what_to_write(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "books")
    assert "write 'books'" in pachctl.run("inspect", "repo", "books@master").err
    assert "write books@master:/path" in pachctl.run("get", "file", "books").err
    assert "has 1 field;" in pachctl.run("create", "branch", "books@b", "-t", "master", "--trigger-cron", "often").err


def test_trigger_may_name_its_branch_with_the_repo(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "books")
    pachctl("create", "branch", "books@release", "--trigger", "books@master", "--trigger-commits", "2")
    assert pachctl.json("inspect", "branch", "books@release")[0]["trigger"]["branch"] == "master"
    assert "of its own repo" in pachctl.misuse("create", "branch", "books@x", "--trigger", "prices@master", "--trigger-commits", "2")


def test_only_outputs_are_searched_for_zombies(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "books")
    pachctl.put("books@master:/a", "1")
    assert pachctl.fail("fsck", "--zombie", "books@master") == "not-an-output"


@pytest.mark.parametrize(
    "words",
    [
        ("list", "commit", "books", "-n", "9223372036854775808"),
        ("list", "job", "-n", "99999999999999999999"),
        ("draw", "commit", "books", "-n", "99999999999999999999"),
        ("find", "commit", "books@master:/", "-n", "99999999999999999999"),
        ("subscribe", "commit", "books@master", "-n", "99999999999999999999"),
        ("logs", "-t", "99999999999999999999"),
        ("list", "file", "books@master", "--history", "9" * 5000),
        ("list", "pipeline", "--history", "99999999999999999999"),
        ("create", "branch", "books@b", "--trigger", "m", "--trigger-commits", "9223372036854775808"),
        ("put", "file", "books@master:/a", "--split", "line", "--target-file-bytes", "99999999999999999999"),
    ],
)
def test_number_that_nothing_can_hold_is_wrong_usage(pachctl: Pachctl, words: tuple[str, ...]) -> None:
    pachctl("create", "repo", "books")
    pachctl.misuse(*words)


def test_file_of_the_active_transaction_that_is_no_text_is_refused(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    pachctl("create", "repo", "books")
    (environment_of_its_own / "transaction").write_bytes(b"\xff\xfe")
    assert pachctl.fail("create", "repo", "more") == "config-invalid"
    assert pachctl.fail("stop", "transaction") == "config-invalid"
