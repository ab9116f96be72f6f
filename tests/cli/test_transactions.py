"""Transactions on the command line."""

import json
from pathlib import Path

import pytest

from tests.cli.pachctl import Pachctl

JOIN = {
    "pipeline": {"name": "join"},
    "input": {"cross": [{"pfs": {"repo": "left", "glob": "/"}}, {"pfs": {"repo": "right", "glob": "/"}}]},
    "transform": {"cmd": ["sh"], "stdin": ["cat /pfs/left/* /pfs/right/* > /pfs/out/all"]},
}


@pytest.fixture
def spec(tmp_path: Path) -> str:
    """A file with a pipeline that reads left@master and right@master."""
    path = tmp_path / "join.json"
    path.write_text(json.dumps(JOIN))
    return str(path)


@pytest.fixture
def two_repos(pachctl: Pachctl) -> Pachctl:
    """`left` and `right`."""
    for repo in ("left", "right"):
        pachctl("create", "repo", repo)
    return pachctl


def start(pachctl: Pachctl) -> str:
    """Starts a transaction; its id."""
    return pachctl("start", "transaction").out.strip()


def names(pachctl: Pachctl) -> list[str]:
    return [repo["name"] for repo in pachctl.json("list", "repo")]


def test_job_is_stopped_when_the_transaction_is_finished(two_repos: Pachctl, spec: str) -> None:
    two_repos("create", "pipeline", "-f", spec)
    (job,) = two_repos.json("list", "job")
    start(two_repos)
    two_repos("stop", "job", f"join@{job['id']}")
    assert two_repos.json("inspect", "transaction")[0]["requests"] == [f"stop job join@{job['id']}"]
    assert [one["state"] for one in two_repos.json("list", "job")] == ["CREATED"]
    two_repos("finish", "transaction")
    assert [one["state"] for one in two_repos.json("list", "job")] == ["KILLED"]
    start(two_repos)
    assert two_repos.fail("stop", "job", f"join@{job['id']}") == "job-finished"


def test_commands_act_when_the_transaction_is_finished(pachctl: Pachctl) -> None:
    transaction = start(pachctl)
    assert pachctl("create", "repo", "left").out == ""
    assert pachctl.json("create", "repo", "right")[0]["name"] == "right"
    assert names(pachctl) == []
    assert pachctl.json("finish", "transaction")[0]["id"] == transaction
    assert names(pachctl) == ["left", "right"]
    assert pachctl.fail("inspect", "transaction") == "no-transaction"


def test_two_heads_that_move_in_a_transaction_make_one_job(two_repos: Pachctl, spec: str) -> None:
    pachctl = two_repos
    pachctl("create", "pipeline", "-f", spec)
    pachctl.put("left@staging:/a", "1")
    pachctl.put("right@staging:/b", "2")
    transaction = start(pachctl)
    for repo in ("left", "right"):
        pachctl("create", "branch", f"{repo}@master", "--head", "staging")
    pachctl("finish", "transaction")
    pachctl("flush", "commit", "left@master")
    assert next(job["id"] for job in pachctl.json("list", "job", "-p", "join")) == transaction
    assert len(pachctl.json("list", "job", "-p", "join")) == 2
    assert pachctl("get", "file", "join@master:/all").out == "12"


def test_pipeline_and_its_repos_are_made_together(pachctl: Pachctl, spec: str) -> None:
    transaction = start(pachctl)
    assert pachctl.fail("create", "pipeline", "-f", spec) == "repo-not-found"
    for repo in ("left", "right"):
        pachctl("create", "repo", repo)
    pachctl("create", "pipeline", "-f", spec)
    pachctl("stop", "pipeline", "join")
    pachctl("start", "pipeline", "join")
    pachctl("finish", "transaction")
    assert [(job["pipeline"], job["id"]) for job in pachctl.json("list", "job")] == [("join", transaction)]


def test_start_commit_prints_the_id_that_it_will_have(two_repos: Pachctl) -> None:
    transaction = start(two_repos)
    assert two_repos("start", "commit", "left@master").out.strip() == transaction
    two_repos("finish", "transaction")
    two_repos("put", "file", f"left@{transaction}:/a", "-f", "-", stdin=b"1")
    two_repos("finish", "commit", f"left@{transaction}")
    assert two_repos("get", "file", "left@master:/a").out == "1"


def test_open_commit_is_finished_by_the_transaction(two_repos: Pachctl) -> None:
    two_repos("start", "commit", "left@master")
    two_repos.put("left@master:/a", "1")
    start(two_repos)
    two_repos("finish", "commit", "left@master", "-m", "done")
    assert two_repos.json("inspect", "commit", "left@master")[0]["finished"] is None
    two_repos("finish", "transaction")
    assert two_repos.json("inspect", "commit", "left@master")[0]["description"] == "done"
    assert two_repos("get", "file", "left@master:/a").out == "1"


