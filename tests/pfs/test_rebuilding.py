"""A record that was lost is the same again after it was rebuilt from its store."""

import json
import os
import threading
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.pfs import structure
from pachyderm_dagster.pfs.commit_records import add_record, load_record
from pachyderm_dagster.storage.packs import PackWriter
from pachyderm_dagster.workspace import Workspace, open_workspace
from tests.cli.pachctl import Document, Pachctl
from tests.records import SERVER, change_record, lose_record

COUNT = {
    "pipeline": {"name": "count"},
    "input": {"pfs": {"repo": "books", "glob": "/*"}},
    "transform": {"cmd": ["sh"], "stdin": ["for book in /pfs/books/*; do wc -w < $book > /pfs/out/$(basename $book); done"]},
}
TOTAL = {
    "pipeline": {"name": "total"},
    "input": {"pfs": {"repo": "count", "glob": "/"}},
    "transform": {"cmd": ["sh"], "stdin": ["if [ -e /pfs/count/bad ]; then exit 3; fi", "cat /pfs/count/* > /pfs/out/all"]},
}


def everything(pachctl: Pachctl) -> dict[str, list[Document]]:
    """All that the command line tells."""
    repos = pachctl.json("list", "repo", "--all")
    names = [f"{repo['project']}/{repo['name']}" for repo in repos]
    commits = pachctl.json("list", "commit", "--all")
    shown = {
        "projects": pachctl.json("list", "project"),
        "repos": repos,
        "branches": [branch for name in names for branch in pachctl.json("list", "branch", name)],
        "commits": commits,
        "pipelines": pachctl.json("list", "pipeline"),
        "jobs": pachctl.json("list", "job", "-x"),
    }
    shown["datums"] = [datum for job in shown["jobs"] for datum in pachctl.json("list", "datum", f"{job['project']}/{job['pipeline']}@{job['id']}")]
    finished = [commit for commit in commits if commit["finished"] and not commit["error"] and "." not in commit["repo"]]
    shown["files"] = [file for commit in finished for file in pachctl.json("glob", "file", f"{commit['project']}/{commit['repo']}@{commit['id']}:/**")]
    return shown


def rebuilt(pachctl: Pachctl) -> Document:
    lose_record()
    return pachctl("fsck", "--rebuild", "-o", "json").document


def make_pipelines(pachctl: Pachctl, folder: Path) -> None:
    (folder / "pipelines.json").write_text(json.dumps(COUNT) + json.dumps(TOTAL))
    pachctl("create", "pipeline", "-f", str(folder / "pipelines.json"))


def test_lost_record_is_refused_until_it_is_rebuilt(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "books")
    lose_record()
    assert pachctl.fail("list", "repo") == "record-lost"
    assert pachctl.fail("put", "file", "books@master:/a", "-f", "-") == "record-lost"
    pachctl("fsck", "--rebuild")
    assert [repo["name"] for repo in pachctl.json("list", "repo")] == ["books"]


def test_record_with_pipelines_is_rebuilt_as_it_was(pachctl: Pachctl, tmp_path: Path) -> None:
    pachctl("create", "project", "lab", "-d", "of others")
    pachctl("create", "repo", "lab/notes")
    pachctl("create", "repo", "books", "-d", "plain text")
    make_pipelines(pachctl, tmp_path)
    pachctl.put("books@master:/hamlet", "to be or not to be")
    pachctl.put("books@master:/moby", "call me Ishmael")
    pachctl("flush", "commit", "books@master")
    pachctl.put("books@master:/bad", "x")
    assert pachctl.run("flush", "commit", "books@master").status == 1
    pachctl("delete", "file", "books@master:/bad")
    pachctl("flush", "commit", "books@master")
    pachctl("stop", "pipeline", "total")
    pachctl.put("lab/notes@draft:/a", "a")
    before = everything(pachctl)
    answer = rebuilt(pachctl)
    assert answer["losses"] == []
    after = everything(pachctl)
    for kind, documents in before.items():
        assert after[kind] == documents, kind
    assert pachctl("fsck", "--deep").status == 0


