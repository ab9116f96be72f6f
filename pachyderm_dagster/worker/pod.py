"""The worker of a pod: `python -m pachyderm_dagster.worker.pod STORE_URL JOB INDEX POD [LOG_FORMAT]`, a container beside that of user code (docs/design/0024).

It takes datum sets from the work area of the job and has the starter run user code in the container of its image. INDEX is the completion index, POD the uid
of the pod. It is started again in its place when it is killed, and goes on with the sets of its index.
"""

import contextlib
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import msgspec

from pachyderm_dagster.coordination.etcd_address import parse_etcd_url
from pachyderm_dagster.coordination.importing import import_open_etcd
from pachyderm_dagster.errors import ExecutionError, PachydermError, UnreachableError
from pachyderm_dagster.log_lines import JSON, PACKAGE, TEXT, about, about_job, process_log, set_up
from pachyderm_dagster.storage.content import ContentReader, ContentWriter
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.worker.datums import DatumRunner, Elsewhere
from pachyderm_dagster.worker.echo import Echo, LoggedEcho
from pachyderm_dagster.worker.folders import FolderPool, empty_folder, remove_entry
from pachyderm_dagster.worker.pipe_calls import PipeCalls
from pachyderm_dagster.worker.pod_state import PodState
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, WorkerRefused, WorkerSetup
from pachyderm_dagster.worker.publish import FinishedDatum
from pachyderm_dagster.worker.sandbox import PFS, Sandbox
from pachyderm_dagster.worker.serving import Files, serve
from pachyderm_dagster.worker.set_claims import LeasedClaims, SetClaims, StoreClaims
from pachyderm_dagster.worker.set_orders import SetOrders
from pachyderm_dagster.worker.source_folder import SOURCE, write_source
from pachyderm_dagster.worker.stage import StagedDatum
from pachyderm_dagster.worker.starter import NEXT, PACH
from pachyderm_dagster.worker.starter_runner import Image, StarterGone, StarterRunner
from pachyderm_dagster.worker.work_area import AreaSetup, Claim, Death, WorkArea

ALL_DONE, REFUSED = 0, os.EX_UNAVAILABLE
"""Exit codes of user code's container: no set is left; the worker cannot go on, and said why."""
_CRASHED = 70
_MOST_VAIN_STARTS = 8
_LOOK_SECONDS = 0.5
_FLUSH_SECONDS = 5.0
_TERMINATION_LOG = "/dev/termination-log"
# This module is run as __main__, which is not below the package.
_log = logging.getLogger(f"{PACKAGE}.worker.pod")


class PodWorker:
    """The worker of one pod.

    Args:
        runner: of user code's container.
        environ: with the credentials for the etcd in which sets are claimed.
    """

    def __init__(self, area: WorkArea, claim: Claim, runner: StarterRunner, environ: Mapping[str, str], log_format: str) -> None:
        self._area, self._claim, self._runner, self._environ, self._log_format = area, claim, runner, environ, log_format
        self._state = PodState(f"{PACH}/worker")
        self._starts = self._state.count_start()
        self._orders = SetOrders(area, self._claims, told=self._state.forget_vain)
        self._coordination = ""
        self._refused = False

    def run(self) -> NoReturn:
        """Works until no set is left or user code's container ends, and waits then for the end of the pod."""
        try:
            self._work()
        except StarterGone as gone:
            self._note_end(told=gone.told)
            self._orders.close()
        except PachydermError as error:
            self.refuse(error)
        else:
            self._orders.close()
            self._runner.exit(ALL_DONE)
        while True:
            signal.pause()

    def next_task(self) -> DatumTask | None:
        return self._orders.next_task()

    def answer(self, results: Sequence[DatumResult]) -> None:
        self._orders.answer(results)

    def refuse(self, error: PachydermError) -> NoReturn:
        """Has the pod fail, and its driver know why. A store that does not answer now may do so when this worker is started again."""
        self._refused = True
        self._state.end()
        if isinstance(error, UnreachableError) and self._starts.vain < _MOST_VAIN_STARTS:
            process_log.error("%s; starting again", error)
            os._exit(os.EX_TEMPFAIL)
        with contextlib.suppress(PachydermError):
            self._area.note_refusal(self._claim.pod, WorkerRefused.of(error))
        _fail_pod(self._runner, error)

    def terminate(self) -> NoReturn:
        """Ends at once: the pod does, or this worker is to be started anew."""
        told = self._runner.was_told_to_end()
        if told is None:
            self._state.end()
        with contextlib.suppress(PachydermError):
            self._note_end(told=told is not False)
        self._orders.close(_FLUSH_SECONDS)
        os._exit(0)

    def _work(self) -> None:
        self._note_kill()
        if self._starts.vain >= _MOST_VAIN_STARTS:
            problem = f"the worker of this pod was started {self._starts.vain} times without answering a datum"
            raise ExecutionError("worker-not-started", f"{problem}; its log (`kubectl logs POD -c worker --previous`) says why")
        if not os.path.isdir(PFS) or not os.path.samefile(PFS, f"{PACH}/pfs"):
            raise ExecutionError("worker-not-started", f"{PFS} is not the folder 'pfs' of the volume at {PACH}; mount it there in the worker too")
        found = self._await_setup()
        setup, self._coordination = found.setup, found.coordination
        image = self._runner.begin()
        threading.Thread(target=self._tell, name="tell", daemon=True).start()
        reader, writer = ContentReader(self._area.store), ContentWriter(self._area.store)
        self._clear()
        source = f"{PACH}/run/{SOURCE}"
        if setup.source_files:
            write_source(setup.source_files, source, reader)
        setup = _in_image(setup, image, f"{PACH}/run")
        self._runner.accept(setup.accept_return_code)
        datums = DatumRunner(
            setup,
            Sandbox(PFS, f"{PACH}/pfs", None),
            self._runner,
            reader,
            source=source if setup.source_files else "",
            calls=self._calls(setup),
            elsewhere=Elsewhere((image.user, image.group), (PFS, source), self._runner.memory),
            listener=lambda task, _started: LoggedEcho(task.id) if self._log_format == JSON else Echo(),
        )
        pool = FolderPool(f"{PACH}/datums")
        with _about(setup):
            serve(self, _Marked(datums, self._state), Files(reader, writer, pool, PFS, links_elsewhere=True, is_bounded=setup.memory_volume))

    def _claims(self) -> SetClaims:
        if not self._coordination:
            return StoreClaims(self._area, self._claim)
        address = parse_etcd_url(self._coordination, self._environ)
        return LeasedClaims(self._area, import_open_etcd().open_claims(address, self._area.job), self._claim)

    def _await_setup(self) -> AreaSetup:
        while (setup := self._area.find_setup()) is None:
            time.sleep(_LOOK_SECONDS)
        return setup

    def _calls(self, setup: WorkerSetup) -> PipeCalls | None:
        path = os.pathsep.join([setup.environment.get("PATH", os.defpath), f"{PACH}/bin/{NEXT}"])
        return PipeCalls(f"{PACH}/run", path) if setup.datum_batching else None

    def _clear(self) -> None:
        """Removes what a worker that was killed left of its datum."""
        for path in (f"{PACH}/datums", f"{PACH}/run/{SOURCE}"):
            if os.path.lexists(path):
                remove_entry(path)
        empty_folder(f"{PACH}/pfs")

    def _tell(self) -> None:
        try:
            self._orders.tell()
        except PachydermError as error:
            self.refuse(error)

    def _note_kill(self) -> None:
        """Tells of a datum that the worker before this one ran when it was killed."""
        left = self._state.find_left()
        if left is not None:
            death = Death(self._claim.index, self._claim.pod, left.datum, left.id, "the worker was killed")
            self._area.note_death(death, restart=self._starts.all)
            self._state.end()

    def _note_end(self, *, told: bool) -> None:
        """Tells of the datum that runs when user code's container has ended."""
        running = self._state.now
        if running is not None and not self._refused:
            death = Death(
                self._claim.index, self._claim.pod, running.datum, running.id, "the pod was told to end" if told else "the container of user code ended"
            )
            (self._area.note_told if told else self._area.note_death)(death)
        self._state.end()


