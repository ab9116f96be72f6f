"""Works on the datum sets of one job with the container of user code beside it: what a worker in a pod does, whether it stays for other jobs or not."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from pachyderm_dagster.coordination.etcd_address import parse_etcd_url
from pachyderm_dagster.coordination.importing import import_open_etcd
from pachyderm_dagster.errors import ExecutionError, PachydermError
from pachyderm_dagster.log_lines import PACKAGE, about
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.worker.datums import DatumRunner
from pachyderm_dagster.worker.pod_datums import datums_in_pod
from pachyderm_dagster.worker.pod_state import PodState, Starts
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask
from pachyderm_dagster.worker.publish import FinishedDatum
from pachyderm_dagster.worker.restart_requests import watch_restarts
from pachyderm_dagster.worker.sandbox import PFS
from pachyderm_dagster.worker.serving import serve
from pachyderm_dagster.worker.set_claims import LeasedClaims, SetClaims, StoreClaims
from pachyderm_dagster.worker.set_orders import USUAL_LOOKS, Looks, SetOrders
from pachyderm_dagster.worker.stage import StagedDatum
from pachyderm_dagster.worker.starter import PACH
from pachyderm_dagster.worker.starter_runner import Image, StarterRunner
from pachyderm_dagster.worker.work_area import NO_INDEX, SENT_SIGTERM, AreaSetup, Claim, Death, WorkArea

MOST_VAIN_STARTS = 8
FLUSH_SECONDS = 5.0
"""For so long a worker that is to end waits until what it did is told."""
_log = logging.getLogger(f"{PACKAGE}.worker.area_worker")


@dataclass(frozen=True, slots=True)
class InPod:
    """What a worker has in its pod.

    Attributes:
        runner: of user code's container.
        state: what it leaves for the worker that is started again in its place; `starts` counts those before this one.
        environ: with the credentials for the etcd in which sets are claimed.
    """

    runner: StarterRunner
    state: PodState
    starts: Starts
    environ: Mapping[str, str]
    log_format: str

    def check(self) -> None:
        """Whether the pod is as the worker needs it.

        Raises:
            ExecutionError: `worker-not-started`.
        """
        if not os.path.isdir(PFS) or not os.path.samefile(PFS, f"{PACH}/pfs"):
            raise ExecutionError("worker-not-started", f"{PFS} is not the folder 'pfs' of the volume at {PACH}; mount it there in the worker too")

    def check_starts(self) -> None:
        """Whether another try may help. Raises as `check`."""
        if self.starts.vain >= MOST_VAIN_STARTS:
            problem = f"the worker of this pod was started {self.starts.vain} times without answering a datum"
            raise ExecutionError("worker-not-started", f"{problem}; its log (`kubectl logs POD -c worker --previous`) says why")

    def note_kill(self, store: ObjectStore, claim: Claim) -> None:
        """Tells of a datum that the worker before this one ran when it was killed, or that had the container before this one sent SIGTERM."""
        left = self.state.find_left()
        if left is not None:
            death = Death(claim.index, claim.pod, left.datum, left.id, SENT_SIGTERM if left.told else "the worker was killed")
            WorkArea(store, left.job).note_death(death, restart=self.starts.all)
            self.state.end()


class AreaWorker:
    """The worker of one job, which hands out its datums and takes their results.

    Args:
        refuse: ends it, where it cannot go on. From any thread.
        anew: starts its process over. From any thread.
        within: makes claims ones that end with something else, too.
        looks: for a set that may come.

    Attributes:
        has_worked: whether there was a datum for it.
    """

    def __init__(
        self,
        area: WorkArea,
        claim: Claim,
        pod: InPod,
        refuse: Callable[[PachydermError], NoReturn],
        anew: Callable[[], NoReturn],
        *,
        within: Callable[[SetClaims], SetClaims] = lambda claims: claims,
        looks: Looks = USUAL_LOOKS,
    ) -> None:
        self._area, self._claim, self._pod, self._refuse, self._anew, self._within = area, claim, pod, refuse, anew, within
        self._orders = SetOrders(area, self._claims, looks=looks, told=pod.state.forget_vain)
        self._coordination = ""
        self.has_worked = False

    def work(self, found: AreaSetup, image: Image) -> None:
        """Works until no set is left; `close` tells what is not told then. Raises as `serve`, StarterGone among it."""
        self._coordination = found.coordination
        threading.Thread(target=self._tell, name="tell", daemon=True).start()
        over = threading.Event()
        watch_restarts(self._area, self._running, self._restart, over)
        try:
            with datums_in_pod(self._pod.runner, self._area.store, found.setup, image, self._pod.log_format) as (datums, files):
                serve(self, _Marked(datums, self._pod.state, self._area.job, self._orders.ran), files)
        finally:
            over.set()

    def next_task(self) -> DatumTask | None:
        task = self._orders.next_task()
        self.has_worked = self.has_worked or task is not None
        return task

    def answer(self, results: Sequence[DatumResult]) -> None:
        self._orders.answer(results)

    def refuse(self, error: PachydermError) -> NoReturn:
        self._refuse(error)

    def note_end(self, *, told: bool) -> None:
        """Tells of the datum that runs when user code's container has ended; `told`: somebody had it end."""
        running = self._pod.state.now
        if running is not None:
            how = "the pod was told to end" if told else "the container of user code ended"
            death = Death(self._claim.index, self._claim.pod, running.datum, running.id, how)
            if told and self._claim.index == NO_INDEX:
                # When another container comes in its place, that was not the end of the pod: `note_kill` blames the datum then.
                self._pod.state.note_told()
                self._area.note_told(death)
                return
            if told:
                self._area.note_told(death)
            else:
                # A pod that stays may see several such ends.
                self._area.note_death(death, restart=self._pod.starts.all + 1 if self._claim.index == NO_INDEX else 0)
        self._pod.state.end()

    def close(self, seconds: float | None = None) -> None:
        """As `SetOrders.close`."""
        self._orders.close(seconds)

    def _running(self) -> str | None:
        now = self._pod.state.now
        return None if now is None else now.id

    def _restart(self) -> NoReturn:
        """Has the worker start anew, which ends user code, and goes on with the sets that it has: with the datum that ran."""
        self._pod.state.end()
        self._pod.state.forget_vain()
        with contextlib.suppress(PachydermError):
            self.close(FLUSH_SECONDS)
        self._anew()

    def _claims(self) -> SetClaims:
        if not self._coordination:
            return self._within(StoreClaims(self._area, self._claim))
        address = parse_etcd_url(self._coordination, self._pod.environ)
        return self._within(LeasedClaims(self._area, import_open_etcd().open_claims(address, self._area.job), self._claim))

    def _tell(self) -> None:
        try:
            self._orders.tell()
        except PachydermError as error:
            self._refuse(error)


class _Marked:
    """Runs datums, and says in the state of the pod which one runs; `ran` is told which one has."""

    def __init__(self, datums: DatumRunner, state: PodState, job: str, ran: Callable[[int], None]) -> None:
        self._datums, self._state, self._job, self._ran = datums, state, job, ran

    def run(self, staged: StagedDatum) -> FinishedDatum:
        self._state.begin(self._job, staged.task)
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
        self._ran(staged.task.index)
        return finished

    def close(self) -> None:
        self._datums.close()