def test_only_the_new_file_is_processed_after_a_rebuild(pachctl: Pachctl, tmp_path: Path) -> None:
    pachctl("create", "repo", "books")
    make_pipelines(pachctl, tmp_path)
    pachctl.put("books@master:/hamlet", "to be or not to be")
    pachctl.put("books@master:/moby", "call me Ishmael")
    pachctl("flush", "commit", "books@master")
    rebuilt(pachctl)
    new = pachctl.put("books@master:/emma", "Emma Woodhouse")
    pachctl("flush", "commit", "books@master")
    job = pachctl("inspect", "job", f"count@{new}", "-o", "json").document
    assert (job["state"], job["data_total"], job["data_processed"], job["data_skipped"]) == ("SUCCESS", 3, 1, 2)


def test_forks_moved_heads_and_removed_commits_come_back_as_they_were(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "data")
    ids = [pachctl.put("data@master:/a", text) for text in "1234"]
    pachctl("create", "branch", "data@fork", "--head", "master^2")
    pachctl.put("data@fork:/b", "fork")
    pachctl("create", "branch", "data@master", "--head", ids[1])
    pachctl.put("data@master:/c", "after it was moved back")
    pachctl("create", "branch", "data@gone", "--head", ids[0])
    pachctl.put("data@gone:/d", "of a branch that goes")
    pachctl("delete", "branch", "data@gone")
    pachctl("create", "branch", "data@empty")
    before = everything(pachctl)
    assert rebuilt(pachctl)["losses"] == []
    assert everything(pachctl) == before


def test_repo_of_the_same_name_gets_nothing_of_the_one_that_was_deleted(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "data")
    pachctl.put("data@master:/old", "old")
    pachctl("delete", "repo", "data")
    pachctl("create", "repo", "data")
    pachctl.put("data@master:/new", "new")
    pachctl("create", "repo", "other")
    pachctl.put("other@master:/a", "a")
    pachctl("delete", "repo", "other")
    before = everything(pachctl)
    rebuilt(pachctl)
    assert everything(pachctl) == before


def test_dropped_and_squashed_commits_stay_away(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "data")
    ids = [pachctl.put(f"data@master:/{text}", text) for text in "1234"]
    workspace = open_workspace(os.environ)
    workspace.pfs.squash_commit(f"data@{ids[1]}")
    workspace.pfs.drop_commit(f"data@{ids[3]}")
    workspace.close()
    before = everything(pachctl)
    rebuilt(pachctl)
    assert everything(pachctl) == before


def test_unfinished_commit_is_told_as_lost_and_its_parent_is_the_head(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "data")
    first = pachctl.put("data@master:/a", "a")
    pachctl("start", "commit", "data@master")
    pachctl("create", "repo", "makes-the-structure-be-saved")
    answer = rebuilt(pachctl)
    assert [loss["code"] for loss in answer["losses"]] == ["unfinished-commit"]
    assert pachctl("inspect", "branch", "data@master", "-o", "json").document["head"] == first


def test_work_under_way_is_made_again(pachctl: Pachctl, tmp_path: Path) -> None:
    pachctl("create", "repo", "books")
    make_pipelines(pachctl, tmp_path)
    pachctl.put("books@master:/hamlet", "to be or not to be")
    pachctl("flush", "commit", "books@master")
    pachctl.put("books@master:/moby", "call me Ishmael")
    answer = rebuilt(pachctl)
    assert answer["new_jobs"] == 2
    pachctl("flush", "commit", "books@master")
    newest = pachctl.json("list", "job", "-p", "count")[0]
    assert (newest["state"], newest["data_processed"], newest["data_skipped"]) == ("SUCCESS", 1, 1)


def test_branch_that_was_given_other_provenance_is_made_from_that_again(pachctl: Pachctl) -> None:
    for repo in ("data", "made"):
        pachctl("create", "repo", repo)
    for source in ("y", "x"):
        pachctl.put(f"data@{source}:/a", source)
    pachctl("create", "branch", "made@m", "-p", "data@x")
    pachctl("finish", "commit", "made@m")
    pachctl("create", "branch", "made@m", "-p", "data@y")
    rebuilt(pachctl)
    source = pachctl.json("inspect", "branch", "data@y")[0]["head"]
    assert pachctl.json("inspect", "commit", "made@m")[0]["direct_provenance"] == [f"data@{source}"]
    assert pachctl("fsck").status == 0


def test_branch_that_began_anew_is_not_led_to_what_it_left(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "books")
    pachctl.put("books@master:/before", "1")
    workspace = open_workspace(os.environ)
    workspace.database.write(lambda txn: txn.run(sa.update(t.branch).values(head_id=None)))
    workspace.close()
    rebuilt(pachctl)
    assert not pachctl.json("list", "file", "books@master")
    pachctl.put("books@master:/anew", "2")
    rebuilt(pachctl)
    assert [file["path"] for file in pachctl.json("list", "file", "books@master")] == ["/anew"]


