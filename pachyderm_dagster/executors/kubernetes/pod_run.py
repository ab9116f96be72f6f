"""One attempt at the datums of a job in pods: from its tasks to their results."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

import msgspec

from pachyderm_dagster.errors import ExecutionError, PachydermError
from pachyderm_dagster.executors.kubernetes.cluster import PODS, Cluster
from pachyderm_dagster.executors.kubernetes.conditions import JobEnd, find_deadly, how_ended, is_ended_from_within, is_evicted_for_disk, restarts
from pachyderm_dagster.executors.kubernetes.given_tasks import GivenTasks
from pachyderm_dagster.executors.kubernetes.gone_pods import GonePods
from pachyderm_dagster.executors.kubernetes.offering import Offers
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.executors.kubernetes.pod_job import PodMaker
from pachyderm_dagster.executors.kubernetes.starting import Starting
from pachyderm_dagster.executors.kubernetes.watching import Watched
from pachyderm_dagster.executors.kubernetes.working_pods import WorkingPods
from pachyderm_dagster.worker.deaths import Deaths
from pachyderm_dagster.worker.protocol import MOST_DEATHS_OF_A_DATUM, DatumResult, DatumTask, ResultState
from pachyderm_dagster.worker.results_reader import ResultsReader
from pachyderm_dagster.worker.work_area import SENT_SIGTERM, Death, WorkArea

MOST_VAIN_JOBS = 2
"""So many Jobs more are made for what pods left, when the ones before gave no result at all. What makes pods that stay does not end."""
LOOK_SECONDS = 1.0
"""How often results are looked for, and that is more often at first."""
_FIRST_LOOK_SECONDS = 0.05
_LOOK_GROWTH = 1.1
_REFUSAL_SECONDS = 3.0
"""How often it is looked for what no container's end tells: why the worker of a pod that stays cannot go on."""
_DEATH_SECONDS = 20.0
"""For so long after a container ended it is looked for what its worker, or the next one, says of it."""

_log = logging.getLogger(__name__)


