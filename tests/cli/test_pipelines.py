import json
import os
from pathlib import Path
from typing import Any

import pytest

from pachyderm_dagster.cli import spec_files
from tests.cli.conftest import COUNT
from tests.cli.overtaking import preceded
from tests.cli.pachctl import Pachctl


@pytest.fixture
def books(pachctl: Pachctl) -> Pachctl:
    """A repo to read."""
    pachctl("create", "repo", "books")
    return pachctl


def spec(name: str, repo: str = "books", **fields: Any) -> dict[str, Any]:
    """A pipeline that copies."""
    transform = {"cmd": ["sh"], "stdin": [f"cp /pfs/{repo}/* /pfs/out/"]}
    return {"pipeline": {"name": name}, "input": {"pfs": {"repo": repo, "glob": "/*"}}, "transform": transform, **fields}


def create(pachctl: Pachctl, *specs: dict[str, Any]) -> None:
    """Makes pipelines."""
    pachctl("create", "pipeline", "-f", "-", stdin="\n".join(map(json.dumps, specs)).encode())


def test_pipeline_is_made_from_a_file(books: Pachctl, tmp_path: Path) -> None:
    (tmp_path / "count.json").write_text(json.dumps(COUNT))
    assert books("create", "pipeline", "-f", str(tmp_path / "count.json")).out == ""
    (pipeline,) = books.json("list", "pipeline")
    assert (pipeline["name"], pipeline["version"], pipeline["state"], pipeline["type"]) == ("count", 1, "RUNNING", "transform")
    assert pipeline["input"]["pfs"]["glob"] == "/*"
    assert pipeline["transform"]["cmd"] == ["sh"]
    assert (pipeline["output_branch"], pipeline["last_job_state"]) == ("master", "CREATED")


def test_tables_show_input_and_state(books: Pachctl) -> None:
    cross = {"cross": [{"pfs": {"repo": "books", "glob": "/*"}}, {"union": [{"pfs": {"name": "b", "repo": "books", "glob": "/"}}]}]}
    create(books, spec("copy", description="copies"), spec("both", input=cross))
    lines = books("list", "pipeline").out.splitlines()
    assert "(books:/* ⨯ (books:/))" in lines[1]
    assert lines[2].split()[-4:] == ["RUNNING", "/", "CREATED", "copies"]
    assert "Output branch: master" in books("inspect", "pipeline", "copy").out


def test_several_documents_make_several_pipelines(books: Pachctl) -> None:
    create(books, spec("first"), spec("second", "first"))
    assert [pipeline["name"] for pipeline in books.json("list", "pipeline")] == ["first", "second"]


@pytest.mark.parametrize(
    ("specs", "code", "said"),
    [
        ([spec("a"), spec("b"), spec("a", description="another")], "pipeline-twice", "has pipeline 'a' twice, as its documents 1 and 3"),
        ([spec("a"), {**spec("a"), "pipeline": {"name": "a", "project": "default"}}], "pipeline-twice", "documents 1 and 2"),
        ([spec("x"), spec("a", "b"), spec("b", "c"), spec("c", "a")], "provenance-cycle", "'a' reads 'b', 'b' reads 'c', 'c' reads 'a'; let one"),
        ([spec("x"), spec("a", "b"), spec("b")], "repo-not-found", "put pipeline 'b' before 'a'"),
    ],
)
@pytest.mark.parametrize("verb", ["create", "update"])
def test_documents_that_cannot_be_one_file_make_nothing(books: Pachctl, specs: list[dict[str, Any]], code: str, said: str, verb: str) -> None:
    refused = books.run(verb, "pipeline", "-f", "-", stdin="\n".join(map(json.dumps, specs)).encode())
    assert (refused.status, refused.code) == (1, code)
    assert said in refused.err
    assert books.json("list", "pipeline") == []


def test_validate_sees_a_pipeline_that_is_there_twice(pachctl: Pachctl) -> None:
    assert pachctl.fail("validate", "pipeline", stdin=2 * json.dumps(spec("a")).encode()) == "pipeline-twice"


def test_order_of_a_file_does_not_count_for_pipelines_that_are_there(books: Pachctl) -> None:
    create(books, spec("a"), spec("b", "a"))
    books("update", "pipeline", "-f", "-", stdin=(json.dumps(spec("b", "a")) + json.dumps(spec("a"))).encode())
    assert [pipeline["version"] for pipeline in books.json("list", "pipeline")] == [2, 2]


