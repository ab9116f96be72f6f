"""Takes one staged datum through `/pfs`: puts its files there, has it tried, finds its output, clears `/pfs` for the next."""

import dataclasses
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pachyderm_dagster.clock import Clock, SystemClock
from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.storage.content import ContentReader
from pachyderm_dagster.worker.attempts import Attempts, attempt
from pachyderm_dagster.worker.batching import BatchProcess, Calls
from pachyderm_dagster.worker.cgroups import Memory, count_oom_kills, out_of_memory
from pachyderm_dagster.worker.collect import OutputFile, collect
from pachyderm_dagster.worker.folders import move_entries
from pachyderm_dagster.worker.full_disks import find_full
from pachyderm_dagster.worker.function_code import FUNCTION_CODE
from pachyderm_dagster.worker.output_log import Listener, OutputLog
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, ResultState, WorkerSetup
from pachyderm_dagster.worker.publish import FinishedDatum
from pachyderm_dagster.worker.run import Command, CommandRunner, Ending
from pachyderm_dagster.worker.sandbox import Sandbox
from pachyderm_dagster.worker.source_folder import SOURCE
from pachyderm_dagster.worker.stage import OUT, StagedDatum, build_environment, stage_again
from pachyderm_dagster.worker.users import User, reaching_files_as


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another container, which shares `/pfs` with this one.

    Attributes:
        owner: numbers of the user and the group that user code runs as.
        shared: the folders that are the same here and there. A link that leads out of them leads to something else here.
        memory: what it has of it.
    """

    owner: tuple[int, int]
    shared: tuple[str, ...]
    memory: Callable[[], Memory]


class DatumRunner:
    """Runs the datums of one pipeline job, one after another.

    Args:
        user: whom user code runs as; None for this process's own.
        source: the source folder of the pipeline, as user code sees it; empty without one.
        obstacle: what keeps every one of them from running; they fail with it.
        calls: by which user code asks for its next datum under datum batching.
        elsewhere: where user code runs when that is not this machine.
        listener: makes what gets the output of a datum while it runs; of the datum, and when it was started, in seconds since 1970.
        clock: says when datums are started.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        sandbox: Sandbox,
        runner: CommandRunner,
        reader: ContentReader,
        *,
        user: User | None = None,
        source: str = "",
        obstacle: ExecutionError | None = None,
        calls: Calls | None = None,
        elsewhere: Elsewhere | None = None,
        listener: Callable[[DatumTask, float], Listener],
        clock: Clock | None = None,
    ) -> None:
        self._user = user
        self._owner = elsewhere.owner if elsewhere is not None else None if user is None else (user.id, user.group)
        self._shared = () if elsewhere is None else elsewhere.shared
        self._memory = _local_memory(setup) if elsewhere is None else elsewhere.memory
        self._source = source
        self._obstacle = obstacle
        self._listener = listener
        self._clock = clock or SystemClock()
        self._setup = setup
        self._sandbox = sandbox
        self._runner = runner
        self._reader = reader
        self._command = self._prepare(setup.cmd, setup.stdin, "stdin")
        self._error_command = self._prepare(setup.err_cmd, setup.err_stdin, "err-stdin") if setup.err_cmd else None

        self._batch = None if calls is None or not setup.datum_batching else self._make_batch(calls)

    def run(self, staged: StagedDatum) -> FinishedDatum:
        """Runs a datum to its end, whatever that is; its output lies in its folder afterwards and `/pfs` is empty.

        Raises:
            PachydermError: the store or the disk kept its files from being staged. This says nothing about the datum, and no other should be run here.
        """
        if isinstance(staged.problem, ExecutionError):
            return _finish(staged, Attempts(failure=ExecutionError(staged.problem.code, f"its files could not be staged: {staged.problem.message}")), (), 0.0)
        if staged.problem is not None:
            raise staged.problem
        if self._obstacle is not None:
            return _finish(staged, Attempts(failure=self._obstacle), (), 0.0)
        folder = self._sandbox.folder
        move_entries(staged.folder, folder)
        done = self._attempt(staged)
        started = time.monotonic()
        outputs: Sequence[OutputFile] = ()
        if done.failure is None and not self._setup.kept_log:
            try:
                with reaching_files_as(self._user):
                    found = collect(self._sandbox.root, staged.originals, within=self._shared)
                outputs = [self._keep(file) for file in found]
            except ExecutionError as error:
                done.failure = error
        move_entries(folder, staged.folder)
        if self._setup.kept_log:
            # What it printed is kept already.
            done.log = OutputLog()
        return _finish(staged, done, outputs, time.monotonic() - started)

    def _attempt(self, staged: StagedDatum) -> Attempts:
        folder, lazy = self._sandbox.folder, staged.lazy
        begun = self._clock.now().timestamp()
        log = OutputLog(listener=self._listener(staged.task, begun))

        def stage_anew() -> None:
            lazy.close()
            stage_again(staged.task, folder, self._reader, self._sandbox.root, lazy)
            self._complete(folder)
            lazy.open(folder)

        self._complete(folder)
        try:
            lazy.open(folder)
        except ExecutionError as error:
            lazy.close()
            return Attempts(failure=error)
        environment = build_environment(self._setup.environment, staged.task, self._sandbox.root)
        try:
            done = attempt(
                self._run_try(staged.task, environment),
                self._command,
                recover=self._recovery(environment),
                tries=self._setup.datum_tries,
                accepted_codes=self._setup.accept_return_code,
                before_retry=stage_anew,
                sandbox=self._sandbox,
                log=log,
            )
        finally:
            lazy.close()
            log.close()
        done.started = begun
        return done

    def _complete(self, folder: str) -> None:
        """Links the source folder, and lets the user of the code write its output."""
        if self._source:
            os.symlink(self._source, f"{folder}/{SOURCE}")
        if self._owner is not None:
            os.chown(f"{folder}/{OUT}", *self._owner)

    def _run_try(self, task: DatumTask, environment: Mapping[str, str]) -> Callable[[OutputLog], Ending]:
        if self._batch is None:
            return self._within_limits(lambda log: self._runner.run(self._command, environment, log))
        self._batch.begin_set(task.datum_set)
        return self._within_limits(self._batch.run)

    def _within_limits(self, run: Callable[[OutputLog], Ending]) -> Callable[[OutputLog], Ending]:
        """A try of which is told when it failed because it wanted more memory than it may have, or filled the disk."""
        look = self._memory

        def told(log: OutputLog) -> Ending:
            before = look()
            ending = run(log)
            if ending.exit_code == 0:
                return ending
            now = look()
            failure = out_of_memory(now.limit) if now.kills > before.kills else find_full(self._sandbox.folder)
            return ending if failure is None else dataclasses.replace(ending, failure=failure)

        return told

    def _recovery(self, environment: Mapping[str, str]) -> Callable[[OutputLog], Ending] | None:
        command = self._error_command
        if command is None:
            return None

        def recover(log: OutputLog) -> Ending:
            if self._batch is not None:
                # Whatever runs ends with its command.
                self._batch.stop()
            return self._runner.run(command, environment, log)

        return recover

    def close(self) -> None:
        """Ends user code that stayed for more datums."""
        if self._batch is not None:
            self._batch.stop()

    def _prepare(self, argv: tuple[str, ...], stdin: tuple[str, ...], stdin_name: str) -> Command:
        setup = self._setup
        return Command(
            argv=argv,
            stdin_lines=stdin,
            stdin_path=_write_stdin(stdin, os.path.join(setup.scratch, stdin_name)),
            working_dir=setup.working_dir or (f"{self._sandbox.root}/{SOURCE}" if self._source else os.path.dirname(self._sandbox.root)),
            image=setup.image,
            timeout=setup.datum_timeout,
            user=self._user,
            cgroups=setup.cgroups,
            terminal=setup.terminal,
        )

    def _make_batch(self, calls: Calls) -> BatchProcess:
        environment = {**self._setup.environment, "PFS_ROOT": self._sandbox.root}
        # To import the module of a function may take longer than all its datums, and it knows nothing of sets.
        return BatchProcess(self._runner, self._command, environment, calls, stays=FUNCTION_CODE in environment)

    def _keep(self, file: OutputFile) -> OutputFile:
        """A file that lies elsewhere may be changed by the next datum before it is stored: it is copied to `/pfs`, which stays this datum's."""
        if not isinstance(file.source, str) or file.source.startswith(self._sandbox.root + "/"):
            return file
        copy = f"{self._sandbox.root}/{secrets.token_hex(8)}"
        try:
            with reaching_files_as(self._user):
                descriptor = os.open(file.source, os.O_RDONLY | os.O_CLOEXEC)
            with open(descriptor, "rb") as source, open(copy, "xb") as target:
                shutil.copyfileobj(source, target)
        except OSError as error:
            raise ExecutionError("output-unreadable", f"{file.source}, to which {OUT}{file.path} links, cannot be copied: {error.strerror}") from error
        return OutputFile(file.path, copy)


