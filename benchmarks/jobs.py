"""Whole jobs, from claim to finished output commit: 10,000 datums that copy a file against a shell loop of 10,000 `cp`, then one file more;
one datum that writes 6,000 files against `tar cf` of them.

Aims: at most 1.3 of the loop; the job of one file more under 3 % of the first; 6,000 files, beyond their user code and beyond one file, at most 2 of `tar`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job, JobState
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.workspace import Workspace, open_workspace

DATUMS = 10_000
CONTENT = b"x" * 100
FILES = 6_000
WRITE = "for number in range({count}): open(f'{folder}/{{number}}', 'wb').write(b'%d' % number * 200)"
WRITER = {"pipeline": {"name": "write"}, "input": {"pfs": {"repo": "one", "glob": "/*"}}}
PIPELINE = """
pipeline: {name: copy}
transform: {cmd: [cp, -r, /pfs/data/., /pfs/out/]}
parallelism_spec: {constant: 2}
input: {pfs: {repo: data, glob: /*}}
"""


def main() -> None:
    """Prints seconds and ratios."""
    with tempfile.TemporaryDirectory() as folder:
        loop = shell_loop(Path(folder) / "loop")
        workspace = open_workspace({"PACHYDERM_HOME": str(Path(folder) / "home")})
        workspace.pfs.create_repo("data")
        with workspace.pfs.modify_file("data@master") as files:
            for number in range(DATUMS):
                files.put_bytes(f"/{number:05}", CONTENT)
        workspace.pps.create_pipeline(parse_specs(PIPELINE, source="benchmark")[0])
        first = run(workspace, expected=DATUMS)
        with workspace.pfs.modify_file("data@master") as files:
            files.put_bytes("/one-more", CONTENT)
        second = run(workspace, expected=1)
        archive = min(tar(Path(folder)) for _ in range(3))
        write_files(workspace, 1, update=False)
        many, alone = (min(write_files(workspace, count, update=True) for _ in range(3)) for count in (FILES, 1))
        workspace.close()
    print(f"shell loop of {DATUMS} cp       {loop:8.2f} s")
    print(f"job of {DATUMS} datums          {first:8.2f} s  {first / loop:6.2f} of the loop (aim 1.3)")
    print(f"job of one file more         {second:8.2f} s  {100 * second / first:6.2f} % of the first (aim 3 %)")
    print(f"tar of {FILES} files           {archive:8.2f} s")
    print(f"{FILES} files of one datum     {many - alone:8.2f} s  {(many - alone) / archive:6.2f} of tar (aim 2)")


def shell_loop(folder: Path) -> float:
    """Seconds that a shell takes to copy as many files one by one."""
    (folder / "in").mkdir(parents=True)
    (folder / "out").mkdir()
    for number in range(DATUMS):
        (folder / "in" / f"{number:05}").write_bytes(CONTENT)
    start = time.perf_counter()
    subprocess.run(["sh", "-c", 'for f in in/*; do cp "$f" out/; done'], cwd=folder, check=True)
    return time.perf_counter() - start


def tar(folder: Path) -> float:
    """Seconds that `tar cf` takes for the files that the datum writes."""
    files = Path(tempfile.mkdtemp(dir=folder))
    subprocess.run([sys.executable, "-c", WRITE.format(count=FILES, folder=files)], check=True)
    start = time.perf_counter()
    subprocess.run(["tar", "cf", folder / "archive.tar", "-C", files, "."], check=True)
    return time.perf_counter() - start


def write_files(workspace: Workspace, count: int, *, update: bool) -> float:
    """Seconds that a job takes beside its user code, which writes so many files in one datum."""
    if not update:
        workspace.pfs.create_repo("one")
        with workspace.pfs.modify_file("one@master") as files:
            files.put_bytes("/file", CONTENT)
    spec = {**WRITER, "transform": {"cmd": ["python3", "-c", WRITE.format(count=count, folder="/pfs/out")]}}
    workspace.pps.create_pipeline(parse_specs(json.dumps(spec), source="benchmark")[0], update=update, reprocess=update)
    job = due(workspace)
    start = time.perf_counter()
    with LocalExecutor(os.environ) as executor:
        ended = run_job(workspace, job, executor=executor)
    if ended.state is not JobState.SUCCESS:
        raise SystemExit(f"job ended as {ended.state}: {ended.reason}")
    return time.perf_counter() - start - ended.counters.process_seconds


def run(workspace: Workspace, *, expected: int) -> float:
    """Seconds that the one due job takes."""
    job = due(workspace)
    start = time.perf_counter()
    with LocalExecutor(os.environ) as executor:
        ended = run_job(workspace, job, executor=executor)
    seconds = time.perf_counter() - start
    if (ended.state, ended.counters.data_processed) != (JobState.SUCCESS, expected):
        raise SystemExit(f"job ended as {ended.state} with {ended.counters.data_processed} datums: {ended.reason}")
    return seconds


def due(workspace: Workspace) -> Job:
    """The job that waits."""
    with workspace.database.read() as txn:
        ((_, (job,)),) = jobs.list_due_set(txn, "default")
    return job


if __name__ == "__main__":
    main()