def test_yaml_is_read(books: Pachctl) -> None:
    text = b"pipeline: {name: copy}\ninput: {pfs: {repo: books, glob: /*}}\ntransform: {cmd: ['true']}\n"
    books("create", "pipeline", stdin=text)
    assert books("inspect", "pipeline", "copy", "-o", "json").document["transform"]["cmd"] == ["true"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "spec-invalid"),
        (b"{", "spec-invalid"),
        (b"\xff\xfe", "spec-invalid"),
        (json.dumps(spec("copy", nonsense=1)).encode(), "spec-invalid"),
        (json.dumps(spec("copy", input={"pfs": {"repo": "books", "glob": "/"}, "cron": {"name": "t", "spec": "@hourly"}})).encode(), "spec-invalid"),
        (json.dumps(spec("copy", service={})).encode(), "spec-invalid"),
        (json.dumps(spec("copy", s3_out=True)).encode(), "spec-unsupported"),
        (json.dumps(spec("copy", parallelism_spec={"constant": 1_000_000_000})).encode(), "spec-invalid"),
        (json.dumps(spec("copy", "nothing")).encode(), "repo-not-found"),
    ],
)
def test_pipeline_that_cannot_work_is_refused(books: Pachctl, text: bytes, code: str) -> None:
    assert books.fail("create", "pipeline", "-f", "-", stdin=text) == code
    assert books.json("list", "pipeline") == []


def test_limits_that_are_not_kept_are_told_with_the_reason(books: Pachctl, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"cpu": 1, "memory": "1Gi", "disk": "1Gi"}
    monkeypatch.setattr(spec_files, "limits_problem", lambda found: f"no group for {found.memory} bytes")
    said = books("create", "pipeline", stdin=json.dumps(spec("copy", resource_limits=limits)).encode()).err
    assert "note: 'copy' runs its command on this machine; not used there: resource_limits.disk" in said
    assert "note: resource_limits of 'copy' are not kept here: no group for 1073741824 bytes" in said


def test_what_this_machine_does_not_have_is_told(books: Pachctl, tmp_path: Path) -> None:
    given = {**spec("copy", parallelism_spec={"constant": 9_999})}
    given["transform"] = {**given["transform"], "user": "nobody-here", "working_dir": f"{tmp_path}/none"}
    said = books("create", "pipeline", stdin=json.dumps(given).encode()).err
    assert "note: jobs of 'copy' will fail on this machine: transform.user 'nobody-here' does not exist on this machine" in said
    assert f"note: jobs of 'copy' will fail on this machine: there is no folder '{tmp_path}/none' here" in said
    assert "note: parallelism_spec of 'copy': it asks for up to 9,999 workers at once, and this machine has" in said


def test_what_this_machine_has_is_not_told(books: Pachctl, tmp_path: Path) -> None:
    given = {**spec("copy", parallelism_spec={"constant": 2})}
    given["transform"] = {**given["transform"], "user": str(os.getuid()), "working_dir": str(tmp_path)}
    assert "will fail" not in books("create", "pipeline", stdin=json.dumps(given).encode()).err
    given["pipeline"] = {"name": "other"}
    given["transform"] = {**given["transform"], "working_dir": "/pfs/out"}
    assert "note:" not in books("create", "pipeline", stdin=json.dumps(given).encode()).err


def test_missing_file_is_refused(books: Pachctl, tmp_path: Path) -> None:
    assert books.fail("create", "pipeline", "-f", str(tmp_path / "none.json")) == "source-not-found"
    assert books.fail("create", "pipeline", "-f", str(tmp_path)) == "source-unreadable"


def test_what_was_made_before_an_error_is_told(books: Pachctl) -> None:
    answer = books.run("create", "pipeline", stdin="\n".join(map(json.dumps, (spec("first"), spec("second", "nothing")))).encode())
    assert (answer.status, answer.code) == (1, "repo-not-found")
    assert "done before the error: first" in answer.err


