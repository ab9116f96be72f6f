"""Datums that run in this process, and what tests of jobs do again and again."""

from collections.abc import Callable, Generator, Iterable

import pytest

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.executors.job_datums import JobDatums
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pfs.paths import key_of
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.storage.content import ContentReader, ContentWriter
from pachyderm_dagster.storage.file_columns import FileColumns
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, ResultState, WorkerSetup
from pachyderm_dagster.workspace import Workspace

UserCode = Callable[[dict[str, bytes]], dict[str, bytes]]


class InProcessExecutor:
    """Runs a Python function as user code: from the files of a datum by path to its output files; an exception fails the datum."""

    def __init__(self, code: UserCode) -> None:
        self.code = code
        self.ran: list[tuple[str, ...]] = []
        self.stopped = False

    def run(self, setup: WorkerSetup, tasks: Iterable[DatumTask], parallelism: int, job: JobDatums, /) -> Generator[DatumResult]:
        self.stopped = False
        store = open_store(setup.store_url)
        reader = ContentReader(store)
        with ContentWriter(store) as writer:
            for task in tasks:
                if self.stopped:
                    return
                self.ran.append(tuple(path for file in task.inputs for path, _ in file.files))
                files = {path: reader.read(content) for file in task.inputs for path, content in file.files}
                try:
                    made = self.code(files)
                except ValueError as error:
                    yield DatumResult(id=task.id, index=task.index, state=ResultState.FAILED, reason=str(error), tries=1, exit_code=1)
                    continue
                outputs = FileColumns.of((key_of(path), writer.write(data)) for path, data in made.items())
                writer.flush()
                yield DatumResult(id=task.id, index=task.index, state=ResultState.SUCCESS, outputs=outputs, tries=1, exit_code=0)

    def stop(self) -> None:
        self.stopped = True

    def restart_asked(self) -> int:
        return 0


def put(workspace: Workspace, branch: str, files: dict[str, bytes | None]) -> None:
    """One commit: writes files, and deletes those whose content is None."""
    with workspace.pfs.modify_file(branch) as changes:
        for path, data in files.items():
            if data is None:
                changes.delete(path)
            else:
                changes.put_bytes(path, data)


def run_due(workspace: Workspace, executor: InProcessExecutor) -> list[Job]:
    """Runs every due job, oldest first; the jobs as they ended."""
    ended: list[Job] = []
    while True:
        with workspace.database.read() as txn:
            due = [job for _, members in jobs.list_due_set(txn, "default") for job in members]
        if not due:
            return ended
        progress = 0
        for job in due:
            try:
                ended.append(run_job(workspace, job, executor=executor))
            except PachydermError as error:
                if error.code != "job-waiting":
                    raise
            else:
                progress += 1
        assert progress, "no due job could run"


def run_interrupted(workspace: Workspace, code: UserCode, at: str) -> None:
    """Runs what is due as far as the datum that has the file `at`, where the process is interrupted."""

    def dies(files: dict[str, bytes]) -> dict[str, bytes]:
        if at in files:
            raise KeyboardInterrupt
        return code(files)

    with pytest.raises(KeyboardInterrupt):
        run_due(workspace, InProcessExecutor(dies))


def read_all(workspace: Workspace, reference: str) -> dict[str, bytes]:
    """Every file of a commit with its content."""
    table = workspace.pfs.glob_file(reference, "**")
    paths = [row["path"] for row in table.to_pylist() if row["type"] == "file"]
    return {path: b"".join(workspace.pfs.get_file(f"{reference}:{path}")) for path in paths}
