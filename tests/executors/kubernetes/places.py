"""A home whose jobs run in the pods of a cluster in this process."""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.executors.job_datums import JobDatums
from pachyderm_dagster.executors.kubernetes.executor import KubernetesExecutor
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.model import Job, PipelineState
from pachyderm_dagster.settings import KubernetesSettings
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, WorkerSetup
from pachyderm_dagster.worker.work_area import WorkArea
from pachyderm_dagster.workspace import Workspace
from tests.executors.in_process import put
from tests.executors.kubernetes.api_server import ApiServer, Manifest
from tests.executors.kubernetes.pods_in_process import PodsInProcess

COPY = """
pipeline: {name: copy}
transform: {cmd: [in-process], image: busybox}
input: {pfs: {repo: data, glob: /*}}
parallelism_spec: {constant: 2}
"""


def upper(files: dict[str, bytes]) -> dict[str, bytes]:
    if b"bad" in files.values():
        raise ValueError("this datum is bad")
    return {path: data.upper() for path, data in files.items()}


class Place:
    """A home and a cluster."""

    def __init__(self, workspace: Workspace, server: ApiServer) -> None:
        self.workspace, self.server = workspace, server
        self.pods = PodsInProcess(server, workspace.store, upper)
        self.settings = KubernetesSettings(str(server.kubeconfig), "", "lab", "worker:1", "Never", "", "default")
        self.warnings: list[str] = []
        self.told: list[str] = []

    def executor(self) -> KubernetesExecutor:
        return KubernetesExecutor(self.workspace, self.settings, warn=self.warnings.append, tell=self.told.append)

    def due(self) -> Job:
        with self.workspace.database.read() as txn:
            return next(job for _, members in jobs.list_due_set(txn, "default") for job in members)

    def run(self) -> Job:
        with self.executor() as executor:
            return run_job(self.workspace, self.due(), executor=executor)

    def state(self) -> tuple[PipelineState, str]:
        with self.workspace.database.read() as txn:
            found = pipelines.get_pipeline(txn, RepoName("default", "copy"))
        return found.state, found.reason

    def areas(self) -> list[str]:
        return [found.key for found in self.workspace.store.list("work")]

    def area(self) -> WorkArea:
        """That of the one job, once its tasks may come."""
        wait = threading.Event()
        while not (found := [key.split("/")[1] for key in self.areas() if key.endswith("/setup")]):
            wait.wait(0.01)
        (name,) = found
        return WorkArea(self.workspace.store, name)

    def job(self) -> Manifest:
        """The Job, once it is there."""
        self.server.wait(lambda: bool(self.server.objects("jobs")))
        (found,) = self.server.objects("jobs")
        return found

    def is_clean(self) -> bool:
        return not self.server.objects("jobs") and not self.server.objects("pods") and not self.server.objects("secrets") and not self.areas()


@pytest.fixture
def place(workspace: Workspace, tmp_path: Path, create: Callable[..., None]) -> Iterator[Place]:
    with ApiServer(tmp_path) as server:
        found = Place(workspace, server)
        workspace.pfs.create_repo("data")
        put(workspace, "data@master", {"/a": b"one", "/b": b"two", "/c": b"three"})
        create(COPY)
        yield found
        found.pods.join()


@pytest.fixture
def home_of_commands(place: Place, tmp_path: Path, metadata_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands work on the home of the place. Its pods, which are threads of this process, reach a folder."""
    monkeypatch.setattr("pachyderm_dagster.settings._STORES_OF_PODS", ("file:",))
    settings = {
        "PACHYDERM_HOME": str(tmp_path / "home"),
        "PACHYDERM_METADATA_URL": metadata_url,
        "PACHYDERM_STORAGE_URL": place.workspace.settings.storage_url,
        "PACHYDERM_EXECUTOR": "kubernetes",
        "KUBECONFIG": str(place.server.kubeconfig),
        "PACHYDERM_KUBERNETES_NAMESPACE": "lab",
        "PACHYDERM_KUBERNETES_WORKER_IMAGE": "worker:1",
        "PACHYDERM_KUBERNETES_IMAGE_PULL_POLICY": "Never",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


class Running:
    """A job that runs in a thread, and how it ends."""

    def __init__(self, place: Place) -> None:
        self.ended: list[Job] = []
        self.errors: list[Exception] = []
        self._thread = threading.Thread(target=self._run, args=(place,))
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join()

    def _run(self, place: Place) -> None:
        try:
            self.ended.append(place.run())
        except Exception as error:  # noqa: BLE001  the test looks at it
            self.errors.append(error)


class Killed(BaseException):
    """The process of a driver ended."""


class DiesWithTasksWritten:
    """An executor whose process is killed when pods have their tasks."""

    def __init__(self, inner: KubernetesExecutor, place: Place) -> None:
        self._inner, self._place = inner, place

    def run(self, setup: WorkerSetup, tasks: Iterable[DatumTask], parallelism: int, job: JobDatums, /) -> Generator[DatumResult]:
        self._inner.run(setup, (), parallelism, job)
        self._place.area().write_sets([task] for task in tasks)
        raise Killed

    def stop(self) -> None:
        """It could not."""

    def restart_asked(self) -> int:
        return 0