def test_pipeline_that_exists_is_refused_without_update(books: Pachctl) -> None:
    create(books, spec("copy"))
    assert books.fail("create", "pipeline", stdin=json.dumps(spec("copy")).encode()) == "pipeline-exists"
    assert books.fail("create", "pipeline", stdin=json.dumps(spec("books", "copy")).encode()) == "repo-exists"


def test_cycle_of_pipelines_is_refused(books: Pachctl) -> None:
    create(books, spec("first"), spec("second", "first"))
    assert books.fail("update", "pipeline", stdin=json.dumps(spec("first", "second")).encode()) == "provenance-cycle"
    assert books("inspect", "pipeline", "first", "-o", "json").document["version"] == 1


def test_update_makes_the_next_version(books: Pachctl) -> None:
    create(books, spec("copy"))
    books("update", "pipeline", "--reprocess", stdin=json.dumps(spec("copy", description="better")).encode())
    assert books("inspect", "pipeline", "copy", "-o", "json").document["version"] == 2
    assert books("inspect", "pipeline", "copy^1", "-o", "json").document["description"] == ""
    assert [pipeline["version"] for pipeline in books.json("list", "pipeline", "--history", "-1")] == [2, 1]
    answer = books.run("inspect", "pipeline", "copy^9")
    assert answer.code == "pipeline-not-found"
    assert "pipeline 'copy' has 2 versions, so none is 9 before the newest" in answer.err
    assert books.fail("inspect", "pipeline", "copy^2") == "pipeline-not-found"
    books.misuse("inspect", "pipeline", "copy^x")


def test_older_version_is_shown_as_it_was_and_not_as_the_pipeline_is(books: Pachctl) -> None:
    create(books, spec("copy"))
    (first,) = books.json("list", "pipeline")
    books("stop", "job", "copy@master")
    books("update", "pipeline", stdin=json.dumps(spec("copy", description="better")).encode())
    books("stop", "pipeline", "copy")
    newest, old = books.json("list", "pipeline", "--history", "all")
    assert (newest["state"], newest["last_job_state"]) == ("PAUSED", "KILLED")
    assert (old["state"], old["reason"], old["last_job_state"]) == (None, "", "KILLED")
    assert first["created"] == old["created"] < newest["created"]
    assert books("inspect", "pipeline", "copy^1", "-o", "json").document["created"] == old["created"]
    assert "State" not in [line.partition(":")[0] for line in books("inspect", "pipeline", "copy^").out.splitlines()]
    assert books("list", "pipeline", "--history", "all").out.splitlines()[2].split()[-3:] == ["-", "/", "KILLED"]
    assert [pipeline["version"] for pipeline in books.json("list", "pipeline", "--history", "all", "--state", "paused")] == [2]


def test_update_of_a_missing_pipeline_makes_it(books: Pachctl) -> None:
    assert books("update", "pipeline", "-o", "json", stdin=json.dumps(spec("copy")).encode()).document["version"] == 1


def test_dry_run_makes_nothing(books: Pachctl) -> None:
    printed = books("create", "pipeline", "--dry-run", stdin=json.dumps(spec("copy")).encode()).document
    assert (printed["pipeline"]["name"], printed["datum_tries"]) == ("copy", 3)
    assert books.fail("create", "pipeline", "--dry-run", stdin=json.dumps(spec("copy", "nothing")).encode()) == "repo-not-found"
    assert books.json("list", "repo") == books.json("list", "repo", "--all")
    assert books.json("list", "pipeline") == []


def test_validation_needs_no_repo(pachctl: Pachctl) -> None:
    assert pachctl("validate", "pipeline", stdin=json.dumps(spec("copy", "nothing")).encode()).out.splitlines()[1].split() == ["copy", "nothing:/*", "sh"]
    assert pachctl.fail("validate", "pipeline", stdin=b'{"pipeline": {}}') == "spec-invalid"


def test_validation_tells_what_creation_tells(books: Pachctl) -> None:
    given = json.dumps(spec("copy", transform={"image": "python:3", "cmd": ["true"]}, autoscaling=True)).encode()
    told = books("validate", "pipeline", stdin=given).err
    assert "image python:3, autoscaling" in told
    assert told == books("create", "pipeline", stdin=given).err