def test_transaction_is_left_and_taken_up_again(pachctl: Pachctl) -> None:
    transaction = start(pachctl)
    pachctl("create", "repo", "left")
    pachctl("stop", "transaction")
    pachctl("create", "repo", "right")
    assert names(pachctl) == ["right"]
    pachctl("resume", "transaction", transaction)
    assert pachctl("list", "transaction").out.splitlines()[1].startswith(f"*      {transaction}")
    pachctl("finish", "transaction")
    assert names(pachctl) == ["left", "right"]


def test_transaction_is_finished_by_its_id(pachctl: Pachctl) -> None:
    transaction = start(pachctl)
    pachctl("create", "repo", "left")
    pachctl("stop", "transaction")
    pachctl("finish", "transaction", transaction)
    assert names(pachctl) == ["left"]


def test_deleted_transaction_does_nothing(pachctl: Pachctl) -> None:
    start(pachctl)
    pachctl("create", "repo", "left")
    pachctl("delete", "transaction")
    assert names(pachctl) == []
    assert pachctl.json("list", "transaction") == []
    pachctl("create", "repo", "left")
    assert names(pachctl) == ["left"]


def test_only_one_transaction_is_active(pachctl: Pachctl) -> None:
    start(pachctl)
    assert pachctl.fail("start", "transaction") == "transaction-active"


def test_transaction_that_is_gone_says_how_to_leave_it(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    (environment_of_its_own / "transaction").write_text("f" * 32)
    answer = pachctl.run("create", "repo", "left")
    assert (answer.status, answer.code) == (1, "transaction-not-found")
    assert "`pachctl stop transaction`" in answer.err
    pachctl("stop", "transaction")
    pachctl("create", "repo", "left")


def test_finish_that_is_refused_leaves_the_transaction(pachctl: Pachctl) -> None:
    transaction = start(pachctl)
    pachctl("create", "repo", "left")
    pachctl("stop", "transaction")
    pachctl("create", "repo", "left")
    pachctl("resume", "transaction", transaction)
    answer = pachctl.run("finish", "transaction")
    assert (answer.status, answer.code) == (1, "repo-exists")
    assert "request 1 of 1, `create repo left`" in answer.err
    assert pachctl.json("inspect", "transaction")[0]["requests"] == ["create repo left"]


def test_files_are_not_put_where_the_transaction_starts_a_commit(two_repos: Pachctl) -> None:
    transaction = start(two_repos)
    two_repos("start", "commit", "left@master")
    assert two_repos.fail("put", "file", "left@master:/a", "-f", "-") == "transaction-active"
    assert two_repos.fail("put", "file", f"left@{transaction}:/a", "-f", "-") == "transaction-active"
    assert two_repos.fail("delete", "file", "left@master:/a") == "transaction-active"
    assert two_repos.fail("copy", "file", "right@master:/a", "left@master:/a") == "transaction-active"
    two_repos.put("right@master:/a", "1")
    assert two_repos("get", "file", "right@master:/a").out == "1"


def test_what_only_the_transaction_makes_is_said_not_to_exist_yet(pachctl: Pachctl) -> None:
    start(pachctl)
    pachctl("create", "repo", "left")
    answer = pachctl.run("inspect", "repo", "left")
    assert answer.status == 1
    assert "makes nothing before `pachctl finish transaction`" in answer.err
    assert pachctl.fail("put", "file", "left@master:/a", "-f", "-") == "transaction-active"


def test_delete_all_is_no_part_of_a_transaction(two_repos: Pachctl) -> None:
    start(two_repos)
    assert two_repos.fail("delete", "all", "--yes") == "transaction-active"
    two_repos("stop", "transaction")
    two_repos("delete", "all", "--yes")
    assert two_repos.json("list", "transaction") == []


def test_commits_are_squashed_in_a_transaction(two_repos: Pachctl) -> None:
    for repo in ("left", "right"):
        for text in ("1", "2"):
            two_repos.put(f"{repo}@master:/{text}", text)
    start(two_repos)
    two_repos("squash", "commit", "left@master^")
    two_repos("delete", "commit", "right@master")
    assert len(two_repos.json("list", "commit")) == 4
    two_repos("finish", "transaction")
    assert sorted(commit["repo"] for commit in two_repos.json("list", "commit")) == ["left", "right"]
    assert two_repos("get", "file", "left@master:/1").out == "1"
