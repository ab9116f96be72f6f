from pathlib import Path

import pytest

from tests.cli.pachctl import Pachctl


def test_default_project_always_exists(pachctl: Pachctl) -> None:
    assert [project["name"] for project in pachctl.json("list", "project")] == ["default"]


def test_project_is_made_shown_and_removed(pachctl: Pachctl) -> None:
    assert pachctl("create", "project", "vision", "-d", "eyes").out == ""
    assert pachctl("inspect", "project", "vision", "-o", "json").document["description"] == "eyes"
    assert "Description: eyes" in pachctl("inspect", "project", "vision").out
    assert "vision" in pachctl("list", "project").out
    pachctl("delete", "project", "vision")
    assert pachctl.fail("inspect", "project", "vision") == "project-not-found"


def test_project_that_exists_is_refused(pachctl: Pachctl) -> None:
    pachctl("create", "project", "vision")
    assert pachctl.fail("create", "project", "vision") == "project-exists"


def test_repo_in_a_missing_project_is_refused(pachctl: Pachctl) -> None:
    assert pachctl.fail("create", "repo", "vision/images") == "project-not-found"


def test_project_with_repos_goes_only_by_force(pachctl: Pachctl) -> None:
    pachctl("create", "project", "vision")
    pachctl("create", "repo", "vision/images")
    assert pachctl.fail("delete", "project", "vision") == "project-in-use"
    pachctl("delete", "project", "vision", "--force")
    assert pachctl.json("list", "repo", "-A") == []


def test_default_project_stays(pachctl: Pachctl) -> None:
    assert pachctl.fail("delete", "project", "default") == "project-in-use"


def test_delete_all_asks_nobody_who_cannot_answer(worked: Pachctl) -> None:
    assert worked.fail("delete", "all") == "not-confirmed"
    assert len(worked.json("list", "pipeline")) == 2


def test_delete_all_leaves_an_empty_home(worked: Pachctl) -> None:
    worked("create", "project", "vision")
    worked("create", "repo", "vision/images")
    worked("delete", "all", "--yes")
    assert worked.json("list", "repo", "-A", "--all") == []
    assert worked.json("list", "pipeline", "-A") == []
    assert [project["name"] for project in worked.json("list", "project")] == ["default"]


def test_project_is_described_anew(pachctl: Pachctl) -> None:
    pachctl("create", "project", "vision")
    assert pachctl.json("update", "project", "vision", "-d", "eyes")[0]["description"] == "eyes"
    assert pachctl.fail("update", "project", "hearing", "-d", "ears") == "project-not-found"


def test_active_project_is_that_of_names_without_one(pachctl: Pachctl) -> None:
    pachctl("create", "project", "vision")
    pachctl("config", "update", "context", "--project", "vision")
    pachctl("create", "repo", "images")
    assert pachctl.json("list", "repo")[0]["project"] == "vision"
    assert pachctl.json("list", "repo", "--project", "default") == []
    assert [line[:6] for line in pachctl("list", "project").out.splitlines()] == ["ACTIVE", "      ", "*     "]
    assert pachctl("config", "get", "context").document["project"] == "vision"
    pachctl.put("images@master:/a", "1")
    assert pachctl("get", "file", "vision/images@master:/a").out == "1"


def test_environment_names_the_active_project(pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch) -> None:
    pachctl("create", "project", "vision")
    monkeypatch.setenv("PACHYDERM_PROJECT", "vision")
    assert pachctl.json("create", "repo", "images")[0]["project"] == "vision"
    answer = pachctl("config", "update", "context", "--project", "default")
    assert "in the environment is 'vision' and wins" in answer.err


def test_project_that_is_missing_is_not_made_active(pachctl: Pachctl) -> None:
    assert pachctl.fail("config", "update", "context", "--project", "vision") == "project-not-found"


def test_active_project_leaves_the_other_settings_as_they_were(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    file = environment_of_its_own / "config.toml"
    file.write_text('# ours\nPACHYDERM_EXECUTOR = "local"\nPACHYDERM_PROJECT = "x"\n')
    pachctl("config", "update", "context", "--project", "default")
    assert file.read_text() == '# ours\nPACHYDERM_EXECUTOR = "local"\nPACHYDERM_PROJECT = "default"\n'


def test_home_is_the_only_context(pachctl: Pachctl) -> None:
    assert pachctl("config", "get", "active-context").out == "home\n"
    assert [context["name"] for context in pachctl.json("config", "list", "context")] == ["home"]
    pachctl("config", "set", "active-context", "home")
    assert pachctl.fail("config", "set", "active-context", "minikube") == "context-not-found"
    assert pachctl.fail("config", "update", "context", "--project", "default", "--pachd-address", "grpc://localhost:80") == "option-gone"
    assert pachctl.fail("config", "set", "context", "minikube") == "command-gone"


def test_system_repos_are_listed_on_demand(worked: Pachctl) -> None:
    assert [repo["name"] for repo in worked.json("list", "repo", "--type", "spec")] == ["count.spec", "loud.spec"]
    assert len(worked.json("list", "repo", "--all")) == 7
