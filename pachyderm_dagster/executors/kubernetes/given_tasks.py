"""The tasks of one attempt at a job: written into the work area in a thread of their own, while results come already."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from pachyderm_dagster.worker.protocol import DatumTask
from pachyderm_dagster.worker.results_reader import Bits
from pachyderm_dagster.worker.work_area import WorkArea


class _Interrupted(Exception):
    """The attempt ended before all its tasks were written."""


class GivenTasks:
    """The tasks that are to have a result.

    Args:
        sets: the tasks, in datum sets.
        offer: called from the thread with the numbers of sets that are written.
        changed: called from the thread when it ends.
    """

    def __init__(self, area: WorkArea, sets: Iterable[Sequence[DatumTask]], offer: Callable[[Iterable[int]], None], changed: Callable[[], None]) -> None:
        self._area, self._offer, self._changed = area, offer, changed
        self._sets = self._noting(sets)
        # A bit a task, which two threads change.
        self._open = Bits()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._interrupted = threading.Event()
        self._thread = threading.Thread(target=self._write, name="write-sets", daemon=True)

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def join(self) -> None:
        """Waits until all is written. Raises what kept it from being."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def interrupt(self) -> None:
        """Ends the thread at the next set."""
        self._interrupted.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def is_done(self) -> bool:
        """Whether every task has been answered. Raises as `join`."""
        if self._thread.is_alive():
            return False
        self.join()
        return not self._open

    @property
    def open(self) -> int:
        """How many have no result yet, of those written so far."""
        return len(self._open)

    def answer(self, index: int) -> bool:
        """Notes that a datum has its result; false when it is none of this attempt's, or was answered before."""
        with self._lock:
            return self._open.remove(index)

    def _write(self) -> None:
        try:
            self._area.write_sets(self._sets, self._offer)
            # An earlier driver may have written them: what they are has to be known all the same.
            for _ in self._sets:
                pass
        except _Interrupted:
            pass
        except BaseException as error:  # noqa: BLE001  it is raised by whoever waits for the tasks
            self._failure = error
        self._changed()

    def _noting(self, sets: Iterable[Sequence[DatumTask]]) -> Iterator[Sequence[DatumTask]]:
        for tasks in sets:
            if self._interrupted.is_set():
                raise _Interrupted
            with self._lock:
                for task in tasks:
                    self._open.add(task.index)
            yield tasks
