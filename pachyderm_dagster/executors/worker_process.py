"""One worker process as its executor sees it: what was sent and not answered yet, and pipes that never block the executor."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

import pachyderm_dagster
from pachyderm_dagster.executors.limit_groups import make_groups, parents_here
from pachyderm_dagster.worker.cgroups import end_groups
from pachyderm_dagster.worker.live import LIVE_PREFIX
from pachyderm_dagster.worker.protocol import Answer, DatumResult, DatumTask, WorkerReady, WorkerSetup, encode, take_answers

_READ_BYTES = 1 << 20
_LAST_WORDS_BYTES = 4096
# Enough work for this long waits at the worker, so that it never stands still and the last datums are spread evenly.
_AHEAD_SECONDS = 0.25
# One runs, one is staged.
_LEAST_AHEAD = 2
_MOST_AHEAD = 256
_WEIGHT_OF_LAST = 0.2


class WorkerProcess:
    """A worker that was started and may end at any time.

    Args:
        setup: sent at once; its scratch folder must exist, and be of no other worker.
        environment: of the worker process itself, not of user code.

    Attributes:
        in_flight: tasks without an answer, by index.
        ready: whether the worker takes tasks.
        alone: whether its only task must stay the only one, because a worker died with it before.
        restarting: whether it was ended so that its datum is run again.
    """

    def __init__(self, setup: WorkerSetup, environment: Mapping[str, str]) -> None:
        package_folder = str(Path(pachyderm_dagster.__file__).parents[1])
        search_path = [package_folder, *filter(None, [environment.get("PYTHONPATH")])]
        self._folder = setup.scratch
        self._last_words = Path(setup.scratch) / "stderr"
        self._groups: tuple[str, ...] = ()
        parents = "" if setup.limits is None else parents_here(setup.limits)
        if setup.limits is not None and not isinstance(parents, str):
            self._groups = make_groups(setup.limits, parents, "-".join(Path(setup.scratch).parts[-2:]))
            setup = msgspec.structs.replace(setup, cgroups=self._groups)
        with contextlib.ExitStack() as undone, contextlib.ExitStack() as given:
            undone.callback(end_groups, self._groups)
            tasks, self.stdin = os.pipe()
            undone.callback(os.close, self.stdin)
            given.callback(os.close, tasks)
            self.stdout, answers = os.pipe()
            undone.callback(os.close, self.stdout)
            given.callback(os.close, answers)
            stderr = given.enter_context(self._last_words.open("wb"))
            self._process = subprocess.Popen(
                # -P: what lies in the working folder must not be imported.
                [sys.executable, "-P", "-m", "pachyderm_dagster.worker"],
                stdin=tasks,
                stdout=answers,
                stderr=stderr,
                cwd="/",
                env={**environment, "PYTHONPATH": os.pathsep.join(search_path)},
                # Ctrl-C is for the executor, which ends its workers.
                start_new_session=True,
            )
            undone.pop_all()
        os.set_blocking(self.stdin, False)
        self.in_flight: dict[int, DatumTask] = {}
        self.ready = False
        self.alone = False
        self.restarting = False
        self._seconds_per_datum = _AHEAD_SECONDS
        self._received = bytearray()
        self._unsent = bytearray()
        self._queue(encode(setup))

    @property
    def pid(self) -> int:
        """The first process of the worker's session."""
        return self._process.pid

    @property
    def room(self) -> int:
        """How many more tasks it should get now."""
        if not self.ready or self.alone:
            return 0
        wanted = int(_AHEAD_SECONDS / self._seconds_per_datum)
        return min(max(wanted, _LEAST_AHEAD), _MOST_AHEAD) - len(self.in_flight)

    @property
    def has_unsent(self) -> bool:
        """Whether `send_more` should be called when the pipe has room."""
        return bool(self._unsent)

    def give(self, task: DatumTask) -> None:
        """Sends a task."""
        self.in_flight[task.index] = task
        self._queue(encode(task))

    def give_alone(self, task: DatumTask) -> None:
        """Sends a task and takes no other until it is answered."""
        self.alone = True
        self.give(task)

    def send_more(self) -> None:
        """Writes what the pipe takes now."""
        try:
            del self._unsent[: os.write(self.stdin, self._unsent)]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            # It died; the end of its answers, which comes next, is where that is dealt with.
            self._unsent.clear()

    def receive(self) -> list[Answer] | None:
        """Reads what has come and waits if nothing has; the whole answers, or None when the worker ended."""
        data = os.read(self.stdout, _READ_BYTES)
        if not data:
            return None
        self._received += data
        answers = take_answers(self._received)
        for answer in answers:
            if isinstance(answer, DatumResult):
                self._note(answer)
            elif isinstance(answer, WorkerReady):
                self.ready = True
        return answers

    def runs(self, id: str) -> bool:
        """Whether it runs this datum now, and has for more than a moment. From any thread."""
        return os.path.exists(f"{self._folder}/{LIVE_PREFIX}{id}")

    def ask_to_end(self) -> None:
        """Has the worker kill its user code and end; returns at once."""
        # To its session: the guard of the worker and, where it is not the first process of a namespace, the worker.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)

    def hang_up(self) -> None:
        """Has the worker end its user code, with the grace of its setup, and end; returns at once. It takes nothing any more."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def wait_end(self, seconds: float) -> str:
        """Waits until the worker has ended and kills it when that takes too long; says how it ended."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        end_groups(self._groups)
        code = self._process.returncode
        ended = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        words = self._last_words.read_bytes()[-_LAST_WORDS_BYTES:].decode(errors="replace").strip()
        return f"{ended}; its last words: {words.splitlines()[-1]}" if words else ended

    def forget_live(self) -> None:
        """Takes away what a worker that ended says of the datum that it ran."""
        for task in self.in_flight.values():
            with contextlib.suppress(OSError):
                os.unlink(f"{self._folder}/{LIVE_PREFIX}{task.id}")

    def close(self) -> None:
        """Lets go of the pipes."""
        self.hang_up()
        os.close(self.stdout)

    def _queue(self, data: bytes) -> None:
        self._unsent += data
        self.send_more()

    def _note(self, result: DatumResult) -> None:
        self.in_flight.pop(result.index, None)
        self.alone = self.alone and bool(self.in_flight)
        seconds = result.process_seconds + result.download_seconds + result.upload_seconds
        self._seconds_per_datum += _WEIGHT_OF_LAST * (max(seconds, 1e-6) - self._seconds_per_datum)
