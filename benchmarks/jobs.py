"""Whole jobs, from claim to finished output commit: 10,000 datums that copy a file against a shell loop of 10,000 `cp`, and against `make -j2`; then one file
more, from the put on; one datum that writes 6,000 files against `tar cf` of them; many commits of one file, the last jobs against the first ones.

Aims: at most 1.3 of the loop; one file more at most 300 ms; 6,000 files, beyond their user code and beyond one file, at most 2 of `tar`; the last jobs at
most 1.2 of the first; no process above 512 MiB in any of it. `COMMITS` says how many there are. Snakemake and DVC do `PEER_ITEMS` of the copies where
`make bench-peers` installed them, as each takes minutes.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import find_peer
from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job, JobState
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.workspace import Workspace, open_workspace

DATUMS = 10_000
COMMITS = int(os.environ.get("COMMITS", "1000"))
SHARE = 20
"""So many jobs at each end of the history are compared, by their median."""
PEER_ITEMS = int(os.environ.get("PEER_ITEMS", "200"))
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
        start = time.perf_counter()
        with workspace.pfs.modify_file("data@master") as files:
            files.put_bytes("/one-more", CONTENT)
        run(workspace, expected=1)
        second = time.perf_counter() - start
        archive = min(tar(Path(folder)) for _ in range(3))
        write_files(workspace, 1, update=False)
        many, alone = (min(write_files(workspace, count, update=True) for _ in range(3)) for count in (FILES, 1))
        workspace.close()
        history = commit_many(Path(folder))
        driver, worker = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        made = make_copies(Path(folder))
        others = {name: found for name in ("snakemake", "dvc") if (found := peer_copies(name, Path(folder))) is not None}
    print(f"shell loop of {DATUMS} cp       {loop:8.2f} s")
    print(f"job of {DATUMS} datums          {first:8.2f} s  {first / loop:6.2f} of the loop (aim 1.3)")
    print(f"make -j2 of {DATUMS} cp         {made:8.2f} s  the job is {first / made:6.2f} of it")
    for name, seconds in others.items():
        print(f"{name} of {PEER_ITEMS} cp{' ' * (16 - len(name))}{seconds:8.2f} s  the job's share is {first / DATUMS * PEER_ITEMS / seconds:6.2f} of it")
    print(f"one file more, from the put  {1000 * second:8.0f} ms (aim 300)")
    begun, ended = statistics.median(history[:SHARE]), statistics.median(history[-SHARE:])
    print(f"{COMMITS} commits of one file    {1000 * ended:8.0f} ms the last jobs, {ended / begun:6.2f} of the first (aim 1.2)")
    print(f"peak memory                  {driver:8.0f} MiB the driver, {worker:.0f} MiB the largest worker (aim 512)")
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


def make_copies(folder: Path) -> float:
    """Seconds that `make` takes for the same copies."""
    source, place = folder / "loop" / "in", folder / "make"
    place.mkdir()
    names = " ".join(sorted(path.name for path in source.iterdir()))
    (place / "Makefile").write_text(f"FILES := {names}\nall: $(FILES:%=out/%)\nout/%: {source}/%\n\tcp $< $@\n")
    (place / "out").mkdir()
    start = time.perf_counter()
    subprocess.run(["make", "-s", "-j2", "all"], cwd=place, check=True)
    return time.perf_counter() - start


def peer_copies(name: str, folder: Path) -> float | None:
    """Seconds that another tool takes for some of these copies; None where it is not installed."""
    program = find_peer(name)
    if program is None:
        return None
    place = folder / name
    (place / "in").mkdir(parents=True)
    (place / "out").mkdir()
    items = [f"{number:05}" for number in range(PEER_ITEMS)]
    for item in items:
        (place / "in" / item).write_bytes(CONTENT)
    if name == "snakemake":
        rule = "rule copy:\n    input: 'in/{n}'\n    output: 'out/{n}'\n    shell: 'cp {input} {output}'\n"
        (place / "Snakefile").write_text(f"rule all:\n    input: {[f'out/{item}' for item in items]}\n\n{rule}")
        words = [program, "-c2", "-q"]
    else:
        stage = {"foreach": items, "do": {"cmd": "cp in/${item} out/${item}", "deps": ["in/${item}"], "outs": ["out/${item}"]}}
        (place / "dvc.yaml").write_text(json.dumps({"stages": {"copy": stage}}))
        subprocess.run([program, "init", "-q", "--no-scm"], cwd=place, check=True)
        words = [program, "repro", "-q"]
    start = time.perf_counter()
    subprocess.run(words, cwd=place, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def commit_many(folder: Path) -> list[float]:
    """Seconds that each job takes of many commits, each of one file more."""
    workspace = open_workspace({"PACHYDERM_HOME": str(folder / "history")})
    workspace.pfs.create_repo("data")
    workspace.pps.create_pipeline(parse_specs(PIPELINE, source="benchmark")[0])
    run(workspace, expected=0)
    seconds = []
    for number in range(COMMITS):
        with workspace.pfs.modify_file("data@master") as files:
            files.put_bytes(f"/{number:05}", CONTENT)
        seconds.append(run(workspace, expected=1))
    workspace.close()
    return seconds


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
        # What the workers leave is removed behind; `tar` leaves its files too.
        seconds = time.perf_counter() - start
    if ended.state is not JobState.SUCCESS:
        raise SystemExit(f"job ended as {ended.state}: {ended.reason}")
    return seconds - ended.counters.process_seconds


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
