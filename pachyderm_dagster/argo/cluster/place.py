"""The pods of the runs of a home, on the cluster that its settings name."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from pachyderm_dagster.argo.cluster.area import RunArea
from pachyderm_dagster.argo.cluster.executor import ClusterExecutor
from pachyderm_dagster.argo.cluster.leavings import Leavings
from pachyderm_dagster.argo.cluster.manifests import Making, claim_manifests
from pachyderm_dagster.argo.cluster.names import RunNames
from pachyderm_dagster.argo.kept_files import locked, write_whole
from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.pod_gc import pod_gc_of
from pachyderm_dagster.argo.pods import Executor
from pachyderm_dagster.argo.run_folder import RunFolder
from pachyderm_dagster.argo.subject import Subject
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.executors.kubernetes.cluster import CLAIMS, Cluster
from pachyderm_dagster.settings import KubernetesSettings, Settings
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.open_store import open_store

MOST_PODS = 100
"""What one process follows at once."""
MARK = "on-cluster"
"""A file in the folder of a run of which there may be something on the cluster."""
_ENDED = b"ended"
"""What it holds when only that is there which stays with the run."""
_log = logging.getLogger(__name__)


class ClusterPlace:
    """A cluster, and the store that its pods reach."""

    most_pods: int | None = MOST_PODS
    has_network = True

    def __init__(self, settings: Settings, kubernetes: KubernetesSettings) -> None:
        self._argo, self._settings, self._kubernetes = settings.home / "argo", settings, kubernetes
        self._connected: tuple[Cluster, ObjectStore] | None = None

    @contextlib.asynccontextmanager
    async def _open(self, folder: Path, subject: Subject) -> AsyncIterator[Executor]:
        cluster, store = await asyncio.to_thread(self._connect)
        names = self._names(subject)
        write_whole(folder / MARK, b"open")
        await asyncio.to_thread(self._make_claims, cluster, names, subject)
        making = Making(names, self._kubernetes, self._settings.storage_url)
        area = RunArea(store, names.uid)
        sweeping = asyncio.ensure_future(asyncio.to_thread(self._sweep, Leavings(cluster, store), names.home))
        try:
            async with ClusterExecutor(folder, names.workflow, cluster, making, area, pod_gc=pod_gc_of(subject.spec)).opened() as executor:
                yield executor
        finally:
            await sweeping

    def check(self, subject: Subject) -> None:
        """Nothing: the cluster says what it does not take."""

    def opened(self, folder: Path, subject: Subject, *, network: bool) -> AbstractAsyncContextManager[Executor]:
        """As `PodPlace.opened`; pods have the network of the cluster."""
        return self._open(folder, subject)

    def end(self, folder: Path, subject: Subject, phase: Phase) -> None:
        """As `PodPlace.end`. What cannot be removed now goes with the run."""
        if not (folder / MARK).exists():
            return
        try:
            cluster, store = self._connect()
            if Leavings(cluster, store).end(self._names(subject), subject.spec, phase):
                (folder / MARK).unlink()
            else:
                write_whole(folder / MARK, _ENDED)
        except PachydermError as error:
            _log.warning("what workflow %s left on the cluster could not be removed now, and is removed with the run: %s", folder.name, error)

    def remove(self, folder: Path, subject: Subject) -> None:
        """As `PodPlace.remove`."""
        if (folder / MARK).exists():
            cluster, store = self._connect()
            Leavings(cluster, store).remove(subject.uid)

    def _connect(self) -> tuple[Cluster, ObjectStore]:
        if self._connected is None:
            self._connected = Cluster(self._kubernetes), open_store(self._settings.storage_url)
        return self._connected

    def _names(self, subject: Subject) -> RunNames:
        return RunNames(self._home_id(), subject.uid, subject.metadata.name, self._kubernetes.owner)

    def _home_id(self) -> str:
        """The id of the home's runs, by which they are told from those of other homes on the cluster."""
        place = self._argo / "id"
        with locked(self._argo / ".id.lock"):
            if not place.exists():
                write_whole(place, secrets.token_hex(16).encode())
            return place.read_text()

    def _sweep(self, leavings: Leavings, home: str) -> None:
        """Removes what was left by processes that were killed when they ended or removed a run."""
        leavings.sweep(home, self._knows)
        for mark in (self._argo / "runs").glob(f"[!.]*/{MARK}"):
            # One may be deleted meanwhile.
            with contextlib.suppress(FileNotFoundError):
                if mark.read_bytes() == _ENDED:
                    continue
                folder = RunFolder(mark.parent)
                # Whoever tries it again forgets its end, and makes pods.
                with folder.idle() as is_idle:
                    ending = folder.ending()
                    if is_idle and ending is not None:
                        self.end(folder.path, folder.subject()[0], ending.phase)

    def _knows(self, workflow: str, uid: str) -> bool:
        try:
            return RunFolder(self._argo / "runs" / workflow).subject()[0].uid == uid
        except FileNotFoundError:
            return False

    def _make_claims(self, cluster: Cluster, names: RunNames, subject: Subject) -> None:
        for manifest in claim_manifests(subject.spec.volume_claim_templates, names):
            cluster.create(CLAIMS, manifest)