def _finish(staged: StagedDatum, done: Attempts, outputs: Sequence[OutputFile], upload_seconds: float) -> FinishedDatum:
    result = DatumResult(
        id=staged.task.id,
        index=staged.task.index,
        state=_state_of(done),
        reason="" if done.failure is None else str(done.failure),
        exit_code=done.exit_code,
        tries=done.count,
        process_seconds=done.seconds,
        download_seconds=staged.seconds,
        upload_seconds=upload_seconds,
        download_bytes=staged.size_bytes,
        started=done.started,
        log_times=done.log.times(),
    )
    return FinishedDatum(result, staged.folder, outputs, done.log.content())


def _local_memory(setup: WorkerSetup) -> Callable[[], Memory]:
    """How the memory of user code on this machine is looked at: nothing is known of it where it has no limit."""
    folders, limits = setup.cgroups, setup.limits
    if not folders or limits is None or not limits.memory:
        return lambda: Memory(0, 0)
    most = limits.memory
    return lambda: Memory(count_oom_kills(folders), most)


def _state_of(done: Attempts) -> ResultState:
    if done.failure is None:
        return ResultState.SUCCESS
    return ResultState.RECOVERED if done.recovered else ResultState.FAILED


def _write_stdin(lines: tuple[str, ...], path: str) -> str:
    if not lines:
        return os.devnull
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
    return path
