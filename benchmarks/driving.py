"""What the process that drives a job takes by itself: jobs of more and more datums, each with one small file, whose workers answer at once in this process.

A figure is the memory that a process of its own needed at most, imports included, against what it had needed when the plan stood, which is what has to be
whole. `python -m benchmarks.driving [DATUMS ...]`
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterable

from benchmarks.measuring import line, own_peak_mib
from benchmarks.simulated_pods import make_job
from pachyderm_dagster.executors.job_datums import JobDatums
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pps.jobs import list_job
from pachyderm_dagster.storage.content import Content, ContentWriter
from pachyderm_dagster.storage.file_columns import FileColumns
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, ResultState, WorkerSetup
from pachyderm_dagster.workspace import open_workspace

DATUMS = (10_000, 100_000, 1_000_000)
MEMORY_MIB = 512
WORKERS = 100


class Answering:
    """An executor whose workers are one loop: each datum wrote a file of the same content."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self.planned_mib = 0.0

    def run(self, setup: WorkerSetup, tasks: Iterable[DatumTask], parallelism: int, job: JobDatums, /) -> Generator[DatumResult]:
        """Answers every task."""
        self.planned_mib = own_peak_mib()
        return (self._answer(task) for task in tasks)

    def stop(self) -> None:
        """Nothing runs."""

    def restart_asked(self) -> int:
        """Nobody asks."""
        return 0

    def _answer(self, task: DatumTask) -> DatumResult:
        outputs = FileColumns.of([(task.inputs[0].path.removeprefix("/"), self._content)])
        return DatumResult(id=task.id, index=task.index, state=ResultState.SUCCESS, exit_code=0, tries=1, outputs=outputs, process_seconds=0.01)


def make(folder: str, datums: int) -> None:
    """A home with a job that waits."""
    home = open_workspace({"PACHYDERM_HOME": folder})
    make_job(home, WORKERS, datums)
    home.close()


def drive(folder: str) -> None:
    """Runs the job that waits in a home and prints what that took, as JSON."""
    home = open_workspace({"PACHYDERM_HOME": folder})
    with ContentWriter(home.store) as writer:
        executor = Answering(writer.write(b"what each datum wrote\n"))
    with home.database.read() as txn:
        (job,) = list_job(txn, unfinished_only=True)
    began = time.process_time()
    ended = run_job(home, job, executor=executor)
    print(json.dumps({"state": ended.state, "planned": executor.planned_mib, "peak": own_peak_mib(), "processor": time.process_time() - began}))
    home.close()


def main(counts: Iterable[int]) -> None:
    """Prints the figures."""
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            # Each in a process of its own, so that the second one needs no memory of the first.
            subprocess.run([sys.executable, "-m", "benchmarks.driving", "make", folder, str(count)], check=True)
            ran = subprocess.run([sys.executable, "-m", "benchmarks.driving", "drive", folder], check=True, capture_output=True, text=True)
        found = json.loads(ran.stdout)
        if found["state"] != "SUCCESS":
            raise SystemExit(f"the job of {count:,} datums ended as {found['state']}")
        line(f"driver of {count:,} datums: its memory", found["peak"], MEMORY_MIB, unit="MiB", detail=f"{found['planned']:.0f} MiB when the plan stood")
        line("  against its plan", found["peak"] / found["planned"], detail=f"{1e6 * found['processor'] / count:.0f} µs of a processor a datum")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", home, datums]:
            make(home, int(datums))
        case ["drive", home]:
            drive(home)
        case counts:
            main(map(int, counts) if counts else DATUMS)