class _Marked:
    """Runs datums, and says in the state of the pod which one runs."""

    def __init__(self, datums: DatumRunner, state: PodState) -> None:
        self._datums, self._state = datums, state

    def run(self, staged: StagedDatum) -> FinishedDatum:
        self._state.begin(staged.task)
        with about(datum=staged.task.id):
            _log.info("the datum begins")
            try:
                finished = self._datums.run(staged)
            except PachydermError:
                self._state.end()
                raise
            result = finished.result
            _log.info("the datum ended: %s%s", result.state.name, f", {result.reason}" if result.reason else "")
        self._state.end()
        return finished

    def close(self) -> None:
        self._datums.close()


def _about(setup: WorkerSetup) -> contextlib.AbstractContextManager[None]:
    """What is logged in the block is about the job of a setup."""
    project, pipeline, job = (setup.environment.get(name, "") for name in ("PPS_PROJECT_NAME", "PPS_PIPELINE_NAME", "PACH_JOB_ID"))
    return about_job(project, pipeline, job)


def _in_image(setup: WorkerSetup, image: Image, run: str) -> WorkerSetup:
    """The setup with what the image says where the pipeline does not; `run` is a folder that both containers know."""
    folder = setup.working_dir or (f"{PFS}/{SOURCE}" if setup.source_files else "")
    environment = {**image.environment, **setup.environment}
    return msgspec.structs.replace(
        setup, environment=environment, working_dir=os.path.join(image.folder, folder), scratch=run, image="", user="", cgroups=(), terminal=False
    )


def _fail_pod(runner: StarterRunner, error: PachydermError) -> NoReturn:
    """Ends user code's container with a code that says that this is no datum's fault, and waits for the end of the pod. From any thread."""
    process_log.error("%s", error)
    with contextlib.suppress(OSError):
        Path(_TERMINATION_LOG).write_text(f"{error}\n", encoding="utf-8")
    runner.exit(REFUSED)
    while True:
        # A signal to the main thread ends this process.
        threading.Event().wait()


def _crash(error: BaseException | None) -> NoReturn:
    traceback.print_exception(error)
    os._exit(_CRASHED)


def main(store_url: str, job: str, index: int, pod: str, environ: Mapping[str, str], log_format: str = TEXT) -> NoReturn:
    """The worker's container."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = lambda _kind, error, _trace: _crash(error)
    threading.excepthook = lambda details: _crash(details.exc_value)
    os.umask(0o022)
    set_up(log_format)
    runner = StarterRunner(f"{PACH}/run")
    try:
        store = open_store(store_url)
    except PachydermError as error:
        _fail_pod(runner, error)
    worker = PodWorker(WorkArea(store, job), Claim(index, pod), runner, environ, log_format)

    def terminate(_number: int, _frame: FrameType | None) -> None:
        worker.terminate()

    signal.signal(signal.SIGTERM, terminate)
    worker.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], os.environ, *sys.argv[5:])
