"""Runs datums in pods: one Indexed Job a pipeline job (docs/design/0024)."""

import logging
import threading
import weakref
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Self

from pachyderm_dagster.executors.datum_sets import choose_sets, gather, in_sets
from pachyderm_dagster.executors.job_datums import JobDatums
from pachyderm_dagster.executors.kubernetes.cluster import Cluster
from pachyderm_dagster.executors.kubernetes.cluster_secrets import copied_secrets, secret_names
from pachyderm_dagster.executors.kubernetes.commands import commands_of
from pachyderm_dagster.executors.kubernetes.janitor import sweep
from pachyderm_dagster.executors.kubernetes.manifests import Pods
from pachyderm_dagster.executors.kubernetes.names import JobNames
from pachyderm_dagster.executors.kubernetes.offering import Offers, claims_url
from pachyderm_dagster.executors.kubernetes.pod_job import PodJob
from pachyderm_dagster.executors.kubernetes.pod_run import PodRun
from pachyderm_dagster.executors.kubernetes.starting import Starting
from pachyderm_dagster.executors.removals import Removals
from pachyderm_dagster.pfs.store_ids import find_store_id
from pachyderm_dagster.settings import KubernetesSettings
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, WorkerSetup
from pachyderm_dagster.worker.work_area import WorkArea
from pachyderm_dagster.workspace import Workspace

_log = logging.getLogger(__name__)


class KubernetesExecutor:
    """Runs datums in pods; as a context manager it leaves no Job, no pod and no work area behind.

    Args:
        warn: takes a line for people when pods do not start.
    """

    def __init__(self, workspace: Workspace, settings: KubernetesSettings, *, warn: Callable[[str], None] = _log.warning) -> None:
        self._workspace, self._settings, self._warn = workspace, settings, warn
        self._cluster: Cluster | None = None
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
        spec = job.inputs.pipeline.spec
        called = secret_names(spec, self._workspace.secrets, names)
        pods = Pods(names, spec, self._settings, commands_of(names.name, setup.store_url, self._workspace.settings.log_format), called)
        pod_job = PodJob(cluster, pods.job(parallelism), copied_secrets(called, self._workspace.secrets, names))
        area = WorkArea(self._workspace.store, names.name)
        starting = Starting(self._workspace, cluster, job.inputs.pipeline, names.name, self._warn)
        etcd = self._workspace.etcd if self._settings.coordination_url else None
        run = PodRun(cluster, pod_job, area, Offers(area, etcd), starting, self._remove)
        # Before there is anything to remove: a stop in between must not be lost.
        self._runs.add(run)
        try:
            url = claims_url(self._settings.coordination_url, etcd)
            if not area.begin(setup, url):
                # Its workers and those of this attempt would not see each other's claims.
                pod_job.remove()
                area.remove()
                area.begin(setup, url)
            pod_job.begin()
        except BaseException:
            run.end(again=True)
            raise
        given = tasks if spec.datum_set_spec is not None or spec.transform.datum_batching else in_sets(tasks, choose_sets(None, job.count, parallelism))
        return run.results(gather(given))

    def stop(self) -> None:
        """Ends all pods and waits until they are gone; what is being run gives no more results. From any thread."""
        for run in list(self._runs):
            run.stop()

    def restart_asked(self) -> int:
        """None: a datum in a pod is not restarted by itself."""
        return 0

    def _begin(self) -> tuple[Cluster, str]:
        """The cluster, and the id of this home on it; the first time, what crashed drivers left is removed."""
        home = find_store_id(self._workspace.store)
        assert home is not None, "the record claims its store when it is opened"
        with self._lock:
            if self._cluster is None:
                self._cluster = Cluster(self._settings)
                sweep(self._workspace, self._cluster, home)
        return self._cluster, home

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()
        self._remove.close()