def test_printed_specifications_can_be_read_again(books: Pachctl) -> None:
    create(books, spec("first"), spec("second", "first"))
    specs = books("list", "pipeline", "--spec").data
    books("delete", "pipeline", "--all")
    books("create", "pipeline", stdin=specs)
    assert books("list", "pipeline", "--spec").data == specs


def test_unused_fields_are_told_once(books: Pachctl) -> None:
    transform = {"image": "python:3", "cmd": ["true"]}
    answer = books("create", "pipeline", stdin=json.dumps(spec("copy", transform=transform, autoscaling=True)).encode())
    assert answer.err == "note: 'copy' runs its command on this machine; not used there: image python:3, autoscaling\n"


def test_pushing_images_is_refused_with_what_to_do(books: Pachctl) -> None:
    assert books.fail("create", "pipeline", "--push-images", "-f", "copy.json") == "option-gone"
    assert books.fail("create", "pipeline", "-u", "me", "-f", "copy.json") == "option-gone"


def test_stopped_pipeline_takes_no_commits_until_it_is_started(books: Pachctl) -> None:
    create(books, spec("copy"))
    books("stop", "pipeline", "copy")
    books.put("books@master:/a", "1")
    assert books("inspect", "pipeline", "copy", "-o", "json").document["state"] == "PAUSED"
    assert [pipeline["name"] for pipeline in books.json("list", "pipeline", "--state", "paused")] == ["copy"]
    assert books.json("list", "pipeline", "--state", "RUNNING") == []
    assert len(books.json("list", "job", "-p", "copy")) == 1
    assert books.fail("rerun", "pipeline", "copy") == "pipeline-stopped"
    books("start", "pipeline", "copy")
    assert len(books.json("list", "job", "-p", "copy")) == 2


def test_rerun_makes_a_job_and_with_reprocess_a_version(books: Pachctl) -> None:
    create(books, spec("copy"))
    assert books("rerun", "pipeline", "copy", "-o", "json").document["version"] == 1
    assert books("rerun", "pipeline", "copy", "--reprocess", "-o", "json").document["version"] == 2
    assert len(books.json("list", "job", "-p", "copy")) == 3
    assert books.fail("rerun", "pipeline", "none") == "pipeline-not-found"


def test_reprocessing_keeps_the_update_that_came_before_it(books: Pachctl, tmp_path: Path) -> None:
    create(books, spec("copy"))
    (tmp_path / "copy.json").write_text(json.dumps(spec("copy", description="better")))
    with preceded(lambda: books("update", "pipeline", "-f", str(tmp_path / "copy.json"))):
        books("rerun", "pipeline", "copy", "--reprocess")
    found = books("inspect", "pipeline", "copy", "-o", "json").document
    assert (found["version"], found["description"]) == (3, "better")


def test_pipeline_that_is_read_is_deleted_by_force_only(books: Pachctl) -> None:
    create(books, spec("first"), spec("second", "first"))
    assert books.fail("delete", "pipeline", "first") == "pipeline-in-use"
    books("delete", "pipeline", "first", "--force")
    assert [pipeline["name"] for pipeline in books.json("list", "pipeline")] == ["second"]
    books.misuse("delete", "pipeline")


def test_all_pipelines_are_deleted_readers_first(books: Pachctl) -> None:
    create(books, spec("first"), spec("second", "first"), spec("a", "second"))
    books("delete", "pipeline", "--all")
    assert [repo["name"] for repo in books.json("list", "repo", "--all")] == ["books"]


def test_several_pipelines_are_deleted_in_an_order_that_works_or_none_is(books: Pachctl) -> None:
    create(books, spec("first"), spec("second", "first"), spec("third", "second"), spec("other"))
    assert books.fail("delete", "pipeline", "first", "second") == "pipeline-in-use"
    assert books.fail("delete", "pipeline", "other", "nothing") == "pipeline-not-found"
    assert len(books.json("list", "pipeline")) == 4
    deleted = books.json("delete", "pipeline", "first", "third", "second", "first")
    assert [pipeline["name"] for pipeline in deleted] == ["first", "third", "second"]
    assert [pipeline["name"] for pipeline in books.json("list", "pipeline")] == ["other"]
    books.misuse("delete", "pipeline", "other", "--all")


