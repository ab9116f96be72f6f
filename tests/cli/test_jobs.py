from pathlib import Path

from pachyderm_dagster.client.filesystem import PfsFileSystem
from tests.cli.pachctl import Pachctl


def test_jobs_of_a_pipeline_are_listed_newest_first(worked: Pachctl) -> None:
    found = worked.json("list", "job", "-p", "loud")
    assert [job["state"] for job in found] == ["FAILURE", "SUCCESS", "SUCCESS", "SUCCESS"]
    assert "exit code 3" in found[0]["reason"]
    assert (found[1]["reason"], found[1]["data_total"], found[1]["data_processed"]) == ("", 1, 1)
    assert len(worked.json("list", "job", "-p", "loud", "-n", "2")) == 2
    assert [job["state"] for job in worked.json("list", "job", "-p", "loud", "--state", "failure")] == ["FAILURE"]


def test_chosen_jobs_are_counted_after_they_are_chosen_newest_first_and_a_line_each(worked: Pachctl) -> None:
    good = [job["id"] for job in worked.json("list", "job") if job["state"] == "SUCCESS"]
    assert len(good) == 7
    assert [job["id"] for job in worked.json("list", "job", "--state", "success", "-n", "3")] == good[:3]
    heading, *lines = worked("list", "job", "--state", "success", "-n", "3").out.splitlines()
    assert heading.split()[:3] == ["PROJECT", "PIPELINE", "ID"]
    assert [line.split()[2] for line in lines] == good[:3]
    # The failure is the newest of all: the limit leaves it out only when states were chosen before.
    assert [line.split()[1] for line in worked("list", "job", "--state", "failure", "-n", "1").out.splitlines()[1:]] == ["loud"]
    assert len(worked("list", "job", "-n", "2").out.splitlines()) == 3


def test_counters_say_what_was_skipped(worked: Pachctl) -> None:
    counters = [(job["data_total"], job["data_processed"], job["data_skipped"], job["data_failed"]) for job in worked.json("list", "job", "-p", "count")]
    assert counters == [(3, 1, 2, 0), (2, 1, 1, 0), (1, 1, 0, 0), (0, 0, 0, 0)]
    first = worked("list", "job", "-p", "count").out.splitlines()[1]
    assert "1 + 2 / 3" in first
    assert first.endswith("SUCCESS")


def test_people_see_sets_and_programs_jobs(worked: Pachctl) -> None:
    heading, newest, *others = worked("list", "job").out.splitlines()
    assert heading.split() == ["ID", "SUBJOBS", "PROGRESS", "CREATED", "MODIFIED"]
    assert "2 / 2, 1 failed" in newest
    assert len(others) == 4
    assert len(worked.json("list", "job")) == 8
    assert len(worked("list", "job", "-x").out.splitlines()) == 9


def test_set_of_jobs_is_listed_by_its_id(worked: Pachctl) -> None:
    newest = worked.json("list", "job")[0]["id"]
    assert {job["pipeline"] for job in worked.json("list", "job", newest)} == {"count", "loud"}
    assert "not the id" in worked.misuse("list", "job", "count")


def test_job_is_inspected_by_pipeline_and_id_or_branch(worked: Pachctl) -> None:
    newest = worked.json("list", "job", "-p", "count")[0]
    by_id = worked("inspect", "job", f"count@{newest['id']}", "-o", "json").document
    by_branch = worked("inspect", "job", "count@master", "-o", "json").document
    assert by_id == by_branch
    assert by_id.items() >= newest.items()
    assert by_id["output_commit"] == f"count@{newest['id']}"
    assert by_id["run_id"]
    assert worked("inspect", "job", "count@master^", "-o", "json").document["data_total"] == 2
    assert "Processed: 1\n" in worked("inspect", "job", "count@master").out


def test_set_of_jobs_is_inspected_by_its_id(worked: Pachctl) -> None:
    newest = worked.json("list", "job")[0]["id"]
    assert {job["pipeline"] for job in worked.json("inspect", "job", newest)} == {"count", "loud"}
    assert len(worked("inspect", "job", newest).out.splitlines()) == 3


def test_job_that_does_not_exist_is_refused(worked: Pachctl) -> None:
    assert worked.fail("inspect", "job", "count@" + "a" * 32) == "job-not-found"
    assert worked.fail("inspect", "job", "a" * 32) == "job-not-found"
    assert worked.fail("inspect", "job", "none@master") == "pipeline-not-found"
    assert worked.fail("inspect", "job", "count") == "reference-invalid"
    assert worked.fail("list", "job", "-p", "none") == "pipeline-not-found"


