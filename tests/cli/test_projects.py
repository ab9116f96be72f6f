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
