"""Takes one staged datum through `/pfs`: puts its files there, has it tried, finds its output, clears `/pfs` for the next."""

import os
import secrets
import shutil
import time
from collections.abc import Sequence

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.worker.attempts import Attempts, attempt
from pachyderm_dagster.worker.collect import OUT, OutputFile, collect
from pachyderm_dagster.worker.folders import move_entries, remove_folder
from pachyderm_dagster.worker.protocol import DatumResult, DatumState, WorkerSetup
from pachyderm_dagster.worker.publish import FinishedDatum
from pachyderm_dagster.worker.run import Command, Runner
from pachyderm_dagster.worker.sandbox import Sandbox
from pachyderm_dagster.worker.stage import ENV_FILE, StagedDatum, build_environment, write_env_file


class DatumRunner:
    """Runs the datums of one pipeline job, one after another."""

    def __init__(self, setup: WorkerSetup, sandbox: Sandbox, runner: Runner) -> None:
        self._setup = setup
        self._sandbox = sandbox
        self._runner = runner
        self._command = Command(
            argv=setup.cmd,
            stdin_lines=setup.stdin,
            stdin_path=_write_stdin(setup),
            working_dir=setup.working_dir or os.path.dirname(sandbox.root),
            image=setup.image,
            timeout=setup.datum_timeout,
        )

    def run(self, staged: StagedDatum) -> FinishedDatum:
        """Runs a datum to its end, whatever that is; its output lies in its folder afterwards and `/pfs` is empty."""
        if staged.problem is not None:
            return _finish(staged, Attempts(failure=ExecutionError(staged.problem.code, f"its files could not be staged: {staged.problem.message}")), (), 0.0)
        folder = self._sandbox.folder
        move_entries(staged.folder, folder)
        write_env_file(f"{folder}/{ENV_FILE}", staged.task, self._sandbox.root)
        done = attempt(
            self._runner,
            self._command,
            build_environment(self._setup.environment, staged.task, self._sandbox.root),
            tries=self._setup.datum_tries,
            accepted_codes=self._setup.accept_return_code,
            prepare=self._empty_output,
            sandbox=self._sandbox,
        )
        started = time.monotonic()
        outputs: Sequence[OutputFile] = ()
        if done.failure is None:
            try:
                outputs = collect(self._sandbox.root, staged.originals)
            except ExecutionError as error:
                done.failure = error
        move_entries(folder, staged.folder)
        outputs = [self._follow(file, staged.folder) for file in outputs]
        return _finish(staged, done, outputs, time.monotonic() - started)

    def _empty_output(self) -> None:
        out = f"{self._sandbox.folder}/{OUT}"
        if os.path.lexists(out):
            _remove(out)
        os.mkdir(out)

    def _follow(self, file: OutputFile, folder: str) -> OutputFile:
        """The output file where it lies now."""
        root = self._sandbox.root + "/"
        if not isinstance(file.source, str):
            return file
        if file.source.startswith(root):
            return OutputFile(file.path, f"{folder}/{file.source.removeprefix(root)}")
        # A link to elsewhere: the next datum may change what is there, so it is copied before that starts. A new name: the link's own may lie behind another link.
        copy = f"{folder}/{secrets.token_hex(8)}"
        shutil.copyfile(file.source, copy)
        return OutputFile(file.path, copy)


def _finish(staged: StagedDatum, done: Attempts, outputs: Sequence[OutputFile], upload_seconds: float) -> FinishedDatum:
    result = DatumResult(
        id=staged.task.id,
        index=staged.task.index,
        state=DatumState.SUCCESS if done.failure is None else DatumState.FAILED,
        reason="" if done.failure is None else str(done.failure),
        exit_code=done.exit_code,
        tries=done.count,
        process_seconds=done.seconds,
        download_seconds=staged.seconds,
        upload_seconds=upload_seconds,
        download_bytes=staged.size_bytes,
    )
    return FinishedDatum(result, staged.folder, outputs, done.log.content())


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        remove_folder(path)
    else:
        os.unlink(path)


def _write_stdin(setup: WorkerSetup) -> str:
    if not setup.stdin:
        return os.devnull
    path = os.path.join(setup.scratch, "stdin")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in setup.stdin)
    return path