def test_unfinished_job_says_what_it_waits_for_and_is_stopped(worked: Pachctl) -> None:
    opened = worked("start", "commit", "books@master").out.strip()
    job = worked("inspect", "job", f"count@{opened}", "-o", "json").document
    assert (job["state"], job["waits_for"]) == ("CREATED", [f"books@{opened}"])
    stopped = worked("stop", "job", f"count@{opened}", "-o", "json").document
    assert (stopped["state"], stopped["reason"]) == ("KILLED", "a user stopped it")
    assert worked.fail("stop", "job", f"count@{opened}") == "job-finished"
    assert worked("inspect", "commit", f"count@{opened}", "-o", "json").document["error"]


def test_set_of_jobs_is_stopped_by_its_id(worked: Pachctl) -> None:
    opened = worked.put("books@master:/new", "words")
    worked("stop", "job", opened)
    assert {job["state"] for job in worked.json("list", "job", opened)} == {"KILLED"}


def test_deleted_job_leaves_its_output(worked: Pachctl) -> None:
    worked("delete", "job", "count@master")
    assert worked.fail("inspect", "job", "count@master") == "job-not-found"
    assert worked("get", "file", "count@master:/hamlet").out.strip() == "6"


def test_datums_are_listed_with_their_files(worked: Pachctl) -> None:
    found = worked.json("list", "datum", "count@master")
    assert sorted(datum["state"] for datum in found) == ["SKIPPED", "SKIPPED", "SUCCESS"]
    (ran,) = [datum for datum in found if datum["state"] == "SUCCESS"]
    job = worked("inspect", "job", "count@master", "-o", "json").document["id"]
    assert (ran["job"], ran["files"], len(ran["id"])) == (f"count@{job}", [f"books@{job}:/bad"], 64)
    assert ran["download_bytes"] == 1
    assert ran["process_seconds"] > 0
    assert "books@" in worked("list", "datum", "count@master").out
    assert len(worked.json("list", "datum", "count@master", "--state", "skipped")) == 2
    assert "FALED" in worked.misuse("list", "datum", "count@master", "--state", "FALED")


def test_datum_is_inspected_by_the_start_of_its_id(worked: Pachctl) -> None:
    (datum,) = worked.json("list", "datum", "loud@master")
    assert worked("inspect", "datum", "loud@master", datum["id"][:8], "-o", "json").document.items() >= datum.items()
    assert (datum["state"], datum["exit_code"]) == ("FAILED", 3)
    assert "State: FAILED" in worked("inspect", "datum", "loud@master", datum["id"]).out
    assert worked.fail("inspect", "datum", "loud@master", "zz") == "datum-not-found"


def test_id_of_several_jobs_needs_a_pipeline(worked: Pachctl) -> None:
    newest = worked.json("list", "job")[0]["id"]
    answer = worked.run("list", "datum", newest)
    assert (answer.status, answer.code) == (1, "job-ambiguous")
    assert f"count@{newest}" in answer.err


def test_logs_show_what_user_code_printed(worked: Pachctl) -> None:
    assert worked("logs", "-p", "count").out.splitlines() == [f"counting /pfs/books/{name}" for name in ("hamlet", "moby-dick", "bad")]
    assert worked("logs", "-j", "count@master").out == "counting /pfs/books/bad\n"
    assert worked("logs", "-p", "count", "--tail", "1").out == "counting /pfs/books/bad\n"
    assert worked("logs", "-p", "count", "--inputs", "/hamlet").out == "counting /pfs/books/hamlet\n"
    assert "this is bad" in worked("logs", "-j", "loud@master").out


def test_log_lines_are_documents_that_name_their_datum(worked: Pachctl) -> None:
    line = worked("logs", "-j", "count@master", "-o", "json").document
    assert (line["message"], line["pipeline"]) == ("counting /pfs/books/bad", "count")
    assert worked("logs", "-p", "count", "--datum", line["datum"][:10], "--raw").document == line


def test_following_a_job_ends_with_it(worked: Pachctl) -> None:
    assert worked("logs", "-f", "-j", "count@master").out == "counting /pfs/books/bad\n"


def test_job_that_has_not_begun_has_no_lines(worked: Pachctl) -> None:
    opened = worked("start", "commit", "books@master").out.strip()
    assert worked("logs", "-j", f"count@{opened}").out == ""


def test_logs_need_a_pipeline_or_a_job(worked: Pachctl) -> None:
    assert "-p" in worked.misuse("logs")
    worked.misuse("logs", "-p", "count", "-j", "count@master")
    assert worked.fail("logs", "-p", "none") == "pipeline-not-found"