class PodRun:
    """The attempt, of which `results` is asked for once.

    Args:
        maker: of its pods.
        offers: of the sets, where workers claim them in etcd.
        gone: frees what pods had, where nothing else does.
        starting, working: are told of the pods.
        remove: calls something soon, in another thread.
        is_lost: whether another driver may have the job, which goes on with what is there of it: nothing is removed then.
    """

    def __init__(
        self,
        cluster: Cluster,
        maker: PodMaker,
        area: WorkArea,
        offers: Offers,
        starting: Starting,
        working: WorkingPods,
        remove: Callable[[Callable[[], None]], object],
        is_lost: Callable[[], bool],
        gone: GonePods | None = None,
    ) -> None:
        self._cluster, self._maker, self._area, self._offers, self._starting, self._remove = cluster, maker, area, offers, starting, remove
        self._working, self._is_lost, self._gone = working, is_lost, gone
        self._changed = threading.Event()
        self._stopped = False
        self._is_removed = False
        self._lock = threading.Lock()
        self._deaths = Deaths(area)
        self._ends: dict[str, Manifest] = {}
        self._noted: set[str] = set()
        self._seen: set[tuple[str, int, bool]] = set()
        self._heed_until, self._heed_next = 0.0, time.monotonic() + _REFUSAL_SECONDS
        self._vain_jobs = 0
        self._left_before = sys.maxsize

    def results(self, sets: Iterable[Sequence[DatumTask]]) -> Generator[DatumResult, None, None]:
        """Writes the tasks and gives a result for each. At its end no pod works for it, or soon none will: where it ended well, or pods stay."""
        tasks = GivenTasks(self._area, sets, self._offers.add, self._changed.set)
        is_adopted = bool(self._area.list_sets())
        ended_well = False
        try:
            if is_adopted and self._gone is not None:
                self._gone.begin()
            kind, labels = self._maker.kind, self._maker.labels
            with Watched(self._cluster, PODS, labels, self._changed.set) as pods, Watched(self._cluster, kind, labels, self._changed.set) as makers:
                if not is_adopted:
                    # Of a job of this name whose end was cut off.
                    self._offers.remove()
                tasks.start()
                if is_adopted:
                    # Their results may be there before it is known that they are asked for.
                    tasks.join()
                yield from self._follow(tasks, pods, makers)
            ended_well = not self._stopped
        finally:
            tasks.interrupt()
            if ended_well:
                self._starting.ended_well()
                if not self._is_lost():
                    self._remove(self._take_away)
            else:
                self.end(again=True)

    def stop(self) -> None:
        """Has no pod work for the job, from any thread: pods of a Job are gone then, those that stay leave it within seconds."""
        self._stopped = True
        self._changed.set()
        self.end()

    def end(self, *, again: bool = False) -> None:
        """Removes what is there for the job, once, or `again` for what was made since a stop. What cannot be removed now is told, and is the janitor's."""
        if self._is_lost():
            if self._is_removed:
                return
            _log.warning("job %s may be driven by another process by now, which goes on with its pods", self._area.job)
        else:
            self._take_away(again=again)

    def _take_away(self, *, again: bool = False) -> None:
        with self._lock:
            if self._is_removed and not again:
                return
            try:
                self._maker.remove()
                self._offers.remove()
                self._area.remove()
                self._is_removed = True
            except PachydermError as error:
                _log.warning("what job %s left could not be removed; a later one does it: %s", self._area.job, error)

    def _follow(self, tasks: GivenTasks, pods: Watched, makers: Watched) -> Iterator[DatumResult]:
        reader = ResultsReader(self._area)
        wait = _FIRST_LOOK_SECONDS
        while not self._stopped:
            self._changed.clear()
            # Before the results: what a Job that has ended gave is there then.
            found, there = pods.objects(), makers.objects()
            for result in reader.new():
                if tasks.answer(result.index):
                    yield result
            if tasks.is_done:
                return
            if found is not None and there is not None:
                yield from self._look(tasks, found, there)
            self._offers.look()
            self._changed.wait(wait)
            wait = min(wait * _LOOK_GROWTH, LOOK_SECONDS)

    def _look(self, tasks: GivenTasks, pods: Sequence[Manifest], makers: Sequence[Manifest]) -> Iterator[DatumResult]:
        """Acts on what the cluster says.

        Raises:
            PachydermError: what a worker refused to go on for.
            ExecutionError: `pods-lost`, when there will be no more results.
        """
        now = time.monotonic()
        self._starting.look(pods, makers)
        self._working.look(pods, makers, now)
        if self._is_news(pods):
            self._heed_until = now + _DEATH_SECONDS
        if now < self._heed_until or now >= self._heed_next:
            self._heed_next = now + _REFUSAL_SECONDS
            for _, refused in self._area.refusals():
                raise refused.error()
            yield from self._bury(tasks)
        if self._gone is not None:
            self._gone.look(pods)
        ended = self._maker.end_seen(makers)
        if ended is None:
            return
        for result in ResultsReader(self._area).new():
            if tasks.answer(result.index):
                yield result
        yield from self._bury(tasks)
        if not tasks.is_done and not self._go_on(ended, tasks.open):
            last = "".join(f"; pod {pod['metadata']['name']}: {how_ended(pod)}" for pod in list(self._ends.values())[-1:])
            how = f"{self._maker.called} {ended.how}"
            raise ExecutionError("pods-lost", f"{how}, and {tasks.open:,} datums have no result{last}; the next try goes on from there")

    def _go_on(self, ended: JobEnd, left: int) -> bool:
        """Has what makes pods made anew for what is left, where another may do better; whether it did, or the attempt is over."""
        if left < self._left_before:
            self._left_before, self._vain_jobs = left, 0
        if not ended.may_pass or self._vain_jobs >= MOST_VAIN_JOBS:
            return False
        self._vain_jobs += 1
        _log.warning("%s %s; another one runs the %s datums that are left", self._maker.called, ended.how, f"{left:,}")
        with self._lock:
            if not self._stopped:
                self._maker.begin()
        return True

    def _is_news(self, pods: Sequence[Manifest]) -> bool:
        """Whether a container ended since the last look; remembers the pods in which one did."""
        ends = {(pod["metadata"]["uid"], restarts(pod), pod["status"].get("phase") == "Failed") for pod in pods}
        news = {end for end in ends - self._seen if end[1] or end[2]}
        self._seen |= ends
        for pod in pods:
            if pod["metadata"]["uid"] in {uid for uid, _, _ in news}:
                self._ends[pod["metadata"]["uid"]] = pod
        return bool(news)

    def _bury(self, tasks: GivenTasks) -> Iterator[DatumResult]:
        """Fails the datums that two containers died with."""
        self._noted |= note_deaths(self._area, (pod for uid, pod in self._ends.items() if uid not in self._noted))
        deaths: dict[int, list[Death]] = {}
        for death in self._deaths.look():
            deaths.setdefault(death.datum, []).append(death)
        for index, found in deaths.items():
            if len(found) >= MOST_DEATHS_OF_A_DATUM and tasks.answer(index):
                yield DatumResult(id=found[0].id, index=index, state=ResultState.FAILED, reason=str(self._reason(found)), tries=len(found))

    def _reason(self, deaths: Sequence[Death]) -> ExecutionError:
        """Why a datum failed that containers died with, as the newest pod of which something is known says."""
        known = [found for death in deaths if death.pod in self._ends and (found := find_deadly(self._ends[death.pod])) is not None]
        return known[-1] if known else ExecutionError("worker-died", f"twice a container ended while it ran this datum; the last time {deaths[-1].how}")


def note_deaths(area: WorkArea, ended: Iterable[Manifest]) -> set[str]:
    """Blames the datums that pods ran which were told to end, where the status of the pod says that it was the datum's fault; the uids of these pods."""
    blamed: set[str] = set()
    for pod in ended:
        uid, is_from_within = pod["metadata"]["uid"], is_ended_from_within(pod)
        if (is_from_within or is_evicted_for_disk(pod)) and (told := area.find_told(uid)) is not None:
            # Also of an end that was noted already: nothing is overwritten.
            area.note_death(msgspec.structs.replace(told, how=SENT_SIGTERM) if is_from_within else told)
            blamed.add(uid)
    return blamed
