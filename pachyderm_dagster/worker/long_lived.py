"""The worker of a pod that stays between jobs: `python -m pachyderm_dagster.worker.long_lived STORE_URL DEPLOYMENT POD [LOG_FORMAT]` (docs/design/0026).

It takes datum sets of whatever job the queue of its Deployment offers, as the worker of a Job does of one. Where the container of user code ended, or the job,
it begins anew in its place.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

from pachyderm_dagster.errors import PachydermError, UnreachableError
from pachyderm_dagster.log_lines import TEXT, process_log
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.worker.area_worker import FLUSH_SECONDS, MOST_VAIN_STARTS, AreaWorker, InPod
from pachyderm_dagster.worker.job_queue import JobQueue, next_job
from pachyderm_dagster.worker.pod_process import begin_anew, begin_with_store, heed_termination, write_last_words
from pachyderm_dagster.worker.protocol import WorkerRefused
from pachyderm_dagster.worker.set_claims import OfferedClaims, SetClaims
from pachyderm_dagster.worker.set_orders import Looks
from pachyderm_dagster.worker.starter_runner import Image, StarterGone
from pachyderm_dagster.worker.work_area import NO_INDEX, Claim, WorkArea

_IN_JOB = Looks(first_seconds=0.05, longest_seconds=1.0)
_JOB_LOOK_SECONDS = 1.0
_AWAY_SECONDS = 2.0
"""Between looks at a store that does not answer."""


def idle_seconds(idle: float) -> float:
    """How long a worker waits for its next look that has idled for so many seconds: a tenth of a second at first, one after five minutes."""
    return min(0.1 + idle / 300, 1.0)


class LongLivedWorker:
    """The worker of one pod.

    Args:
        claim: as which it takes sets.
        wait, now: of a clock that is never set.
    """

    def __init__(
        self,
        store: ObjectStore,
        queue: JobQueue,
        claim: Claim,
        pod: InPod,
        *,
        wait: Callable[[float], object] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._queue, self._claim, self._pod = store, queue, claim, pod
        self._wait, self._now = wait, now
        self._last, self._busy_until = "", now()
        self._area: WorkArea | None = None
        self._worker: AreaWorker | None = None

    def run(self) -> NoReturn:
        """Works on one job after another until the pod ends."""
        try:
            self._pod.check()
            # Only when there is a container: where an earlier one was sent SIGTERM, that was not the end of the pod then.
            image = self._pod.runner.begin()
            self._note_kill()
            while True:
                if self._work(self._await_job(), image):
                    self._busy_until = self._now()
                else:
                    self._wait_idly()
        except StarterGone as gone:
            self._note_end(told=gone.told)
            begin_anew()
        except PachydermError as error:
            self.refuse(error)

    def refuse(self, error: PachydermError) -> NoReturn:
        """Leaves the job, whose driver is told why, unless it has ended. A store that does not answer may do so when this worker is started again."""
        self._pod.state.end()
        if isinstance(error, UnreachableError) and self._pod.starts.vain < MOST_VAIN_STARTS:
            # The kubelet tells them while it waits with the next start.
            write_last_words(error)
            os._exit(os.EX_TEMPFAIL)
        if self._area is None:
            write_last_words(error)
            os._exit(os.EX_UNAVAILABLE)
        with contextlib.suppress(PachydermError):
            if self._queue.has(self._area.job):
                process_log.error("%s", error)
                self._area.note_refusal(self._claim.pod, WorkerRefused.of(error))
        self._pod.state.forget_vain()
        begin_anew()

    def terminate(self) -> NoReturn:
        """Ends at once: the pod does, or this worker is to be started anew."""
        told = self._pod.runner.was_told_to_end()
        if told is None:
            self._pod.state.end()
        with contextlib.suppress(PachydermError):
            self._note_end(told=told is not False)
        self._pod.state.forget_told()
        os._exit(0)

    def _await_job(self) -> str:
        """The job that is next, once one is offered.

        Raises:
            StarterGone: user code's container has ended meanwhile.
        """
        while True:
            told = self._pod.runner.was_told_to_end()
            if told is not None:
                raise StarterGone(told=told)
            try:
                self._last = next_job(self._queue.jobs(), self._last) or ""
            except UnreachableError as error:
                process_log.warning("%s", error)
                self._wait(_AWAY_SECONDS)
                continue
            if self._last:
                return self._last
            self._wait_idly()

    def _wait_idly(self) -> None:
        self._wait(idle_seconds(self._now() - self._busy_until))

    def _work(self, job: str, image: Image) -> bool:
        """Takes sets of a job as long as there may be one; whether there was any."""
        area = WorkArea(self._store, job)
        if area.has_refused(self._claim.pod):
            return False
        self._area, has_worked = area, False
        self._pod.check_starts()
        found = area.find_setup()
        if found is not None:
            self._worker = AreaWorker(area, self._claim, self._pod, self.refuse, begin_anew, within=self._as_offered, looks=_IN_JOB)
            with self._heeding_end(job):
                self._worker.work(found, image)
                self._worker.close()
            has_worked = self._worker.has_worked
        self._worker = self._area = None
        return has_worked

    def _as_offered(self, claims: SetClaims) -> SetClaims:
        area = self._area
        assert area is not None, "a worker without a job asks for none of its sets"
        return OfferedClaims(claims, self._queue, area.job, lambda number: area.withdraw(number, self._claim))

    @contextlib.contextmanager
    def _heeding_end(self, job: str) -> Iterator[None]:
        """In the block a datum of a job that is not offered any more is ended."""
        over = threading.Event()
        thread = threading.Thread(target=self._heed_end, args=(job, over), name="heed-end", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()

    def _heed_end(self, job: str, over: threading.Event) -> None:
        while not over.wait(_JOB_LOOK_SECONDS):
            with contextlib.suppress(UnreachableError):
                if self._pod.state.now is not None and not self._queue.has(job):
                    process_log.info("job %s has ended", job)
                    self._pod.state.end()
                    self._pod.state.forget_vain()
                    begin_anew()

    def _note_kill(self) -> None:
        left = self._pod.state.find_left()
        if left is not None and self._queue.has(left.job):
            self._pod.note_kill(self._store, self._claim)
        self._pod.state.end()

    def _note_end(self, *, told: bool) -> None:
        """Tells of the datum that ran, and what others did before it."""
        if self._worker is None:
            self._pod.state.forget_vain()
        else:
            self._worker.note_end(told=told)
            self._worker.close(FLUSH_SECONDS)


def main(store_url: str, workers: str, uid: str, log_format: str = TEXT) -> NoReturn:
    """The worker's container."""
    pod, store = begin_with_store(store_url, os.environ, log_format)
    worker = LongLivedWorker(store, JobQueue(store, workers), Claim(NO_INDEX, uid), pod)
    heed_termination(worker.terminate)
    worker.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