def test_datums_are_listed_without_running(worked: Pachctl, tmp_path: Path) -> None:
    worked.put("books@master:/new", "words")
    before = len(worked.json("list", "job", "-p", "count"))
    found = {datum["files"][0].rpartition("/")[2]: datum for datum in worked.json("list", "datum", "-p", "count")}
    assert {name: datum["state"] for name, datum in found.items()} == {"hamlet": "SKIPPED", "moby-dick": "SKIPPED", "bad": "SKIPPED", "new": "UNKNOWN"}
    assert (found["new"]["job"], found["new"]["ran_in"], found["new"]["started"]) == (None, None, None)
    assert found["bad"]["started"] is None or found["bad"]["ran_in"]
    spec = tmp_path / "spec.json"
    spec.write_text('{"pipeline": {"name": "other"}, "transform": {"cmd": ["true"]}, "input": {"pfs": {"repo": "books", "glob": "/"}}}')
    (whole,) = worked.json("list", "datum", "-f", str(spec))
    assert (whole["state"], whole["files"][0].rpartition(":")[2]) == ("UNKNOWN", "/")
    assert len(worked.json("list", "job", "-p", "count")) == before
    assert "name a job" in worked.misuse("list", "datum")
    worked.misuse("list", "datum", "count@master", "-p", "count")


def test_datums_are_chosen_by_file_and_state(worked: Pachctl) -> None:
    assert [datum["files"][0].rpartition("/")[2] for datum in worked.json("list", "datum", "count@master", "--inputs", "hamlet,nothing")] == ["hamlet"]
    assert len(worked.json("list", "datum", "count@master", "--state", "PROCESSED")) == 1
    assert len(worked.json("list", "datum", "count@master", "-n", "2")) == 2
    assert len(worked.json("list", "datum", "loud@master", "--inputs", "/bad")) == 1, "a directory holds the file"


def test_datum_names_its_place_in_the_meta_repo(worked: Pachctl) -> None:
    (datum,) = worked.json("list", "datum", "loud@master")
    shown = worked("inspect", "datum", "loud@master", datum["id"][:8], "-o", "json").document
    assert shown["meta"] == [f"loud.meta@{datum['ran_in']}:/{kind}/{datum['id']}" for kind in ("meta", "pfs")]


def test_what_a_datum_read_wrote_and_said_are_files(worked: Pachctl, environment_of_its_own: Path, tmp_path: Path) -> None:
    (datum,) = worked.json("list", "datum", "count@master", "--state", "success")
    at = f"count.meta@master:/meta/{datum['id']}"
    assert worked("get", "file", f"{at}/log").out == "counting /pfs/books/bad\n"
    assert worked("get", "file", f"{at}/meta").document["inputs"] == datum["files"]
    assert worked("list", "file", at).out.split()[3::2] == [f"/meta/{datum['id']}/log", f"/meta/{datum['id']}/meta"]
    worked("get", "file", "-r", f"count.meta@master:/pfs/{datum['id']}", "-o", str(tmp_path / "got"))
    below = tmp_path / "got" / "pfs" / datum["id"]
    assert (below / "books" / "bad").read_text() == "x"
    assert (below / "out" / "bad").read_text() == "1\n"
    assert len(worked.json("glob", "file", "count.meta@master:/pfs/*/out/*")) == 3
    assert worked.fail("list", "file", "--history", "2", at) == "meta-repo"
    assert worked.fail("diff", "file", at) == "meta-repo"
    assert worked.fail("find", "commit", f"{at}/meta") == "meta-repo"
    files = PfsFileSystem(str(environment_of_its_own))
    (name,) = files.ls(f"count.meta@master/meta/{datum['id']}", detail=False)[:1]
    assert files.cat_file(name) == b"counting /pfs/books/bad\n"
    assert len(files.find("count.meta@master/pfs")) == 6
    files.client.close()


def test_jobs_are_listed_by_what_they_read_and_by_version(worked: Pachctl) -> None:
    (newest,) = worked.json("list", "job", "-i", "books@master")
    assert newest["pipeline"] == "count"
    assert [job["pipeline"] for job in worked.json("list", "job", "-i", "count@master")] == ["loud"]
    assert worked.json("list", "job", "-i", "books@master", "-i", "count@master") == []
    worked("rerun", "pipeline", "count")
    version = worked("inspect", "pipeline", "count", "-o", "json").document["version"]
    assert {job["version"] for job in worked.json("list", "job", "-p", "count", "--history", "0")} <= {version}
    assert len(worked.json("list", "job", "-p", "count", "--history", "-1")) == 5
    assert len(worked.json("list", "job", "-p", "count", "--history", "all")) == 5
    worked.misuse("list", "job", "--history", "some")
    assert worked.fail("list", "job", "-i", "books@nothing") == "branch-not-found"


def test_job_is_shown_when_it_is_finished(worked: Pachctl) -> None:
    job = worked.put("books@master:/emma", "words")
    shown = worked("inspect", "job", f"count@{job}", "--wait", "-o", "json").document
    assert (shown["state"], shown["running"]) == ("SUCCESS", [])
    both = worked("inspect", "job", job, "--wait", "-x").out
    assert [line for line in both.splitlines() if line.startswith("Pipeline: ")] == ["Pipeline: loud (version 1)", "Pipeline: count (version 1)"]
    assert [job["pipeline"] for job in worked.json("inspect", "job", job)] == ["loud", "count"]
