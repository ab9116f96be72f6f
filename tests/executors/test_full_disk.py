"""A job whose output does not fit the disk, a small one in memory: it says why it does not end, and ends when there is room."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.running import ROOT

SCRIPT = """
import json, os, subprocess, sys
from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.workspace import open_workspace
from tests.executors.in_process import put

folder = sys.argv[1]
disk = f"{folder}/disk"
os.mkdir(disk)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk], check=True)
workspace = open_workspace({"PACHYDERM_HOME": f"{folder}/home", "PACHYDERM_STORAGE_URL": f"file://{disk}"})
workspace.pfs.create_repo("data")
put(workspace, "data@master", {"/a": b"a"})
cmd = json.dumps(["sh", "-c", "echo eight of them; head -c 8M /dev/urandom > /pfs/out/large"])
(spec,) = parse_specs(f"pipeline: {{name: p}}\\ntransform: {{cmd: {cmd}}}\\ninput: {{pfs: {{repo: data, glob: /*}}}}", source="test")
workspace.pps.create_pipeline(spec)

def newest():
    with workspace.database.read() as txn:
        return jobs.list_job(txn)[0]

def tell(job):
    print(json.dumps([job.state, job.reason, job.restarts]))

with LocalExecutor(os.environ) as executor:
    for _ in range(2):
        try:
            run_job(workspace, newest(), executor=executor)
        except StorageError as error:
            print(error.code)
        tell(newest())
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
    tell(run_job(workspace, newest(), executor=executor))
"""


def test_job_that_a_full_disk_interrupts_says_so_until_it_is_done(tmp_path: Path) -> None:
    unshared = ["unshare", "--mount", "--propagation", "slave"]
    if subprocess.run([*unshared, "true"], capture_output=True).returncode:
        pytest.skip("nobody may mount here")
    done = subprocess.run([*unshared, sys.executable, "-c", SCRIPT, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, after_first, second, after_second, end = done.stdout.splitlines()
    assert first == second == "storage-full"
    assert after_first.startswith('["RUNNING", "try 1 was interrupted: cannot write ')
    assert after_first.endswith('free some space (or quota) there and try again [storage-full]", 0]')
    assert after_second.startswith('["RUNNING", "try 2 was interrupted: cannot write ')
    assert end == '["SUCCESS", "", 2]'
