"""What `inspect pipeline` says of pods."""

from typing import Any

import pytest

from pachyderm_dagster.executors.kubernetes.pod_keeper import PodKeeper
from pachyderm_dagster.executors.kubernetes.shown_workers import count_workers
from pachyderm_dagster.executors.run_job import run_job
from tests.cli.pachctl import Pachctl
from tests.executors.kubernetes.places import COPY, DiesWithTasksWritten, Killed, Place, home_of_commands, place
from tests.executors.kubernetes.test_conditions import UNSCHEDULABLE, WORKS, pod, waiting

__all__ = ["home_of_commands", "place"]


def job(*, succeeded: int = 0) -> dict[str, Any]:
    return {"metadata": {"name": "edges"}, "spec": {"parallelism": 3, "completions": 4}, "status": {"succeeded": succeeded}}


@pytest.mark.parametrize(("succeeded", "wanted"), [(0, 3), (1, 3), (3, 1), (4, 0)])
def test_job_wants_no_pods_for_indexes_that_are_done(succeeded: int, wanted: int) -> None:
    assert count_workers("Job", job(succeeded=succeeded), []).wanted == wanted


def test_pods_that_work_are_counted_and_one_that_does_not_says_why() -> None:
    found = count_workers("Job", job(), [WORKS, pod(containerStatuses=[waiting("ErrImagePull", "no such image")]), pod(phase="Succeeded")])
    assert (found.running, found.problem) == (1, "container user of pod edges-0-abcde: ErrImagePull: no such image")


def test_pod_that_is_about_to_go_is_not_there_any_more() -> None:
    leaving = {**UNSCHEDULABLE, "metadata": {**UNSCHEDULABLE["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert count_workers("Job", job(), [leaving]).problem == ""


def test_deployment_that_may_make_no_pods_says_so() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}
    found = count_workers("Deployment", {"metadata": {"name": "edges"}, "spec": {"replicas": 2}, "status": {"conditions": [failure]}}, [])
    assert (found.wanted, found.running, found.problem) == (2, 0, "FailedCreate: exceeded quota")


@pytest.mark.usefixtures("home_of_commands")
class TestCommand:
    def test_pipeline_without_a_job_has_no_workers(self, place: Place, pachctl: Pachctl) -> None:
        assert pachctl.json("inspect", "pipeline", "copy")[0]["workers"] == []
        assert "Workers: none now: a job brings them" in lines(pachctl)

    @pytest.mark.parametrize(("more", "kind"), [("", "Job"), ("autoscaling: true\n", "Deployment")])
    def test_pods_of_a_job_are_shown(self, place: Place, pachctl: Pachctl, more: str, kind: str) -> None:
        pachctl("update", "pipeline", stdin=(COPY + more).encode())
        place.pods.starts = False
        with pytest.raises(Killed):
            run_job(place.workspace, place.due(), executor=DiesWithTasksWritten(place.executor(), place))
        (maker,) = place.server.objects(f"{kind.lower()}s")
        name = maker["metadata"]["name"]
        state = {"name": "user", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
        labels = maker["metadata"]["labels"]
        place.server.put("pods", {"metadata": {"name": "copy-0", "labels": labels}, "status": {"phase": "Pending", "containerStatuses": [state]}})
        problem = "container user of pod copy-0: ImagePullBackOff: no such image"
        (shown,) = pachctl.json("inspect", "pipeline", "copy")
        assert shown["workers"] == [{"kind": kind, "name": name, "wanted": 2, "running": 0, "problem": problem}]
        assert f"Workers: 0 of 2 pods run ({kind} {name}), {problem}" in lines(pachctl)

    def test_pods_of_another_pipeline_are_not(self, place: Place, pachctl: Pachctl) -> None:
        place.pods.starts = False
        with pytest.raises(Killed):
            run_job(place.workspace, place.due(), executor=DiesWithTasksWritten(place.executor(), place))
        pachctl("create", "pipeline", stdin=COPY.replace("name: copy", "name: cop").encode())
        assert pachctl.json("inspect", "pipeline", "cop")[0]["workers"] == []

    def test_pod_of_a_service_is_looked_at_and_not_only_its_record(self, place: Place, pachctl: Pachctl) -> None:
        service = COPY.replace("/*", "/").replace("name: copy", "name: web").replace("parallelism_spec: {constant: 2}", "service: {internal_port: 8080}")
        pachctl("create", "pipeline", stdin=service.encode())
        assert pachctl.json("inspect", "pipeline", "web")[0]["workers"] == []
        assert "Workers: none now: what looks after services makes one" in lines(pachctl, "web")
        place.pods.starts = False
        PodKeeper(place.workspace, place.settings).step()
        labels = place.server.objects("deployments")[0]["spec"]["template"]["metadata"]["labels"]
        state = {"name": "user", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
        place.server.put("pods", {"metadata": {"name": "web-0", "labels": labels}, "status": {"phase": "Pending", "containerStatuses": [state]}})
        (shown,) = pachctl.json("inspect", "pipeline", "web")
        problem = "container user of pod web-0: ImagePullBackOff: no such image"
        assert shown["workers"] == [{"kind": "Deployment", "name": "pipeline-default-web", "wanted": 1, "running": 0, "problem": problem}]
        assert shown["process"]["runs"] is False
        assert f"Workers: 0 of 1 pods run (Deployment pipeline-default-web), {problem}" in lines(pachctl, "web")
        place.server.put("pods", {"metadata": {"name": "web-0", "labels": labels}, "status": WORKS["status"]})
        (shown,) = pachctl.json("inspect", "pipeline", "web")
        assert (shown["process"]["runs"], shown["workers"][0]["running"], shown["workers"][0]["problem"]) == (True, 1, "")

    def test_service_of_which_the_cluster_says_nothing_is_not_said_to_run(self, place: Place, pachctl: Pachctl) -> None:
        pachctl("update", "pipeline", stdin=COPY.replace("parallelism_spec: {constant: 2}", "service: {internal_port: 8080}").encode())
        place.server.refuse_kind["deployments"] = 403
        assert pachctl("inspect", "pipeline", "copy", "-o", "json").document["process"]["runs"] is None

    def test_cluster_that_does_not_answer_keeps_nothing_from_being_shown(self, place: Place, pachctl: Pachctl) -> None:
        place.server.refuse_kind["jobs"] = 403
        shown = pachctl("inspect", "pipeline", "copy", "-o", "json")
        assert (shown.document["workers"], shown.document["name"]) == (None, "copy")
        assert "note: the cluster does not say how its workers are: " in shown.err


def lines(pachctl: Pachctl, pipeline: str = "copy") -> list[str]:
    return [" ".join(line.split()) for line in pachctl("inspect", "pipeline", pipeline).out.splitlines()]
