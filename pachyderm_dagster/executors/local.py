"""Runs datums in worker processes on this machine."""

import itertools
import logging
import os
import selectors
import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self, assert_never

import msgspec

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.executors.datum_sets import gather
from pachyderm_dagster.executors.environments import worker_environment
from pachyderm_dagster.executors.job_datums import JobDatums
from pachyderm_dagster.executors.limit_groups import limits_problem
from pachyderm_dagster.executors.removals import Removals
from pachyderm_dagster.executors.restarting import take_requests
from pachyderm_dagster.executors.run_folder import RunFolder
from pachyderm_dagster.executors.worker_process import WorkerProcess
from pachyderm_dagster.worker.protocol import MOST_DEATHS_OF_A_DATUM, DatumResult, DatumTask, ResultState, WorkerReady, WorkerRefused, WorkerSetup

_MOST_FAILED_STARTS = 3
_END_SECONDS = 5.0

_log = logging.getLogger(__name__)


class LocalExecutor:
    """Runs datums in processes on this machine; as a context manager it leaves no process and no file behind.

    Args:
        environment: of the machine, as the workers and the user code are to see it (`os.environ` of the program).
        warn: takes one line for the user, once a run, when `/pfs` cannot be made here.
    """

    def __init__(self, environment: Mapping[str, str], *, warn: Callable[[str], None] = _log.warning) -> None:
        self._environment = worker_environment(environment)
        self._warn = warn
        self._runs: weakref.WeakSet[_Run] = weakref.WeakSet()
        self._remove = Removals()

    def run(self, setup: WorkerSetup, tasks: Iterable[DatumTask], parallelism: int, _job: JobDatums | None = None, /) -> Generator[DatumResult, None, None]:
        """Runs every task and gives each result when it is there, in any order; tasks are taken from the iterable as workers have room.

        A worker that dies is replaced. The datum that it ran is given to another one once; if that dies too, the datum is FAILED and says how.

        Args:
            setup: its scratch folder is used for folders of this run; its environment comes on top of that of the machine.
            tasks: with an index that is theirs alone.
            parallelism: how many datums run at the same time, at least 1.

        Raises:
            ExecutionError: `worker-not-started`.
            PachydermError: what keeps a worker from beginning or going on, in its own class: `InvalidError` for a store that cannot be opened,
                `StorageError` or `UnreachableError` for one that is full, broken or away, `NotFoundError` for an input that it lost. The tasks without
                a result may be run again.
        """
        setup = msgspec.structs.replace(setup, environment={**self._environment, **setup.environment})
        unlimited = limits_problem(setup.limits)
        if unlimited is not None:
            self._warn(f"resource_limits are not kept: {unlimited}")
        run = _Run(setup, iter(tasks), max(1, parallelism), self._environment, self._warn, self._remove)
        # Now, not when the first result is asked for: a stop in between must not be lost.
        self._runs.add(run)
        return run.results()

    def stop(self) -> None:
        """Kills all user code and ends all workers; what is being run gives no more results. From any thread."""
        for run in list(self._runs):
            run.stop()

    def restart_asked(self) -> int:
        """Has the datums run again of which somebody asked that (`restarting.ask_restart`), as if they had not begun; how many. From any thread."""
        return sum(run.restart_asked() for run in list(self._runs))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()
        self._remove.close()


