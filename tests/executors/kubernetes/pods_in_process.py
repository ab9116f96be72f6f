"""A Job controller and pods in this process: they work on the work area of a job as pods do, with a Python function as user code."""

import contextlib
import threading
from typing import Any

from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.pfs.paths import key_of
from pachyderm_dagster.storage.content import ContentReader, ContentWriter
from pachyderm_dagster.storage.file_columns import FileColumns
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, ResultState
from pachyderm_dagster.worker.work_area import Claim, WorkArea
from tests.executors.in_process import UserCode
from tests.executors.kubernetes.api_server import ApiServer, Manifest


class PodsInProcess:
    """What makes the pods of Jobs, each a thread.

    Attributes:
        gate: pods wait for it before each datum.
        starts: whether pods start; otherwise the test says what they are.
        ran: the paths of each datum that ran.
    """

    def __init__(self, server: ApiServer, store: ObjectStore, code: UserCode) -> None:
        self.server, self.store, self.code = server, store, code
        self.gate = threading.Event()
        self.gate.set()
        self.starts = True
        self.ran: list[str] = []
        self.jobs = 0
        self._ended: set[str] = set()
        self._threads: list[threading.Thread] = []
        server.on_change = self._follow

    def join(self) -> None:
        self.gate.set()
        for thread in self._threads:
            thread.join()

    def pod(self, job: Manifest, index: int, status: dict[str, Any]) -> Manifest:
        name = f"{job['metadata']['name']}-{index}"
        found = {"metadata": {"name": name, "uid": f"pod-{name}", "labels": job["metadata"]["labels"]}, "status": status}
        self.server.put("pods", found)
        return found

    def run(self, job: Manifest, index: int) -> None:
        """Starts a pod of a Job."""
        running = {"state": {"running": {}}, "restartCount": 0}
        self.pod(job, index, {"phase": "Running", "initContainerStatuses": [{"name": "worker", **running}], "containerStatuses": [{"name": "user", **running}]})
        self._threads.append(threading.Thread(target=self._live, args=(job, index), name=f"pod-{index}", daemon=True))
        self._threads[-1].start()

    def _follow(self, change: str, kind: str, found: Manifest) -> None:
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
            self._work(job, index)

    def _work(self, job: Manifest, index: int) -> None:
        area, uid = WorkArea(self.store, job["metadata"]["name"]), job["metadata"]["uid"]
        wait = threading.Event()
        done: set[int] = set()
        while uid not in self._ended:
            total = area.sets_written()
            for number in sorted(area.list_sets() - done):
                done.add(number)
                if area.claim(number, Claim(index, f"pod-{index}")):
                    answered, part = area.results_of(number)
                    left = [task for task in area.read_set(number) if task.index not in answered]
                    for task in left:
                        self.gate.wait()
                        if uid in self._ended:
                            return
                        # As the real one: what two died with is the driver's.
                        is_deadly = sum(death.datum == task.index for death in area.deaths()) > 1
                        part = area.append_results(number, part, [] if is_deadly else [self.result(task)], last=task is left[-1])
            if total is not None and len(done) == total:
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
