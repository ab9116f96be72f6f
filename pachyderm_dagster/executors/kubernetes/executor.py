"""Runs datums in pods: one Indexed Job a pipeline job (docs/design/0024), or pods that stay between jobs where the pipeline says so (docs/design/0026)."""

import logging
import threading
import weakref
from collections.abc import Callable, Generator, Iterable
from functools import partial
from types import TracebackType
from typing import Self

from pachyderm_dagster.executors.datum_sets import choose_sets, gather, in_sets
from pachyderm_dagster.executors.job_datums import JobDatums
from pachyderm_dagster.executors.kubernetes.attempt_areas import choose_area
from pachyderm_dagster.executors.kubernetes.cluster import Cluster
from pachyderm_dagster.executors.kubernetes.cluster_secrets import copied_secrets, secret_names
from pachyderm_dagster.executors.kubernetes.commands import job_commands
from pachyderm_dagster.executors.kubernetes.gone_pods import GonePods
from pachyderm_dagster.executors.kubernetes.janitor import sweep
from pachyderm_dagster.executors.kubernetes.manifests import Pods
from pachyderm_dagster.executors.kubernetes.names import JobNames
from pachyderm_dagster.executors.kubernetes.offering import Offers, claims_url
from pachyderm_dagster.executors.kubernetes.pod_job import PodJob, PodMaker
from pachyderm_dagster.executors.kubernetes.pod_run import PodRun
from pachyderm_dagster.executors.kubernetes.starting import Starting
from pachyderm_dagster.executors.kubernetes.staying_pods import StayingPods, staying_workers
from pachyderm_dagster.executors.kubernetes.tending import tend
from pachyderm_dagster.executors.kubernetes.working_pods import WorkingPods
from pachyderm_dagster.executors.removals import Removals
from pachyderm_dagster.pfs.store_ids import find_store_id
from pachyderm_dagster.pps.model import Pipeline
from pachyderm_dagster.settings import KubernetesSettings
from pachyderm_dagster.worker.job_queue import JobQueue
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, WorkerSetup
from pachyderm_dagster.worker.work_area import WorkArea
from pachyderm_dagster.workspace import Workspace

_log = logging.getLogger(__name__)


class KubernetesExecutor:
    """Runs datums in pods; as a context manager it leaves no Job, no pod of one and no work area behind, and pods that stay without work.

    Args:
        warn: takes a line for people when pods do not start.
        tell: takes one that says how many of them work.
    """

    def __init__(
        self, workspace: Workspace, settings: KubernetesSettings, *, warn: Callable[[str], None] = _log.warning, tell: Callable[[str], None] = _log.debug
    ) -> None:
        self._workspace, self._settings, self._warn, self._tell = workspace, settings, warn, tell
        self._cluster: Cluster | None = None
        self._tend: Callable[[], None] = lambda: None
        self._runs: weakref.WeakSet[PodRun] = weakref.WeakSet()
        self._remove = Removals()
        self._lock = threading.Lock()

    def run(self, setup: WorkerSetup, tasks: Iterable[DatumTask], parallelism: int, job: JobDatums, /) -> Generator[DatumResult, None, None]:
        """Runs every task and gives each result when it is there, in any order; a pod that ends is replaced, and its tasks are done again.

        A datum with which two containers ended is FAILED and says how.

        Raises:
            InvalidError: `pod-patch-invalid`, `pod-refused`, `user-not-number`: what the pipeline says of pods cannot be.
            ExecutionError: `cluster-denied`, `pods-remain`, `pods-lost`.
            UnreachableError: `cluster-unreachable`.
            PachydermError: as `LocalExecutor.run`, from workers that cannot go on.
        """
        cluster, home = self._begin()
        names = JobNames(home, job.inputs.job)
        pipeline = job.inputs.pipeline
        etcd = self._workspace.etcd if self._settings.coordination_url else None
        url = claims_url(self._settings.coordination_url, etcd)
        maker, area = self._maker(cluster, home, names, pipeline, parallelism, url)
        gone = GonePods(area, self._workspace.database.clock.now) if pipeline.spec.autoscaling and etcd is None else None
        starting = Starting(self._workspace, cluster, pipeline, job.inputs.job, maker.name, self._warn)
        working = WorkingPods(maker.called, self._tell)
        run = PodRun(cluster, maker, area, Offers(area, etcd), starting, working, self._remove, job.is_lost, gone)
        # Before there is anything to remove: a stop in between must not be lost.
        self._runs.add(run)
        try:
            if not area.begin(setup, url):
                # The workers of an earlier driver's would not see the claims of this one's, or its layout is that of another version.
                maker.remove()
                area.remove()
                area.begin(setup, url)
            maker.begin()
        except BaseException:
            run.end(again=True)
            raise
        spec = pipeline.spec
        given = tasks if spec.datum_set_spec is not None or spec.transform.datum_batching else in_sets(tasks, choose_sets(None, job.count, parallelism))
        return run.results(gather(given))

    def stop(self) -> None:
        """Ends what runs, which gives no more results: pods of Jobs are gone then, those that stay end their datums within seconds. From any thread."""
        for run in list(self._runs):
            run.stop()

    def restart_asked(self) -> int:
        """None: a datum in a pod is not restarted by itself."""
        return 0

    def _maker(self, cluster: Cluster, home: str, names: JobNames, pipeline: Pipeline, workers: int, url: str) -> tuple[PodMaker, WorkArea]:
        """What makes so many pods for a job, and the area in which they work, claiming sets at a URL, or there. Raises InvalidError as `run`."""
        spec, secrets, settings, store = pipeline.spec, self._workspace.secrets, self._workspace.settings, self._workspace.store
        if spec.autoscaling:
            staying = staying_workers(self._workspace, self._settings, home, pipeline)
            queue = JobQueue(store, staying.name)
            area = choose_area(store, names.name, queue, url, self._workspace.database.clock.new_id())
            return StayingPods(cluster, staying, queue, area.job, workers), area
        called = secret_names(spec, secrets, names)
        pods = Pods(names, spec, self._settings, job_commands(names.name, settings.storage_url, settings.log_format), called)
        return PodJob(cluster, pods.job(workers), copied_secrets(called, secrets, names)), WorkArea(store, names.name)

    def _begin(self) -> tuple[Cluster, str]:
        """The cluster, and the id of this home on it; the first time, what crashed drivers left is removed soon, and workers without a job are looked after."""
        home = find_store_id(self._workspace.store)
        assert home is not None, "the record claims its store when it is opened"
        with self._lock:
            if self._cluster is None:
                self._cluster = Cluster(self._settings)
                self._tend = partial(tend, self._workspace, self._settings, self._cluster, home)
                # Beside the job, which needs none of it.
                self._remove(partial(sweep, self._workspace, self._cluster, home))
                self._remove(self._tend)
        return self._cluster, home

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()
        # Those whose time is over already.
        self._remove(self._tend)
        self._remove.close()
