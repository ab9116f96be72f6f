from tests.cli.pachctl import Pachctl


def test_system_repo_is_not_made_by_hand(pachctl: Pachctl) -> None:
    assert pachctl.fail("create", "repo", "a.spec") == "name-invalid"
    assert pachctl.json("list", "repo", "--all") == []


def test_new_repo_is_listed_for_people_and_programs(pachctl: Pachctl) -> None:
    assert pachctl("create", "repo", "images", "-d", "photos").out == ""
    assert [line.split()[:2] for line in pachctl("list", "repo").out.splitlines()] == [["PROJECT", "NAME"], ["default", "images"]]
    document = pachctl("list", "repo", "-o", "json").document
    assert (document["name"], document["project"], document["description"], document["size_bytes"], document["branches"]) == (
        "images",
        "default",
        "photos",
        0,
        [],
    )


def test_made_repo_is_printed_as_json_when_asked_for(pachctl: Pachctl) -> None:
    assert pachctl("create", "repo", "images", "--raw").document["name"] == "images"


def test_repo_that_exists_is_refused(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "images")
    assert pachctl.fail("create", "repo", "images") == "repo-exists"


def test_name_with_other_characters_is_refused(pachctl: Pachctl) -> None:
    assert pachctl.fail("create", "repo", "im ages") == "name-invalid"


def test_update_changes_the_description(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "images", "-d", "photos")
    pachctl("update", "repo", "images", "-d", "photos, cropped")
    assert "Description: photos, cropped" in pachctl("inspect", "repo", "images").out


def test_update_of_a_missing_repo_makes_none(pachctl: Pachctl) -> None:
    assert pachctl.fail("update", "repo", "images", "-d", "photos") == "repo-not-found"
    assert pachctl.json("list", "repo") == []


def test_missing_repo_is_told_with_those_there_are(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "images")
    answer = pachctl.run("inspect", "repo", "image")
    assert (answer.status, answer.code) == (1, "repo-not-found")
    assert "'images'" in answer.err


def test_deleted_repo_is_gone(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "images")
    assert pachctl("delete", "repo", "images").out == ""
    assert pachctl.json("list", "repo") == []
    assert pachctl.fail("delete", "repo", "images") == "repo-not-found"


def test_delete_all_repos_is_all_or_nothing(worked: Pachctl) -> None:
    assert worked.fail("delete", "repo", "--all") == "repo-in-use"
    assert [repo["name"] for repo in worked.json("list", "repo")] == ["books", "count", "loud"]


def test_delete_repo_takes_a_name_or_all(pachctl: Pachctl) -> None:
    assert "--all" in pachctl.misuse("delete", "repo")
    pachctl.misuse("delete", "repo", "images", "--all")


def test_system_repos_are_listed_when_asked_for(worked: Pachctl) -> None:
    assert {repo["name"] for repo in worked.json("list", "repo", "--all")} == {"books", "count", "count.meta", "count.spec", "loud", "loud.meta", "loud.spec"}
    assert [repo["name"] for repo in worked.json("list", "repo", "--type", "spec")] == ["count.spec", "loud.spec"]


def test_repos_of_other_projects_are_listed_when_asked_for(pachctl: Pachctl) -> None:
    pachctl("create", "project", "vision")
    pachctl("create", "repo", "images", "--project", "vision")
    pachctl("create", "repo", "vision/labels")
    assert pachctl.json("list", "repo") == []
    assert [repo["name"] for repo in pachctl.json("list", "repo", "--project", "vision")] == ["images", "labels"]
    assert [repo["project"] for repo in pachctl.json("list", "repo", "-A")] == ["vision", "vision"]


def test_repo_of_a_pipeline_cannot_be_deleted(worked: Pachctl) -> None:
    assert worked.fail("delete", "repo", "count") == "repo-in-use"
    assert worked.fail("delete", "repo", "books") == "repo-in-use"


def test_size_is_that_of_master(worked: Pachctl) -> None:
    assert worked("inspect", "repo", "books", "-o", "json").document["size_bytes"] == len("to be or not to be" + "call me Ishmael" + "x")
