"""Jobs and pods of tests on a cluster: made, waited for and read."""

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from kubernetes import client, watch

_numbers = itertools.count()
LONGEST_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace and what tests do in it."""

    name: str
    core: client.CoreV1Api
    batch: client.BatchV1Api
    apps: client.AppsV1Api

    @classmethod
    def create(cls, api: client.ApiClient) -> Self:
        """Makes one of a name that no other has, and waits until pods can be made in it."""
        made = cls(f"test-{os.getpid()}-{next(_numbers)}", client.CoreV1Api(api), client.BatchV1Api(api), client.AppsV1Api(api))
        made.core.create_namespace({"metadata": {"name": made.name}})
        made._wait(made.core.list_namespaced_service_account, lambda account: account.metadata.name == "default")
        return made

    def delete(self) -> None:
        """Asks for its end; pods do not hold it up."""
        self.core.delete_namespace(self.name)

    def run_pod(self, name: str, spec: Mapping[str, Any], marks: Mapping[str, Any] | None = None) -> str:
        """Runs a pod, with labels and annotations, to its end and returns what its first container wrote; fails with it when the pod does."""
        lasting = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, **spec}
        self.core.create_namespaced_pod(self.name, {"metadata": {**(marks or {}), "name": name}, "spec": lasting})
        pod = self._wait(self.core.list_namespaced_pod, lambda pod: pod.metadata.name == name and pod.status.phase in ("Succeeded", "Failed"))
        written = self.logs(name, pod.spec.containers[0].name)
        assert pod.status.phase == "Succeeded", f"{written}\n{pod.status}"
        return written

    def run_job(self, name: str, spec: Mapping[str, Any]) -> None:
        """Runs a Job until it says that it is complete; fails with its conditions when it says that it failed."""
        self.batch.create_namespaced_job(self.name, {"metadata": {"name": name}, "spec": spec})
        job = self._wait(self.batch.list_namespaced_job, lambda job: job.metadata.name == name and bool(_ended(job)))
        assert _ended(job) == ["Complete"], job.status

    def wait_until_ready(self, name: str) -> None:
        """Until a pod takes what services send to it."""
        self._wait(self.core.list_namespaced_pod, lambda pod: pod.metadata.name == name and _is_ready(pod))

    def logs(self, pod: str, container: str) -> str:
        # Decoded here: the client makes the text of a `bytes` object of it, with its quotes.
        answer = self.core.read_namespaced_pod_log(pod, self.name, container=container, _preload_content=False)
        return bytes(answer.data).decode()

    def pods_of(self, job: str) -> Sequence[Any]:
        """The Job's pods in the order of their indexes."""
        pods = self.core.list_namespaced_pod(self.name, label_selector=f"batch.kubernetes.io/job-name={job}").items
        return sorted(pods, key=lambda pod: int(pod.metadata.annotations["batch.kubernetes.io/job-completion-index"]))

    def _wait(self, listing: Any, condition: Any) -> Any:
        """The first object for which the condition holds, now or when it changes."""
        watching = watch.Watch()
        for event in watching.stream(listing, self.name, timeout_seconds=LONGEST_SECONDS):
            if condition(event["object"]):
                watching.stop()
                return event["object"]
        pods = [(pod.metadata.name, pod.status) for pod in self.core.list_namespaced_pod(self.name).items]
        raise AssertionError(f"nothing of what was waited for in {LONGEST_SECONDS} s; the pods: {pods}")


def _ended(job: Any) -> list[str]:
    return [condition.type for condition in job.status.conditions or () if condition.type in ("Complete", "Failed") and condition.status == "True"]


def _is_ready(pod: Any) -> bool:
    return any(condition.type == "Ready" and condition.status == "True" for condition in pod.status.conditions or ())