def test_branch_at_an_open_first_commit_is_empty_and_keeps_apart_what_it_left(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "data")
    left = pachctl.put("data@master:/a", "a")
    pachctl("start", "commit", "data@other")
    pachctl("create", "branch", "data@master", "--head", "other")
    answer = rebuilt(pachctl)
    assert {loss["code"] for loss in answer["losses"]} == {"unfinished-commit"}
    assert not pachctl.json("fsck", "--deep")
    assert not pachctl.json("list", "file", "data@master")
    assert pachctl("get", "file", f"data@{left}:/a").out == "a"


def test_branch_whose_head_has_no_record_is_at_the_newest_that_bears_its_name(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "data")
    last = [pachctl.put("data@master:/a", text) for text in "ab"][-1]
    # A process that is killed between the two: the structure names a head whose record is not stored yet.
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(structure, "save_commits", lambda *_: 0)
        pachctl("delete", "branch", "data@master")
        pachctl("create", "branch", "data@master")
    answer = rebuilt(pachctl)
    assert [loss["code"] for loss in answer["losses"]] == ["head-missing"]
    assert not pachctl.json("fsck", "--deep")
    assert pachctl.json("inspect", "branch", "data@master")[0]["head"] == last


def test_commit_after_the_last_saved_structure_is_the_head(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    pachctl("create", "repo", "data")
    pachctl.put("data@master:/a", "a")
    structures = environment_of_its_own / "objects" / "structure"
    saved = {path.name for path in structures.iterdir()}
    last = [pachctl.put("data@master:/a", text) for text in "bc"][-1]
    assert {path.name for path in structures.iterdir()} == saved
    rebuilt(pachctl)
    assert pachctl("get", "file", "data@master:/a").out == "c"
    assert pachctl("inspect", "branch", "data@master", "-o", "json").document["head"] == last


def test_commits_of_writers_that_overtook_each_other_come_back(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "data")
    pachctl.put("data@master:/first", "-")
    workspaces = [open_workspace(os.environ) for _ in range(3)]

    def write(workspace: Workspace, number: int) -> None:
        for turn in range(4):
            with workspace.pfs.modify_file("data@master") as files:
                files.put_bytes(f"/{number}-{turn}", b"x")

    threads = [threading.Thread(target=write, args=(workspace, number)) for number, workspace in enumerate(workspaces)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for workspace in workspaces:
        workspace.close()
    before = everything(pachctl)
    answer = rebuilt(pachctl)
    assert everything(pachctl) == before
    assert (answer["commits"], answer["losses"]) == (13, [])


def leave_record(parent: str) -> str:
    """What a writer leaves that died before its transaction: the record of a commit that was never made. Its id."""
    workspace = open_workspace(os.environ)
    id = workspace.database.clock.new_id()
    with workspace.database.read() as txn:
        record = load_record(txn, workspace.pfs.inspect_commit(f"data@{parent}").key)
    now = workspace.database.clock.now()
    packs = PackWriter(workspace.store)
    add_record(packs, msgspec.structs.replace(record, id=id, parent=parent, started=now, finished=now, written=now))
    packs.flush()
    workspace.close()
    return id


@pytest.mark.parametrize("saved", [True, False])
def test_head_follows_what_others_built_upon_and_tells_of_the_rival(pachctl: Pachctl, environment_of_its_own: Path, saved: bool) -> None:
    pachctl("create", "repo", "data")
    first = pachctl.put("data@master:/a", "1")
    pachctl.put("data@master:/a", "2")
    rival = leave_record(first)
    last = [pachctl.put("data@master:/a", text) for text in "34"][-1]
    # It began last of those that continue the first.
    late = leave_record(first)
    if not saved:
        for path in (environment_of_its_own / "objects" / "structure").iterdir():
            path.unlink()
    answer = rebuilt(pachctl)
    assert pachctl("inspect", "branch", "data@master", "-o", "json").document["head"] == last
    rivals = [loss["message"] for loss in answer["losses"] if loss["code"] == "rival-commit"]
    assert [id for id in (rival, late) if any(f"'data@{id}'" in message for message in rivals)] == [rival, late]


def test_rivals_that_nobody_built_upon_are_told(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "data")
    first = pachctl.put("data@master:/a", "1")
    rival = leave_record(first)
    last = pachctl.put("data@master:/a", "2")
    answer = rebuilt(pachctl)
    assert pachctl("inspect", "branch", "data@master", "-o", "json").document["head"] == last
    assert [loss["code"] for loss in answer["losses"]] == ["rival-commit"]
    assert rival in answer["losses"][0]["message"]


def test_damaged_structure_is_passed_over_for_the_one_before(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    pachctl("create", "repo", "first")
    pachctl("create", "repo", "second")
    pachctl.put("second@master:/a", "a")
    newest = max((environment_of_its_own / "objects" / "structure").iterdir())
    newest.chmod(0o644)
    newest.write_bytes(newest.read_bytes()[:-3])
    rebuilt(pachctl)
    assert [repo["name"] for repo in pachctl.json("list", "repo")] == ["first", "second"]
    assert pachctl("get", "file", "second@master:/a").out == "a"


def test_store_without_structure_gives_repos_and_commits(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    pachctl("create", "repo", "data")
    pachctl.put("data@master:/a", "a")
    for path in (environment_of_its_own / "objects" / "structure").iterdir():
        path.unlink()
    answer = rebuilt(pachctl)
    assert [loss["code"] for loss in answer["losses"]] == ["structure-missing"]
    assert pachctl("get", "file", "data@master:/a").out == "a"


@pytest.mark.file_record
def test_record_that_holds_something_is_not_rebuilt_without_force(pachctl: Pachctl, environment_of_its_own: Path) -> None:
    pachctl("create", "repo", "data")
    assert pachctl.fail("fsck", "--rebuild") == "record-not-empty"
    pachctl("fsck", "--rebuild", "--force")
    assert [repo["name"] for repo in pachctl.json("list", "repo")] == ["data"]
    assert len(list(environment_of_its_own.glob("metadata.db.before-rebuild-*"))) == 1


@pytest.mark.skipif(SERVER is None, reason="needs PostgreSQL")
def test_record_on_a_server_that_holds_something_is_not_rebuilt(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "data")
    assert pachctl.fail("fsck", "--rebuild", "--force") == "record-not-empty"
    assert [repo["name"] for repo in pachctl.json("list", "repo")] == ["data"]


def test_new_rows_are_told_from_lost_ones_after_a_rebuild(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "data")
    pachctl.put("data@master:/old", "old")
    pachctl("delete", "repo", "data")
    rebuilt(pachctl)
    pachctl("create", "repo", "data")
    pachctl.put("data@master:/new", "new")
    rebuilt(pachctl)
    assert [file["path"] for file in pachctl.json("list", "file", "data@master")] == ["/new"]


def test_triggers_come_back_and_fire(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "data")
    pachctl.put("data@master:/a", "a")
    pachctl("create", "branch", "data@release", "--trigger", "master", "--trigger-commits", "2")
    for text in "bcd":
        pachctl.put("data@master:/a", text)
    before = everything(pachctl)
    rebuilt(pachctl)
    assert everything(pachctl) == before
    later = [pachctl.put("data@master:/a", text) for text in "ef"]
    assert pachctl("inspect", "branch", "data@release", "-o", "json").document["head"] in later


def test_deleted_job_stays_away(pachctl: Pachctl, tmp_path: Path) -> None:
    pachctl("create", "repo", "books")
    make_pipelines(pachctl, tmp_path)
    new = pachctl.put("books@master:/hamlet", "to be or not to be")
    pachctl("flush", "commit", "books@master")
    pachctl("delete", "job", f"total@{new}")
    before = everything(pachctl)
    rebuilt(pachctl)
    assert everything(pachctl) == before


def test_file_that_no_datum_wrote_is_found(pachctl: Pachctl, tmp_path: Path) -> None:
    pachctl("create", "repo", "books")
    make_pipelines(pachctl, tmp_path)
    pachctl.put("books@master:/hamlet", "to be or not to be")
    pachctl("flush", "commit", "books@master")
    assert pachctl("fsck", "--zombie-all").out == ""
    newest = sa.select(t.job.c.meta_commit_id).order_by(t.job.c.id.desc()).limit(1).scalar_subquery()
    change_record(sa.update(t.commit).where(t.commit.c.id == newest).values(tree=None))
    answer = pachctl.run("fsck", "--zombie", "total@master", "-o", "json")
    assert (answer.status, [document["code"] for document in answer.documents]) == (1, ["zombie-file"])
    assert "/all" in answer.document["message"]