def test_several_pipelines_are_deleted_in_a_transaction(books: Pachctl) -> None:
    create(books, spec("first"), spec("second", "first"))
    books("start", "transaction")
    books("delete", "pipeline", "first", "second")
    assert "delete pipeline first second" in books("inspect", "transaction").out
    books("finish", "transaction")
    assert books.json("list", "pipeline") == []


def test_output_repo_can_be_kept(books: Pachctl) -> None:
    create(books, spec("copy"))
    books("delete", "pipeline", "copy", "--keep-repo")
    assert [repo["name"] for repo in books.json("list", "repo")] == ["books", "copy"]


def test_cron_input_is_ticked_by_hand(books: Pachctl) -> None:
    create(books, spec("tick", input={"cron": {"name": "clock", "spec": "@never"}}), spec("copy"))
    (commit,) = books.json("run", "cron", "tick")
    assert (commit["repo"], commit["origin"]) == ("tick_clock", "USER")
    assert len(books.json("list", "job", "-p", "tick")) == 2
    assert books.fail("run", "cron", "copy") == "no-cron-input"
    assert books.fail("run", "cron", "none") == "pipeline-not-found"


def test_branch_with_a_schedule_is_ticked_by_hand(books: Pachctl) -> None:
    books("create", "branch", "books@nightly", "--trigger", "master", "--trigger-cron", "@daily")
    books("put", "file", "books@master:/late", "-f", "-", stdin=b"late")
    (head,) = books.json("list", "commit", "books@master", "-n", "1")
    assert [commit["id"] for commit in books.json("run", "cron", "books@nightly")] == [head["id"]]
    assert books.fail("run", "cron", "books@master") == "no-schedule"


def test_pipelines_of_another_project(books: Pachctl) -> None:
    books("create", "project", "vision")
    books("create", "repo", "vision/images")
    books("create", "pipeline", "--project", "vision", stdin=json.dumps(spec("copy", "images")).encode())
    assert books.json("list", "pipeline") == []
    assert [pipeline["project"] for pipeline in books.json("list", "pipeline", "-A")] == ["vision"]
    assert books.fail("list", "pipeline", "--project", "visions") == "project-not-found"
    assert books("inspect", "pipeline", "vision/copy", "-o", "json").document["name"] == "copy"


def test_pipeline_runs_on_chosen_commits(books: Pachctl) -> None:
    ids = [books.put("books@master:/a", content) and books.json("list", "commit", "books@master", "-n", "1")[0]["id"] for content in "123"]
    create(books, spec("copy"))
    books("wait", "job", "copy@master")
    job = books("run", "pipeline", "copy", f"books@{ids[0]}", "-o", "json").document
    books("wait", "job", f"copy@{job['id']}")
    assert books("get", "file", "copy@master:/a").out == "1"
    again = books("run", "pipeline", "copy", "--job", f"copy@{job['id']}", "--reprocess", "-o", "json").document
    books("wait", "job", f"copy@{again['id']}")
    assert (books("get", "file", "copy@master:/a").out, again["version"]) == ("1", 2)
    assert books.fail("run", "pipeline", "copy", "copy@master") == "pin-invalid"
    assert "--each" in books.misuse("run", "pipeline", "copy", "-n", "2")


def test_history_becomes_a_job_for_each_commit_in_order(books: Pachctl) -> None:
    ids = [books.put("books@master:/a", content) and books.json("list", "commit", "books@master", "-n", "1")[0]["id"] for content in "1234"]
    create(books, spec("copy"))
    books("wait", "job", "copy@master")
    answer = books("run", "pipeline", "copy", "--each", "books@master^", "--from", ids[0], "-o", "json")
    made = [document["id"] for document in answer.documents]
    books("wait", "job", f"copy@{made[-1]}")
    assert [books("get", "file", f"copy@{set_id}:/a").out for set_id in made] == ["2", "3"]
    assert [books("inspect", "commit", f"books@{set_id}", "-o", "json").document["id"] for set_id in made] == ids[1:3]
    books("start", "transaction")
    assert books.fail("run", "pipeline", "copy", "--each", "books@master") == "transaction-active"
    assert books("run", "pipeline", "copy", f"books@{ids[3]}", "-o", "json").document["name"] == "copy"
    books("finish", "transaction")
    books("wait", "job", "copy@master")
    assert books("get", "file", "copy@master:/a").out == "4"
