"""The controllers of Jobs and Deployments, and pods, in this process: they work on work areas of jobs as pods do, with a Python function as user code."""

import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.pfs.paths import key_of
from pachyderm_dagster.storage.content import ContentReader, ContentWriter
from pachyderm_dagster.storage.file_columns import FileColumns
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.worker.job_queue import JobQueue
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, ResultState
from pachyderm_dagster.worker.work_area import NO_INDEX, Claim, WorkArea
from tests.executors.in_process import UserCode
from tests.executors.kubernetes.api_server import ApiServer, Manifest

_RUNNING = {
    "phase": "Running",
    "initContainerStatuses": [{"name": "worker", "state": {"running": {}}, "restartCount": 0}],
    "containerStatuses": [{"name": "user", "state": {"running": {}}, "restartCount": 0}],
}
_WORKERS = "pachyderm-dagster/workers-name"


class PodsInProcess:
    """What makes the pods of Jobs and Deployments, each a thread.

    Attributes:
        gate: pods wait for it before each datum.
        starts: whether pods start; otherwise the test says what they are.
        ran: the paths of each datum that ran.
        made: the uids of the pods of Deployments so far.
    """

    def __init__(self, server: ApiServer, store: ObjectStore, code: UserCode) -> None:
        self.server, self.store, self.code = server, store, code
        self.gate = threading.Event()
        self.gate.set()
        self.starts = True
        self.ran: list[str] = []
        self.made: list[str] = []
        self.jobs = 0
        self._ended: set[str] = set()
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        server.on_change = self._follow

    def join(self) -> None:
        self.gate.set()
        self._over.set()
        for thread in self._threads:
            thread.join()

    def pod(self, job: Manifest, index: int, status: dict[str, Any]) -> Manifest:
        found = _pod(job, index, status)
        self.server.put("pods", found)
        return found

    def run(self, job: Manifest, index: int) -> None:
        """Starts a pod of a Job, unless that was deleted meanwhile."""
        if self.server.put_owned("pods", _pod(job, index, _RUNNING), ("jobs", job["metadata"]["name"])):
            self._start(partial(self._live, job, index))

    def kill(self, uid: str) -> None:
        """A pod goes without a word."""
        self._ended.add(uid)
        self.server.drop("pods", next(pod["metadata"]["name"] for pod in self.server.objects("pods") if pod["metadata"]["uid"] == uid))

    def replace(self, deployment: Manifest) -> None:
        """Has the pods of a Deployment be as many as it says."""
        name = deployment["metadata"]["name"]
        there = [pod["metadata"]["uid"] for pod in self.server.objects("pods") if pod["metadata"]["labels"].get(_WORKERS) == name]
        for uid in there[deployment["spec"]["replicas"] :]:
            self.kill(uid)
        for _ in range(deployment["spec"]["replicas"] - len(there)):
            self.pod(deployment, len(self.made), _RUNNING)
            self.made.append(f"pod-{name}-{len(self.made)}")
            self._start(partial(self._stay, name, self.made[-1]))

    def _start(self, life: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=life, daemon=True))
        self._threads[-1].start()

    def _stay(self, workers: str, uid: str) -> None:
        queue, wait = JobQueue(self.store, workers), threading.Event()
        while uid not in self._ended and not self._over.is_set():
            for job in queue.jobs():
                # It has ended meanwhile.
                with contextlib.suppress(NotFoundError):
                    self._work(WorkArea(self.store, job), Claim(NO_INDEX, uid), uid, partial(queue.has, job))
            wait.wait(0.01)

    def _follow_deployment(self, change: str, found: Manifest) -> None:
        if change == "DELETED":
            self._ended |= {uid for uid in self.made if uid.startswith(f"pod-{found['metadata']['name']}-")}
        elif self.starts:
            self.replace(found)

    def _follow(self, change: str, kind: str, found: Manifest) -> None:
        if kind == "deployments":
            self._follow_deployment(change, found)
        if kind != "jobs":
            return
        if change == "DELETED":
            self._ended.add(found["metadata"]["uid"])
            return
        self.jobs += 1
        for index in range(found["spec"]["completions"] if self.starts else 0):
            self.run(found, index)

    def _live(self, job: Manifest, index: int) -> None:
        # A pod ends when it is told to; here that is when its area is gone.
        with contextlib.suppress(NotFoundError):
            self._work(WorkArea(self.store, job["metadata"]["name"]), Claim(index, f"pod-{index}"), job["metadata"]["uid"])

    def _work(self, area: WorkArea, claim: Claim, uid: str, goes_on: Callable[[], bool] | None = None) -> None:
        wait = threading.Event()
        done: set[int] = set()
        while uid not in self._ended and (goes_on is None or goes_on()):
            total = area.sets_written()
            for number in sorted(area.list_sets() - done):
                done.add(number)
                if area.claim(number, claim):
                    answered, part = area.results_of(number)
                    left = [task for task in area.read_set(number) if task.index not in answered]
                    for task in left:
                        self.gate.wait()
                        if uid in self._ended:
                            return
                        # As the real one: what two died with is the driver's.
                        is_deadly = sum(death.datum == task.index for death in area.deaths()) > 1
                        part = area.append_results(number, part, [] if is_deadly else [self.result(task)], last=task is left[-1])
            if goes_on is None and total is not None and len(done) == total:
                return
            wait.wait(0.01)

    def result(self, task: DatumTask) -> DatumResult:
        """Runs a datum."""
        reader = ContentReader(self.store)
        files = {path: reader.read(content) for file in task.inputs for path, content in file.files}
        self.ran += files
        with ContentWriter(self.store) as writer:
            try:
                made = self.code(files)
            except ValueError as error:
                return DatumResult(id=task.id, index=task.index, state=ResultState.FAILED, reason=str(error), tries=1, exit_code=1)
            outputs = FileColumns.of((key_of(path), writer.write(data)) for path, data in made.items())
        return DatumResult(id=task.id, index=task.index, state=ResultState.SUCCESS, outputs=outputs, tries=1, exit_code=0)


def _pod(owner: Manifest, index: int, status: dict[str, Any]) -> Manifest:
    name = f"{owner['metadata']['name']}-{index}"
    return {"metadata": {"name": name, "uid": f"pod-{name}", "labels": owner["metadata"]["labels"]}, "status": status}
