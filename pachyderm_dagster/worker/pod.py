"""The worker of a pod: `python -m pachyderm_dagster.worker.pod STORE_URL JOB INDEX POD [LOG_FORMAT]`, a container beside that of user code (docs/design/0024).

It takes datum sets from the work area of the job and has the starter run user code in the container of its image. INDEX is the completion index, POD the uid
of the pod. It is started again in its place when it is killed, and goes on with the sets of its index.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from typing import NoReturn

from pachyderm_dagster.errors import PachydermError, UnreachableError
from pachyderm_dagster.log_lines import TEXT
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.worker.area_worker import FLUSH_SECONDS, MOST_VAIN_STARTS, AreaWorker, InPod
from pachyderm_dagster.worker.pod_process import begin_anew, begin_process, heed_termination, write_last_words
from pachyderm_dagster.worker.protocol import WorkerRefused
from pachyderm_dagster.worker.starter_runner import StarterGone
from pachyderm_dagster.worker.work_area import AreaSetup, Claim, WorkArea

ALL_DONE, REFUSED = 0, os.EX_UNAVAILABLE
"""Exit codes of user code's container: no set is left; the worker cannot go on, and said why."""
_LOOK_SECONDS = 0.5


class PodWorker:
    """The worker of a pod of one job."""

    def __init__(self, area: WorkArea, claim: Claim, pod: InPod) -> None:
        self._area, self._claim, self._pod = area, claim, pod
        self._worker = AreaWorker(area, claim, pod, self.refuse, begin_anew)
        self._refused = False

    def run(self) -> NoReturn:
        """Works until no set is left or user code's container ends, and waits then for the end of the pod."""
        try:
            self._pod.note_kill(self._area.store, self._claim)
            self._pod.check_starts()
            self._pod.check()
            setup = self._await_setup()
            self._worker.work(setup, self._pod.runner.begin())
        except StarterGone as gone:
            self._note_end(told=gone.told)
            self._worker.close()
        except PachydermError as error:
            self.refuse(error)
        else:
            self._worker.close()
            self._pod.runner.exit(ALL_DONE)
        while True:
            signal.pause()

    def refuse(self, error: PachydermError) -> NoReturn:
        """Has the pod fail, and its driver know why. A store that does not answer now may do so when this worker is started again."""
        self._refused = True
        self._pod.state.end()
        if isinstance(error, UnreachableError) and self._pod.starts.vain < MOST_VAIN_STARTS:
            # The kubelet tells them while it waits with the next start.
            write_last_words(error)
            os._exit(os.EX_TEMPFAIL)
        with contextlib.suppress(PachydermError):
            self._area.note_refusal(self._claim.pod, WorkerRefused.of(error))
        fail_pod(self._pod, error)

    def terminate(self) -> NoReturn:
        """Ends at once: the pod does, or this worker is to be started anew."""
        told = self._pod.runner.was_told_to_end()
        if told is None:
            self._pod.state.end()
        with contextlib.suppress(PachydermError):
            self._note_end(told=told is not False)
        self._worker.close(FLUSH_SECONDS)
        os._exit(0)

    def _await_setup(self) -> AreaSetup:
        while (setup := self._area.find_setup()) is None:
            time.sleep(_LOOK_SECONDS)
        return setup

    def _note_end(self, *, told: bool) -> None:
        if self._refused:
            self._pod.state.end()
        else:
            self._worker.note_end(told=told)


def fail_pod(pod: InPod, error: PachydermError) -> NoReturn:
    """Ends user code's container with a code that says that this is no datum's fault, and waits for the end of the pod. From any thread."""
    write_last_words(error)
    pod.runner.exit(REFUSED)
    while True:
        # A signal to the main thread ends this process.
        threading.Event().wait()


def main(store_url: str, job: str, index: int, uid: str, log_format: str = TEXT) -> NoReturn:
    """The worker's container."""
    pod = begin_process(os.environ, log_format)
    try:
        store = open_store(store_url)
    except PachydermError as error:
        fail_pod(pod, error)
    worker = PodWorker(WorkArea(store, job), Claim(index, uid), pod)
    heed_termination(worker.terminate)
    worker.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], *sys.argv[5:])
