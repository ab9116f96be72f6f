import sqlite3
from pathlib import Path

from tests.cli.pachctl import Pachctl


def pipeline(path: Path) -> bytes:
    return f"""
pipeline: {{name: copy}}
input: {{pfs: {{repo: data, glob: /}}}}
transform: {{cmd: [sh], stdin: ['mkdir /pfs/out/scores', 'cp /pfs/data/* /pfs/out/scores/']}}
egress: {{sql_database: {{url: 'sqlite:///{path}', file_format: {{type: CSV}}}}}}
""".encode()


def test_failed_egress_is_seen_and_retried_alone(pachctl: Pachctl, tmp_path: Path) -> None:
    path = tmp_path / "tables.db"
    path.touch()
    pachctl("create", "repo", "data")
    pachctl("put", "file", "data@master:/a", stdin=b"ann,1\n")
    pachctl("create", "pipeline", stdin=pipeline(path))
    assert pachctl.fail("wait", "job", "copy@master") == "job-failed"
    assert pachctl("wait", "commit", "copy@master").status == 0
    (job,) = pachctl.json("list", "job", "--state", "egress_failure")
    assert (job["state"], job["egress"], job["data_processed"]) == ("EGRESS_FAILURE", None, 1)
    assert "there is no table 'scores'" in job["reason"]
    assert pachctl.fail("retry", "egress", "copy@master") == "job-failed"
    with sqlite3.connect(path) as tables:
        tables.execute("CREATE TABLE scores (name TEXT, points INTEGER)")
    tables.close()
    done = pachctl.json("retry", "egress", "copy@master")[0]
    assert (done["state"], done["egress"]["rows"], done["restarts"]) == ("SUCCESS", {"scores": 1}, 0)
    assert "Egress: 1 files, 6B, 1 rows in scores, try 1" in " ".join(pachctl("inspect", "job", "copy@master").out.split())
    assert pachctl.json("list", "job") == [done]


def test_a_job_that_cannot_retry_says_why(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "data")
    pachctl("create", "pipeline", stdin=b"pipeline: {name: p}\ninput: {pfs: {repo: data, glob: /}}\ntransform: {cmd: ['true']}")
    assert pachctl.fail("retry", "egress", "p@master") == "no-egress"
    assert pachctl.fail("retry", "egress", "q@master") == "pipeline-not-found"
