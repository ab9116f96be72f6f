"""What a worker adds to the processes that it runs: datums that copy a small file, on two local workers, against a shell loop of as many `cp`.

Only the executor is measured, with tasks and contents at hand; `jobs.py` measures whole jobs. Aim: at most 1.5 of the loop.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.storage.content import ContentWriter
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.worker.protocol import DatumTask, InputFile, ResultState, WorkerSetup

DATUMS = 10_000
WORKERS = 2
AIM = 1.5


@dataclass(frozen=True)
class Run:
    """Seconds until the first result and until the last, and in user code per datum."""

    first: float
    total: float
    process: float


def loop_seconds(folder: Path, count: int) -> float:
    """A shell that copies as many files one by one."""
    (folder / "in").mkdir(parents=True)
    (folder / "out").mkdir()
    for number in range(count):
        (folder / "in" / f"{number:05}").write_bytes(b"%0100d" % number)
    started = time.perf_counter()
    subprocess.run(["sh", "-c", 'for f in in/*; do cp "$f" out/; done'], cwd=folder, check=True)
    return time.perf_counter() - started


def run_datums(folder: Path, count: int) -> Run:
    """As many datums through the executor, from no worker to no worker."""
    url = f"file://{folder}/store"
    with ContentWriter(open_store(url)) as writer:
        contents = [writer.write(b"%0100d" % number) for number in range(count)]
    tasks = [
        DatumTask(f"{number:064x}", number, (InputFile("data", f"/{number:05}", False, ((f"/{number:05}", content),)),))
        for number, content in enumerate(contents)
    ]
    setup = WorkerSetup(store_url=url, scratch=f"{folder}/scratch", cmd=("cp", "-r", "/pfs/data/.", "/pfs/out/"))
    first = process = 0.0
    good = 0
    started = time.perf_counter()
    with LocalExecutor(os.environ) as executor:
        for result in executor.run(setup, tasks, WORKERS):
            first = first or time.perf_counter() - started
            good += result.state is ResultState.SUCCESS
            process += result.process_seconds
    total = time.perf_counter() - started
    if good != count:
        raise SystemExit(f"only {good} of {count} datums went well")
    return Run(first, total, process / count)


def main() -> None:
    """Prints seconds and the ratio; an argument is the number of datums."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else DATUMS
    with tempfile.TemporaryDirectory() as folder:
        loop = loop_seconds(Path(folder) / "loop", count)
        run = run_datums(Path(folder), count)
    print(f"shell loop of {count} cp {loop:.2f} s; {count} datums on {WORKERS} workers {run.total:.2f} s: {run.total / loop:.2f} of the loop (aim {AIM})")
    print(
        f"first result after {run.first:.2f} s; {run.process * 1000:.2f} ms a datum in user code, {(run.total - run.first) * WORKERS / count * 1000:.2f} in all"
    )


if __name__ == "__main__":
    main()
