"""Stands in for the workers of a job whose pods are simulated: answers the datum sets of its work area as they do, many workers in one process.

`python -m benchmarks.simulated_workers STORE_URL JOB WORKERS`; KUBECONFIG names the cluster. A set is claimed, read and answered in two parts, each datum
with one small file that it wrote. A worker that finds no set has its pod end.
"""

import contextlib
import os
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.executors.kubernetes.cluster import PODS, Cluster
from pachyderm_dagster.executors.kubernetes.names import JOB_LABEL
from pachyderm_dagster.settings import load_cluster
from pachyderm_dagster.storage.content import Content, ContentWriter
from pachyderm_dagster.storage.file_columns import FileColumns
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.worker.protocol import DatumResult, DatumTask, ResultState
from pachyderm_dagster.worker.set_claims import StoreClaims
from pachyderm_dagster.worker.work_area import Claim, WorkArea

THREADS, PARTS, LOOK_SECONDS = 8, 2, 0.5
ENDED = "benchmark/ended"
"""The annotation by which the simulated node is told that a pod's containers ended."""


@dataclass(slots=True)
class Simulated:
    """One worker, in the pod of a completion index."""

    area: WorkArea
    index: int
    pod: str
    content: Content
    claims: StoreClaims

    def work(self) -> bool:
        """Answers a set; false when none is left. Waits for the next one where the driver still writes them."""
        while (number := self.claims.take()) is None:
            if not self.claims.may_come():
                return False
            time.sleep(LOOK_SECONDS)
        tasks = self.area.read_set(number)
        size = -(-len(tasks) // PARTS)
        for part, start in enumerate(range(0, len(tasks), size)):
            results = [self._answer(task) for task in tasks[start : start + size]]
            self.area.append_results(number, part, results, last=start + size >= len(tasks))
        return True

    def _answer(self, task: DatumTask) -> DatumResult:
        outputs = FileColumns.of([(task.inputs[0].path.removeprefix("/"), self.content)])
        return DatumResult(id=task.id, index=task.index, state=ResultState.SUCCESS, exit_code=0, tries=1, outputs=outputs, process_seconds=0.01)


def main(store_url: str, job: str, count: int) -> None:
    """Works until no set is left."""
    area = WorkArea(open_store(store_url), job)
    cluster = Cluster(load_cluster(os.environ))
    with ContentWriter(area.store) as writer:
        content = writer.write(b"what each datum wrote\\n")
    begun: set[str] = set()
    waiting: deque[Simulated] = deque()

    def turn(worker: Simulated) -> None:
        if worker.work():
            waiting.append(worker)
            return
        # The driver removes the pods as soon as it has every result.
        with contextlib.suppress(NotFoundError):
            cluster.patch(PODS, worker.pod, {"metadata": {"annotations": {ENDED: "true"}}})

    while area.find_setup() is None:
        time.sleep(LOOK_SECONDS)
    with ThreadPoolExecutor(THREADS) as pool:
        while len(begun) < count or waiting:
            for pod in cluster.list(PODS, labels=f"{JOB_LABEL}={job}", fields="status.phase=Running")["items"] if len(begun) < count else []:
                name, index = pod["metadata"]["name"], int(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])
                if name not in begun:
                    begun.add(name)
                    waiting.append(Simulated(area, index, name, content, StoreClaims(area, Claim(index, pod["metadata"]["uid"]))))
            turns = [waiting.popleft() for _ in range(len(waiting))]
            list(pool.map(turn, turns))
            if not turns:
                time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