class _Run:
    """The workers of one call, the tasks they have and those that a dead one left."""

    def __init__(
        self,
        setup: WorkerSetup,
        tasks: Iterator[DatumTask],
        parallelism: int,
        environment: Mapping[str, str],
        warn: Callable[[str], None],
        remove: Callable[[Callable[[], None]], object],
    ) -> None:
        self._setup = setup
        self._sets = gather(tasks)
        self._parallelism = parallelism
        self._waiting: deque[tuple[DatumTask, ...]] = deque()
        self._environment = environment
        self._warn = warn
        self._remove = remove
        self._warned = False
        self._workers: list[WorkerProcess] = []
        self._started = 0
        self._failed_starts = 0
        self._left: deque[DatumTask] = deque()
        self._deaths: Counter[int] = Counter()
        self._selector = selectors.DefaultSelector()
        # Held where workers are started and ended, so that none is started behind the back of `stop`.
        self._lock = threading.Lock()
        self._stopped = False

    def results(self) -> Generator[DatumResult, None, None]:
        with RunFolder(os.path.realpath(self._setup.scratch), call=self._remove) as self._folder:
            try:
                for _ in range(self._look_ahead()):
                    self._start_worker()
                while self._workers:
                    self._give_tasks()
                    if not self._look_ahead() and not self._left and not any(worker.in_flight for worker in self._workers):
                        return
                    yield from self._wait()
            finally:
                self.stop()
                self._close()

    def restart_asked(self) -> int:
        """Ends the workers that run datums of which somebody asked that; how many. `_bury` gives the datums to others."""
        with self._lock:
            # Before there is a worker there is no folder.
            asked = take_requests(self._folder.path) if self._workers and not self._stopped else []
            chosen = [worker for worker in self._workers if not worker.restarting and any(map(worker.runs, asked))]
            for worker in chosen:
                worker.restarting = True
                worker.ask_to_end()
        return len(chosen)

    def stop(self) -> None:
        """Ends all workers and waits until they are gone; user code goes with them."""
        with self._lock:
            self._stopped = True
            for worker in self._workers:
                worker.ask_to_end()
            for worker in self._workers:
                worker.wait_end(_END_SECONDS)

    def _wait(self) -> Iterator[DatumResult]:
        """Waits until some workers answer or take more, or end."""
        for key, events in self._selector.select():
            worker: WorkerProcess = key.data
            if worker not in self._workers:
                # Buried a moment ago, when its other pipe was looked at.
                continue
            if events & selectors.EVENT_WRITE:
                worker.send_more()
                self._watch_input(worker)
            else:
                yield from self._receive(worker)

    def _close(self) -> None:
        """Only by the thread that runs `results`, which waits on these."""
        self._selector.close()
        while self._workers:
            self._workers.pop().close()

    def _start_worker(self) -> None:
        with self._lock:
            if self._stopped:
                return
            self._started += 1
            setup = msgspec.structs.replace(self._setup, scratch=self._folder.add(f"worker-{self._started}"))
            worker = WorkerProcess(setup, self._environment)
            self._workers.append(worker)
        self._selector.register(worker.stdout, selectors.EVENT_READ, worker)
        self._watch_input(worker)

    def _watch_input(self, worker: WorkerProcess) -> None:
        """Wakes `results` when the worker's input takes more, as long as there is more."""
        watched = worker.stdin in self._selector.get_map()
        if worker.has_unsent and not watched:
            self._selector.register(worker.stdin, selectors.EVENT_WRITE, worker)
        elif watched and not worker.has_unsent:
            self._selector.unregister(worker.stdin)

    def _look_ahead(self) -> int:
        """How many sets of tasks wait for a worker, counted up to one a worker."""
        missing = self._parallelism - len(self._waiting)
        self._waiting.extend(itertools.islice(self._sets, max(0, missing)))
        return min(len(self._waiting), self._parallelism)

    def _give_tasks(self) -> None:
        for worker in self._workers:
            if worker.ready and not worker.in_flight and (self._look_ahead() or self._left):
                self._give(worker)
        # Ahead of need only while every other worker would still find one: the last tasks go to whoever is free first. One each in turn, to spread them evenly.
        while hungry := [worker for worker in self._workers if worker.room > 0]:
            for worker in hungry:
                if self._look_ahead() < self._parallelism:
                    return
                self._give(worker)

    def _give(self, worker: WorkerProcess) -> None:
        if self._waiting:
            for task in self._waiting.popleft():
                worker.give(task)
        else:
            worker.give_alone(self._left.popleft())
        self._watch_input(worker)

    def _receive(self, worker: WorkerProcess) -> Iterator[DatumResult]:
        answers = worker.receive()
        if answers is None:
            yield from self._bury(worker)
            return
        for answer in answers:
            match answer:
                case DatumResult():
                    yield answer
                case WorkerReady(warning=warning):
                    self._failed_starts = 0
                    if warning and not self._warned:
                        self._warned = True
                        self._warn(warning)
                case WorkerRefused() as refused:
                    raise refused.error()
                case _:
                    assert_never(answer)

    def _bury(self, worker: WorkerProcess) -> Iterator[DatumResult]:
        """Takes leave of a worker that ended: its tasks go to others, one at a time, so that the one that kills workers is found."""
        self._selector.unregister(worker.stdout)
        if worker.stdin in self._selector.get_map():
            self._selector.unregister(worker.stdin)
        with self._lock:
            self._workers.remove(worker)
        ended = worker.wait_end(_END_SECONDS)
        worker.forget_live()
        worker.close()
        if self._stopped:
            return
        if worker.restarting:
            # It killed nothing. The datum that it ran comes before those that nobody has begun.
            self._waiting.extendleft((task,) for task in reversed(worker.in_flight.values()))
        else:
            yield from self._blame(worker, ended)
        if self._left or self._look_ahead():
            self._start_worker()

    def _blame(self, worker: WorkerProcess, ended: str) -> Iterator[DatumResult]:
        """Has the tasks of a worker that died run once more, and fails those with which another died before."""
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts == _MOST_FAILED_STARTS:
                raise ExecutionError("worker-not-started", f"{self._failed_starts} worker processes ended before they took a datum; the last one {ended}")
        for task in worker.in_flight.values():
            self._deaths[task.index] += 1
            if self._deaths[task.index] < MOST_DEATHS_OF_A_DATUM:
                self._left.append(task)
            else:
                reason = ExecutionError("worker-died", f"two worker processes ended while they ran this datum; the last one {ended}")
                yield DatumResult(id=task.id, index=task.index, state=ResultState.FAILED, reason=str(reason))
