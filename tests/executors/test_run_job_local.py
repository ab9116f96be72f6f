"""Jobs in real worker processes: what user code finds, and how each failure reads."""

import hashlib
import json
import os
from collections.abc import Callable

import pytest

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job, JobState
from pachyderm_dagster.pps.secret_store import Secret
from pachyderm_dagster.storage.objects import object_key
from pachyderm_dagster.storage.rows import DATUM_ROWS
from pachyderm_dagster.storage.trees import Trees
from pachyderm_dagster.workspace import Workspace
from tests.executors.in_process import put, read_all

ENVIRONMENT = r"""
pipeline: {name: show}
transform:
  cmd: [python3, "-"]
  stdin:
    - "import json, os"
    - "names = ['PACH_JOB_ID', 'PACH_OUTPUT_COMMIT_ID', 'PACH_DATUM_ID', 'PPS_PIPELINE_NAME', 'PPS_PROJECT_NAME', 'PPS_SPEC_COMMIT']"
    - "names += ['data', 'data_COMMIT', 'OWN']"
    - "text = json.dumps({name: os.environ.get(name) for name in names})"
    - "open(os.environ['PFS_ROOT'] + '/out/environment.json', 'w').write(text)"
  env: {OWN: of the spec}
input: {pfs: {repo: data, glob: /*}}
"""


def run_newest(workspace: Workspace) -> Job:
    with workspace.database.read() as txn:
        job = jobs.list_job(txn, unfinished_only=True)[0]
    with LocalExecutor(os.environ) as executor:
        return run_job(workspace, job, executor=executor)


@pytest.fixture
def run_command(workspace: Workspace, create: Callable[..., None]) -> Callable[..., Job]:
    """Runs a command over one file, `/a`, and returns the job as it ended."""

    def run(*cmd: str, extra: str = "") -> Job:
        workspace.pfs.create_repo("data")
        put(workspace, "data@master", {"/a": b"content of a\n"})
        create(f"pipeline: {{name: p}}\ntransform: {{cmd: {json.dumps(list(cmd))}}}\ninput: {{pfs: {{repo: data, glob: /*}}}}\n{extra}")
        return run_newest(workspace)

    return run


