"""The worker of a service or a spout: `python -m pachyderm_dagster.worker.staying_code STORE_URL AREA POD [LOG_FORMAT]` (docs/design/0033).

It reads setup and the one datum from the area, stages, has user code run in the container of its image, and ends that container when user code ends, which the
kubelet starts again. Nothing of what it writes goes to the store, and what it prints to the log that is kept of the Deployment.
"""

import contextlib
import os
import re
import sys
import time
from typing import NoReturn

from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.errors import ExecutionError, PachydermError, UnreachableError
from pachyderm_dagster.log_lines import TEXT, process_log
from pachyderm_dagster.worker.area_worker import InPod
from pachyderm_dagster.worker.kept_log import KeptLog
from pachyderm_dagster.worker.pod_datums import datums_in_pod
from pachyderm_dagster.worker.pod_process import begin_anew, begin_with_store, heed_termination, write_last_words
from pachyderm_dagster.worker.protocol import DatumResult, WorkerRefused
from pachyderm_dagster.worker.restart_requests import watch_restarts
from pachyderm_dagster.worker.sandbox import PFS
from pachyderm_dagster.worker.stage import stage
from pachyderm_dagster.worker.starter import LEAVING, PACH
from pachyderm_dagster.worker.starter_runner import Image, StarterGone
from pachyderm_dagster.worker.stored_log import StoredLog, log_area
from pachyderm_dagster.worker.work_area import WorkArea

NOT_STARTED = 127
"""Exit code of the container when user code could not be started."""
_SIGNAL_BASE = 128
_REASON = re.compile(r"(?P<message>.*) \[(?P<code>[a-z0-9-]+)\]", re.DOTALL)
_LOOK_SECONDS = 0.1


class StayingCode:
    """The worker of one pod; `uid` is the pod's."""

    def __init__(self, area: WorkArea, uid: str, pod: InPod) -> None:
        self._area, self._uid, self._pod = area, uid, pod
        self._log = StoredLog(area.store, log_area(area.job.partition(".")[0]), uid, clock=SystemClock())

    def run(self) -> NoReturn:
        """Runs the code in one container after another until the pod ends."""
        with self._log:
            self._run_container()
        begin_anew()

    def terminate(self) -> NoReturn:
        """Ends with the pod."""
        self._log.close()
        os._exit(0)

    def _run_container(self) -> None:
        try:
            self._pod.check()
            image = self._pod.runner.begin()
            # What was said of a container before this one: the kubelet ends one too whose livenessProbe failed.
            os.truncate(f"{PACH}/run/{LEAVING}", 0)
            result = self._run(image)
            if not os.path.getsize(f"{PACH}/run/{LEAVING}"):
                self._tell(result)
            self._pod.runner.exit(container_code(result.exit_code))
            while not self._pod.runner.has_ended():
                time.sleep(_LOOK_SECONDS)
        except StarterGone:
            pass
        except PachydermError as error:
            self._refuse(error)

    def _run(self, image: Image) -> DatumResult:
        """Runs the code to its end."""
        found = self._area.find_setup()
        if found is None:
            raise ExecutionError("area-missing", f"there is nothing to run in {self._area.job}: what it was for is served no more, or was deleted")
        (task,) = self._area.read_set(0)
        watch_restarts(self._area, lambda: task.id, self._restart)
        self._lines = KeptLog(self._log.add, found.setup.environment.get("PACH_JOB_ID", ""), clock=SystemClock())
        with datums_in_pod(self._pod.runner, self._area.store, found.setup, image, self._pod.log_format, log=self._lines) as (datums, files):
            return datums.run(stage(task, files.pool, files.reader, PFS)).result

    def _restart(self) -> NoReturn:
        self._lines.write(b"[it was asked to start again]\n")
        self._log.close()
        begin_anew()

    def _tell(self, result: DatumResult) -> None:
        """Says why the code ended, for those who look why it is not there. It is started again whether or not that can be written."""
        words = why_ended(result)
        process_log.error("%s", words.error())
        self._lines.write(f"[{words.error()}]\n".encode())
        with contextlib.suppress(PachydermError):
            self._area.note_last(self._uid, words)

    def _refuse(self, error: PachydermError) -> NoReturn:
        """Ends the worker, which the kubelet starts again in its place. A store that does not answer says nothing about the code."""
        write_last_words(error)
        if not isinstance(error, UnreachableError):
            with contextlib.suppress(PachydermError):
                self._area.note_last(self._uid, WorkerRefused.of(error))
        self._log.close()
        os._exit(os.EX_TEMPFAIL)


def why_ended(result: DatumResult) -> WorkerRefused:
    """Why code ended that is to stay; also when its exit code is one that is accepted."""
    found = _REASON.fullmatch(result.reason)
    if found is None:
        return WorkerRefused.of(ExecutionError("command-failed", f"the command ended with exit code {result.exit_code}, and is to stay"))
    return WorkerRefused(ExecutionError.__name__, found["code"], found["message"])


def container_code(code: int | None) -> int:
    """The exit code of a container whose code ended with one: a shell's for a signal, `NOT_STARTED` for none."""
    if code is None:
        return NOT_STARTED
    return code if code >= 0 else _SIGNAL_BASE - code


def main(store_url: str, area: str, uid: str, log_format: str = TEXT) -> NoReturn:
    """The worker's container."""
    pod, store = begin_with_store(store_url, os.environ, log_format)
    code = StayingCode(WorkArea(store, area), uid, pod)
    heed_termination(code.terminate)
    code.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