def test_user_code_finds_its_environment(workspace: Workspace, create: Callable[..., None]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a"})
    create(ENVIRONMENT)
    job = run_newest(workspace)
    assert job.state is JobState.SUCCESS, job.reason
    found = json.loads(read_all(workspace, "show@master")["/environment.json"])
    (datum,) = workspace.pps.list_datum(job)
    assert found | {"PPS_SPEC_COMMIT": "", "data": ""} == {
        "PACH_JOB_ID": job.id,
        "PACH_OUTPUT_COMMIT_ID": job.id,
        "PACH_DATUM_ID": datum.id,
        "PPS_PIPELINE_NAME": "show",
        "PPS_PROJECT_NAME": "default",
        "PPS_SPEC_COMMIT": "",
        "data": "",
        "data_COMMIT": workspace.pfs.inspect_commit("data@master").id,
        "OWN": "of the spec",
    }
    assert found["data"].endswith("/data/a")
    assert found["PPS_SPEC_COMMIT"] == workspace.pfs.inspect_commit("show.spec@master").id


def test_missing_command_is_named(run_command: Callable[..., Job]) -> None:
    job = run_command("/no/such/program")
    assert job.state is JobState.FAILURE
    assert "/no/such/program" in job.reason
    assert "command-not-found" in job.reason


def test_pipeline_without_a_command_says_so(run_command: Callable[..., Job]) -> None:
    job = run_command()
    assert job.state is JobState.FAILURE
    assert "cmd" in job.reason


def test_failing_datum_names_its_files_and_keeps_what_it_printed(workspace: Workspace, run_command: Callable[..., Job]) -> None:
    job = run_command("sh", "-c", "echo this is why; exit 3", extra="datum_tries: 1\n")
    assert job.state is JobState.FAILURE
    assert "data@" in job.reason
    assert ":/a" in job.reason
    assert "3" in job.reason
    assert [line.text for line in workspace.pps.logs(job)] == ["this is why"]
    # What came after one looked is told by the next look.
    assert list(workspace.pps.logs(job, root=Trees(workspace.store, DATUM_ROWS).empty)) == []


def test_forbidden_output_name_is_named(run_command: Callable[..., Job]) -> None:
    job = run_command("sh", "-c", 'touch "$PFS_ROOT/out/what*"', extra="datum_tries: 1\n")
    assert job.state is JobState.FAILURE
    assert "what*" in job.reason
    assert "output-path-invalid" in job.reason


def test_job_that_meets_an_outage_stays_unfinished_and_succeeds_when_it_is_over(workspace: Workspace, create: Callable[..., None]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a" * (2 << 20)})
    create("pipeline: {name: p}\ntransform: {cmd: [sh, -c, cp $data $PFS_ROOT/out/]}\ninput: {pfs: {repo: data, glob: /*}}\n")
    key = object_key(content_digest(b"a" * (2 << 20)))
    data = workspace.store.get(key)
    workspace.store.delete(key)
    with pytest.raises(NotFoundError, match="is not in the store"):
        run_newest(workspace)
    workspace.store.put_new(key, data)
    job = run_newest(workspace)
    assert job.state is JobState.SUCCESS, job.reason
    assert read_all(workspace, "p@master") == {"/a": b"a" * (2 << 20)}


@pytest.mark.parametrize("how", ["empty_files: true", "lazy: true", "empty_files: true, lazy: true", "empty_files: false"])
def test_links_to_input_files_are_their_contents_whether_or_not_they_were_staged(workspace: Workspace, create: Callable[..., None], how: str) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a/one": b"1", "/a/two": b"22"})
    script = "cd $PFS_ROOT/out; ln -s $data/one renamed; ln -s $data all; ln $data/two hard; touch copy; test -p $data/two || cp $data/two copy"
    create(f"pipeline: {{name: p}}\ntransform: {{cmd: [sh, -c, '{script}']}}\ninput: {{pfs: {{repo: data, glob: /a, {how}}}}}\n")
    job = run_newest(workspace)
    assert job.state is JobState.SUCCESS, job.reason
    copied = b"22" if how == "empty_files: false" else b""
    assert read_all(workspace, "p@master") == {"/renamed": b"1", "/all/one": b"1", "/all/two": b"22", "/hard": b"22", "/copy": copied}
    assert job.counters.download_bytes == (3 if how == "empty_files: false" else 0)


def test_accepted_return_code_is_a_success(workspace: Workspace, create: Callable[..., None]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a"})
    create("pipeline: {name: p}\ntransform: {cmd: [sh, -c, exit 7], accept_return_code: [7]}\ninput: {pfs: {repo: data, glob: /*}}\n")
    assert run_newest(workspace).state is JobState.SUCCESS


def test_job_out_of_time_is_killed_with_its_user_code(run_command: Callable[..., Job]) -> None:
    job = run_command("sleep", "600", extra="job_timeout: 500ms\n")
    assert job.state is JobState.KILLED
    assert "job_timeout" in job.reason


def test_datum_out_of_time_fails(run_command: Callable[..., Job]) -> None:
    job = run_command("sleep", "600", extra="datum_timeout: 300ms\ndatum_tries: 1\n")
    assert job.state is JobState.FAILURE
    assert "datum-timeout" in job.reason


def test_output_says_what_its_job_stored(workspace: Workspace, run_command: Callable[..., Job]) -> None:
    job = run_command("sh", "-c", "head -c 70000 /dev/zero > /pfs/out/zeros")
    assert job.state is JobState.SUCCESS
    output = workspace.pfs.inspect_commit(f"p@{job.id}")
    assert (output.size_bytes, output.stored_bytes) == (70000, 70000)


RECOVERING = """
pipeline: {name: p}
transform: {cmd: [sh, -c, 'test -s $data && cp $data $PFS_ROOT/out/'], err_cmd: ['true']}
input: {pfs: {repo: data, glob: /*}}
"""


def test_recovered_datum_has_no_output_and_runs_again_in_the_next_job(workspace: Workspace, create: Callable[..., None]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/empty": b"", "/full": b"x"})
    create(RECOVERING)
    job = run_newest(workspace)
    assert (job.state, job.reason) == (JobState.SUCCESS, "")
    assert (job.counters.data_processed, job.counters.data_recovered, job.counters.data_failed) == (1, 1, 0)
    assert read_all(workspace, "p@master") == {"/full": b"x"}
    (recovered,) = [datum for datum in workspace.pps.list_datum(job) if datum.state == "RECOVERED"]
    assert "exit code 1" in recovered.details.reason
    put(workspace, "data@master", {"/more": b"y"})
    job = run_newest(workspace)
    assert (job.counters.data_processed, job.counters.data_recovered, job.counters.data_skipped) == (1, 1, 1)
    assert read_all(workspace, "p@master") == {"/full": b"x", "/more": b"y"}


SECRETIVE = """
pipeline: {name: p}
transform:
  cmd: [sh, -c, 'printf %s "$PASSWORD-$(cat /secrets/db/user)" | md5sum > /pfs/out/sum']
  secrets: [{name: db, key: password, env_var: PASSWORD}, {name: db, mount_path: /secrets/db}]
input: {pfs: {repo: data, glob: /*}}
"""
VALUES = {"password": b"hunter2", "user": b"somebody"}


def test_secrets_reach_user_code_and_nothing_else(workspace: Workspace, create: Callable[..., None]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a"})
    with pytest.raises(NotFoundError, match="secret 'db' does not exist"):
        create(SECRETIVE)
    workspace.secrets.create(Secret(name="db", created=workspace.database.clock.now(), data=VALUES))
    create(SECRETIVE)
    job = run_newest(workspace)
    assert job.state is JobState.SUCCESS, job.reason
    assert read_all(workspace, "p@master") == {"/sum": hashlib.md5(b"hunter2-somebody").hexdigest().encode() + b"  -\n"}
    files = [path for path in workspace.settings.home.rglob("*") if path.is_file()]
    kept = {path.parent.name for path in files if any(form in path.read_bytes() for form in (b"somebody", b"c29tZWJvZHk"))}
    assert kept == {"secrets"}


def test_job_whose_secret_was_deleted_fails_and_names_it(workspace: Workspace, create: Callable[..., None]) -> None:
    workspace.secrets.create(Secret(name="db", created=workspace.database.clock.now(), data=VALUES))
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {"/a": b"a"})
    create(SECRETIVE)
    assert run_newest(workspace).state is JobState.SUCCESS
    workspace.secrets.delete("db")
    put(workspace, "data@master", {"/b": b"b"})
    job = run_newest(workspace)
    assert job.state is JobState.FAILURE
    assert job.reason.startswith("secret 'db' does not exist")


BATCHING = """
pipeline: {name: p}
transform:
  datum_batching: true
  cmd: [sh, -c, 'n=0; while pachctl next datum; do . "$PFS_ROOT/.env"; n=$((n + 1)); echo $n > $PFS_ROOT/out/$(basename $data); done']
datum_set_spec: {number: 2}
input: {pfs: {repo: data, glob: /*}}
"""


def test_batching_process_works_on_one_set_of_the_size_that_was_asked_for(workspace: Workspace, create: Callable[..., None]) -> None:
    workspace.pfs.create_repo("data")
    put(workspace, "data@master", {f"/{name}": b"" for name in "abcde"})
    create(BATCHING)
    job = run_newest(workspace)
    assert job.state is JobState.SUCCESS, job.reason
    assert read_all(workspace, "p@master") == {"/a": b"1\n", "/b": b"2\n", "/c": b"1\n", "/d": b"2\n", "/e": b"1\n"}
