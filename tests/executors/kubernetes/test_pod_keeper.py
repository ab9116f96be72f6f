"""Services in pods, against an API server in this process: what is made, changed, scaled and removed, and what the record says of it."""

import dataclasses
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.executors.kubernetes.cluster import Cluster
from pachyderm_dagster.executors.kubernetes.janitor import sweep
from pachyderm_dagster.executors.kubernetes.pod_keeper import PodKeeper
from pachyderm_dagster.executors.kubernetes.tending import tend_home
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.store_ids import find_store_id
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.deletion import delete_pipelines
from pachyderm_dagster.pps.model import Job, JobState, PipelineState
from pachyderm_dagster.pps.secret_store import Secret, SecretStore
from pachyderm_dagster.worker.protocol import WorkerRefused
from pachyderm_dagster.worker.work_area import WorkArea
from tests.executors.in_process import put
from tests.executors.kubernetes.api_server import Manifest
from tests.executors.kubernetes.places import Place, place

__all__ = ["place"]
WEB = RepoName("default", "web")
NAME = "pipeline-default-web"
SERVICE = """
pipeline: {name: web}
transform: {cmd: [serve], image: web-server}
input: {pfs: {repo: data, glob: /}}
service: {internal_port: 8080, external_port: 30080}
"""
RUNNING: Manifest = {"phase": "Running", "containerStatuses": [{"name": "user", "state": {"running": {}}}]}


@pytest.fixture(autouse=True)
def web(place: Place, create: Callable[..., None]) -> None:
    create(SERVICE)


class Kept:
    """The keeper, and what there is of the service."""

    def __init__(self, place: Place) -> None:
        self.place, self.lines, self.now = place, list[str](), 0.0
        self.keeper = self.another()

    def another(self, **more: Any) -> PodKeeper:
        return PodKeeper(self.place.workspace, self.place.settings, tell=self.lines.append, monotonic=lambda: self.now, **more)

    def step(self) -> None:
        self.now += 100.0
        self.keeper.step()

    def deployments(self) -> list[Manifest]:
        return self.place.server.objects("deployments")

    @property
    def deployment(self) -> Manifest:
        (found,) = self.deployments()
        return found

    @property
    def service(self) -> Manifest:
        (found,) = self.place.server.objects("services")
        return found

    def roll_out(self) -> None:
        """As the Deployment controller says it when the new pod is ready and no other is left."""
        found = self.deployment
        count = found["spec"]["replicas"]
        found["status"] = {
            "observedGeneration": found["metadata"].get("generation", 1),
            "replicas": count,
            "updatedReplicas": count,
            "availableReplicas": count,
        }
        self.place.server.put("deployments", found)

    def area(self) -> WorkArea:
        return WorkArea(self.place.workspace.store, self.deployment["metadata"]["annotations"]["pachyderm-dagster/area"])

    def jobs(self) -> list[Job]:
        """The newest first."""
        with self.place.workspace.database.read() as txn:
            return jobs.list_job(txn, pipeline=WEB)

    def states(self) -> list[JobState]:
        return [job.state for job in self.jobs()]

    def state(self) -> tuple[PipelineState, str]:
        with self.place.workspace.database.read() as txn:
            found = pipelines.get_pipeline(txn, WEB)
        return found.state, found.reason


@pytest.fixture
def kept(place: Place) -> Kept:
    return Kept(place)


def test_service_runs_the_newest_commit_and_its_job_runs_when_the_pod_is_ready(kept: Kept) -> None:
    kept.step()
    (job,) = kept.jobs()
    assert job.state is JobState.STARTING
    spec = kept.deployment["spec"]
    assert (spec["replicas"], spec["strategy"]["rollingUpdate"]) == (1, {"maxSurge": 1, "maxUnavailable": 0})
    user = spec["template"]["spec"]["containers"][0]
    assert (user["image"], user["readinessProbe"]["tcpSocket"]) == ("web-server", {"port": 8080})
    area = kept.area()
    assert spec["template"]["spec"]["initContainers"][1]["command"][-2:] == [area.job, "$(POD_UID)"]
    setup = area.find_setup()
    (task,) = area.read_set(0)
    assert setup is not None and setup.setup.environment["PACH_SERVICE_HOST"] == "0.0.0.0"
    assert setup.setup.environment["PACH_JOB_ID"] == job.id
    assert [path for path, _ in task.inputs[0].files] == ["/a", "/b", "/c"]
    kept.roll_out()
    kept.step()
    assert kept.states() == [JobState.RUNNING]


def test_clients_find_it_by_a_service_of_the_type_and_ports_of_the_specification(kept: Kept, create: Callable[..., None]) -> None:
    kept.step()
    found = kept.service
    assert found["metadata"]["name"] == NAME
    assert found["spec"]["type"] == "NodePort"
    assert found["spec"]["ports"] == [{"name": "user-port", "port": 30080, "targetPort": 8080, "nodePort": 30080}]
    assert found["metadata"]["ownerReferences"][0]["uid"] == kept.deployment["metadata"]["uid"]
    (selector,) = found["spec"]["selector"].items()
    assert selector in kept.deployment["spec"]["template"]["metadata"]["labels"].items()
    found["spec"]["clusterIP"] = "10.0.0.7"
    kept.place.server.put("services", found)
    more = "metadata: {annotations: {team: a}}\n"
    create(SERVICE.replace("external_port: 30080", "external_port: 80, type: LoadBalancer, ip: 192.0.2.1") + more, update=True)
    kept.step()
    spec = kept.service["spec"]
    assert (spec["type"], spec["loadBalancerIP"], spec["clusterIP"]) == ("LoadBalancer", "192.0.2.1", "10.0.0.7")
    assert spec["ports"] == [{"name": "user-port", "port": 80, "targetPort": 8080}]
    assert kept.service["metadata"]["annotations"]["team"] == "a"
    create(SERVICE.replace("external_port: 30080", "type: ClusterIP, ip: 10.0.0.8"), update=True)
    kept.step()
    assert (kept.service["spec"]["clusterIP"], kept.service["spec"]["ports"][0]["port"]) == ("10.0.0.8", 8080)


def test_next_commit_takes_the_place_of_the_one_before_when_its_pod_is_ready(kept: Kept, clock: ManualClock) -> None:
    kept.step()
    kept.roll_out()
    kept.step()
    before = kept.deployment
    put(kept.place.workspace, "data@master", {"/d": b"four"})
    kept.step()
    after = kept.deployment
    assert (after["metadata"]["uid"], after["metadata"]["generation"]) == (before["metadata"]["uid"], 2)
    kept.step()
    assert kept.states() == [JobState.STARTING, JobState.RUNNING]
    clock.advance(dt.timedelta(days=36500))
    kept.roll_out()
    kept.step()
    assert kept.states() == [JobState.RUNNING, JobState.SUCCESS]
    assert {key.split("/")[1] for key in kept.place.areas()} == {kept.area().job}


def test_nothing_changes_as_long_as_nothing_is_wanted(kept: Kept) -> None:
    kept.step()
    kept.roll_out()
    kept.step()
    asked = len(kept.place.server.asked)
    kept.keeper.step()
    assert len(kept.place.server.asked) == asked
    kept.step()
    assert {method for method, _ in kept.place.server.asked[asked:]} == {"GET"}


def test_another_keeper_goes_on_where_one_was_killed(kept: Kept) -> None:
    kept.place.server.refuse["POST"] = 500
    kept.step()
    assert not kept.deployments()
    del kept.place.server.refuse["POST"]
    kept.another().step()
    kept.roll_out()
    kept.another().step()
    assert kept.states() == [JobState.RUNNING]
    assert {key.split("/")[1] for key in kept.place.areas()} == {kept.area().job}


def test_deployment_that_was_changed_meanwhile_is_looked_at_again(kept: Kept) -> None:
    kept.step()
    put(kept.place.workspace, "data@master", {"/d": b"four"})
    newest = kept.jobs()[0].id
    kept.place.server.refuse["PUT"] = 409
    kept.step()
    assert not kept.deployment["metadata"]["annotations"]["pachyderm-dagster/serves"].endswith(newest)
    del kept.place.server.refuse["PUT"]
    kept.step()
    assert kept.deployment["metadata"]["annotations"]["pachyderm-dagster/serves"].endswith(newest)


def test_stopped_pipeline_has_no_pod_and_keeps_its_service(kept: Kept) -> None:
    kept.step()
    kept.place.workspace.database.write(lambda txn: pipelines.stop_pipeline(txn, WEB))
    kept.step()
    assert (kept.deployment["spec"]["replicas"], len(kept.place.server.objects("services"))) == (0, 1)
    kept.place.workspace.database.write(lambda txn: pipelines.start_pipeline(txn, WEB))
    kept.step()
    assert kept.deployment["spec"]["replicas"] == 1


def test_stopped_job_has_no_pod(kept: Kept) -> None:
    kept.step()
    (job,) = kept.jobs()
    kept.place.workspace.database.write(lambda txn: jobs.stop(txn, job, reason="a user stopped it"))
    kept.step()
    assert kept.deployment["spec"]["replicas"] == 0


def test_update_of_the_pipeline_replaces_the_pod(kept: Kept, create: Callable[..., None]) -> None:
    kept.step()
    create(SERVICE.replace("web-server", "web-server:2"), update=True)
    kept.step()
    assert kept.deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "web-server:2"
    assert kept.deployment["metadata"]["labels"]["pachyderm-dagster/version"] == "2"


def test_deleted_pipeline_leaves_nothing(kept: Kept) -> None:
    kept.step()
    kept.place.workspace.database.write(lambda txn: delete_pipelines(txn, [WEB]))
    kept.another().step()
    assert not kept.deployments() and not kept.place.server.objects("services") and not kept.place.areas()


def test_workers_of_other_pipelines_are_looked_after_beside_it(kept: Kept) -> None:
    kept.step()
    tend_home(kept.place.workspace, kept.place.settings)
    assert kept.deployment["metadata"]["name"] == NAME


def test_job_that_cannot_be_served_ends_and_the_one_before_is_served(kept: Kept, create: Callable[..., None]) -> None:
    kept.step()
    kept.roll_out()
    kept.step()
    before = kept.deployment["metadata"]["annotations"]
    create(SERVICE.replace("glob: /}", "glob: /*}"), update=True)
    kept.step()
    assert kept.jobs()[0].state is JobState.FAILURE
    assert "3 datums" in kept.jobs()[0].reason
    kept.step()
    assert kept.deployment["metadata"]["annotations"] == before
    assert kept.deployment["spec"]["replicas"] == 1


def test_update_that_waits_for_an_open_commit_leaves_what_is_served(kept: Kept, create: Callable[..., None]) -> None:
    kept.step()
    kept.roll_out()
    kept.step()
    kept.place.workspace.pfs.start_commit("data@master")
    create(SERVICE.replace("web-server", "web-server:2"), update=True)
    kept.step()
    kept.step()
    assert kept.deployment["spec"]["replicas"] == 1
    kept.place.workspace.pfs.finish_commit("data@master")
    kept.step()
    assert kept.deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "web-server:2"


def test_pod_that_does_not_start_makes_the_pipeline_crashing_until_it_does(kept: Kept) -> None:
    kept.step()
    waiting = {"name": "user", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    pod = pod_of(kept.deployment, {"phase": "Pending", "containerStatuses": [waiting]})
    kept.place.server.put("pods", pod)
    kept.step()
    assert kept.state() == (PipelineState.CRASHING, "container user of pod web-1: ImagePullBackOff: no such image")
    assert kept.states() == [JobState.STARTING]
    kept.place.server.put("pods", pod_of(kept.deployment, RUNNING))
    kept.roll_out()
    kept.step()
    assert kept.state()[0] is PipelineState.RUNNING


def test_last_words_of_code_that_ends_are_the_reason(kept: Kept) -> None:
    kept.step()
    waiting = {"name": "user", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}
    pod = pod_of(kept.deployment, {"phase": "Running", "containerStatuses": [waiting]})
    kept.place.server.put("pods", pod)
    for words in ("first", "no such port"):
        kept.area().note_last(pod["metadata"]["uid"], WorkerRefused("ExecutionError", "command-failed", words))
    kept.step()
    assert kept.state() == (PipelineState.CRASHING, "no such port [command-failed]")


def test_last_words_of_a_pod_that_ended_long_ago_are_not_why_the_next_one_finds_no_node(kept: Kept) -> None:
    kept.step()
    kept.place.server.put("pods", pod_of(kept.deployment, {"phase": "Failed"}))
    kept.area().note_last("pod-1", WorkerRefused("ExecutionError", "command-failed", "no such port"))
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    next_one = pod_of(kept.deployment, {"phase": "Pending", "conditions": [unschedulable]})
    next_one["metadata"] |= {"name": "web-2", "uid": "pod-2"}
    kept.place.server.put("pods", next_one)
    kept.step()
    assert kept.state() == (PipelineState.CRASHING, "pod web-2 finds no node: 0/1 nodes")


def test_pods_of_the_commit_before_say_nothing_of_the_next_one(kept: Kept) -> None:
    kept.step()
    waiting = {"name": "user", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}
    kept.place.server.put("pods", pod_of(kept.deployment, {"phase": "Running", "containerStatuses": [waiting]}))
    put(kept.place.workspace, "data@master", {"/d": b"four"})
    kept.step()
    assert kept.state()[0] is PipelineState.RUNNING


def test_what_the_cluster_does_not_take_is_told_in_the_state(kept: Kept) -> None:
    kept.place.server.refuse_kind["services"] = 422
    kept.step()
    state, reason = kept.state()
    assert (state, "pod-refused" in reason) == (PipelineState.CRASHING, True)
    kept.place.server.refuse_kind.clear()
    kept.roll_out()
    kept.step()
    assert kept.state()[0] is PipelineState.RUNNING
    assert kept.service["metadata"]["name"] == NAME


@pytest.mark.parametrize("kind", ["deployments", "services"])
def test_name_that_is_taken_is_left_alone(kept: Kept, kind: str) -> None:
    kept.place.server.put(kind, {"metadata": {"name": NAME, "labels": {}}, "spec": {}})
    kept.step()
    state, reason = kept.state()
    assert (state, "not ours" in reason) == (PipelineState.CRASHING, True)
    (found,) = kept.place.server.objects(kind)
    assert found["spec"] == {}


def test_pipeline_whose_name_is_the_same_on_kubernetes_is_refused_beside_it(kept: Kept, create: Callable[..., None]) -> None:
    kept.step()
    create(SERVICE.replace("name: web", "name: Web"))
    kept.step()
    assert "of pipeline 'web'" in "".join(kept.lines)
    assert kept.deployment["metadata"]["annotations"]["pachyderm-dagster/kept"] == "web"


def test_pipeline_takes_the_name_on_kubernetes_of_one_that_is_gone(kept: Kept, create: Callable[..., None]) -> None:
    kept.step()
    kept.place.workspace.database.write(lambda txn: delete_pipelines(txn, [WEB]))
    create(SERVICE.replace("name: web", "name: Web"))
    kept.step()
    kept.step()
    assert kept.deployment["metadata"]["annotations"]["pachyderm-dagster/kept"] == "Web"
    assert "service-name-taken" not in "".join(kept.lines)
    assert kept.area().layout() is not None


@pytest.mark.parametrize("is_served", [True, False])
def test_processes_whose_settings_differ_do_not_take_turns(kept: Kept, is_served: bool) -> None:
    kept.step()
    if is_served:
        kept.roll_out()
    workspace = kept.place.workspace
    other = dataclasses.replace(workspace, settings=dataclasses.replace(workspace.settings, log_format="json"))
    settings = dataclasses.replace(kept.place.settings, worker_image="worker:2", pull_policy="Always")
    found = kept.deployment["spec"]
    PodKeeper(other, settings, tell=kept.lines.append).step()
    assert kept.deployment["spec"] == found
    put(workspace, "data@master", {"/d": b"four"})
    PodKeeper(other, settings, tell=kept.lines.append).step()
    assert kept.deployment["spec"]["template"]["spec"]["initContainers"][1]["image"] == "worker:2"


def test_area_that_is_lost_is_written_again_when_its_pod_is_not_ready(kept: Kept) -> None:
    kept.step()
    kept.roll_out()
    kept.step()
    kept.area().remove()
    broken = kept.deployment
    broken["status"]["availableReplicas"] = 0
    kept.place.server.put("deployments", broken)
    kept.step()
    assert kept.area().layout() is not None
    assert kept.deployment["metadata"]["annotations"] == broken["metadata"]["annotations"]


def test_area_of_an_earlier_layout_gives_way_to_one_of_this(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.step()
    before = kept.area()
    monkeypatch.setattr("pachyderm_dagster.executors.kubernetes.kept_code.LAYOUT", 2)
    kept.step()
    assert kept.area().job != before.job


def test_areas_of_services_are_of_somebody_for_an_account_that_may_not_list_deployments(kept: Kept, clock: ManualClock) -> None:
    kept.step()
    clock.advance(dt.timedelta(days=36500))
    kept.place.server.refuse_kind["deployments"] = 403
    sweep(kept.place.workspace, Cluster(kept.place.settings), find_store_id(kept.place.workspace.store) or "")
    assert kept.area().layout() is not None


def test_keeper_of_some_leaves_others_alone(kept: Kept) -> None:
    kept.another(names={RepoName("default", "other")}).step()
    assert not kept.deployments()
    kept.step()
    kept.another(names={RepoName("default", "other")}).step()
    assert kept.deployment["spec"]["replicas"] == 1


def test_secrets_are_copied_and_owned_and_new_ones_replace_the_pod(kept: Kept, create: Callable[..., None], clock: ManualClock) -> None:
    store = kept.place.workspace.secrets
    store.create(Secret(name="own", created=clock.now(), data={"word": b"one"}))
    create(SERVICE.replace("image: web-server", "image: web-server, secrets: [{name: own, key: word, env_var: W}]"), update=True)
    kept.step()
    (copy,) = kept.place.server.objects("secrets")
    assert copy["metadata"]["ownerReferences"][0]["uid"] == kept.deployment["metadata"]["uid"]
    store.delete("own")
    clock.advance(dt.timedelta(seconds=1))
    store.create(Secret(name="own", created=clock.now(), data={"word": b"two"}))
    kept.step()
    env = kept.deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    used = env[0]["valueFrom"]["secretKeyRef"]["name"]
    assert used != copy["metadata"]["name"]
    assert used in {one["metadata"]["name"] for one in kept.place.server.objects("secrets")}
    clock.advance(dt.timedelta(days=36500))
    kept.roll_out()
    kept.step()
    assert [one["metadata"]["name"] for one in kept.place.server.objects("secrets")] == [used]


def test_secrets_that_another_home_folder_has_are_no_reason_to_replace_the_pod(
    kept: Kept, create: Callable[..., None], clock: ManualClock, tmp_path: Path
) -> None:
    workspace = kept.place.workspace
    workspace.secrets.create(Secret(name="own", created=clock.now(), data={"word": b"one"}))
    create(SERVICE.replace("image: web-server", "image: web-server, secrets: [{name: own, key: word, env_var: W}]"), update=True)
    kept.step()
    kept.roll_out()
    found = kept.deployment
    other = dataclasses.replace(workspace, secrets=SecretStore(tmp_path / "another-folder", beside_cluster=True))
    PodKeeper(other, kept.place.settings, tell=kept.lines.append).step()
    assert kept.deployment["spec"] == found["spec"]
    assert len(kept.place.server.objects("secrets")) == 1


def test_copies_of_secrets_live_as_long_as_a_deployment_uses_them(kept: Kept, create: Callable[..., None], clock: ManualClock) -> None:
    workspace = kept.place.workspace
    workspace.secrets.create(Secret(name="own", created=clock.now(), data={"word": b"one"}))
    with_secret = SERVICE.replace("image: web-server", "image: web-server, secrets: [{name: own, key: word, env_var: W}]")
    create(with_secret, update=True)
    kept.place.server.refuse["PATCH"] = 500
    kept.step()
    del kept.place.server.refuse["PATCH"]
    kept.roll_out()
    kept.step()
    (copy,) = kept.place.server.objects("secrets")
    assert copy["metadata"]["ownerReferences"][0]["uid"] == kept.deployment["metadata"]["uid"]
    workspace.pfs.start_commit("data@master")
    create(with_secret.replace("web-server", "web-server:2"), update=True)
    kept.step()
    sweep(workspace, Cluster(kept.place.settings), find_store_id(workspace.store) or "")
    assert [one["metadata"]["name"] for one in kept.place.server.objects("secrets")] == [copy["metadata"]["name"]]


def test_account_that_may_not_list_deployments_is_told_where_there_is_a_service(kept: Kept) -> None:
    kept.place.server.refuse_kind["deployments"] = 403
    kept.step()
    assert "cluster-denied" in kept.lines[0]


SPOUT = "pipeline: {name: clock}\nspout: {}\ntransform: {cmd: [tick], image: clock}\n"


def spout_of(kept: Kept) -> Manifest:
    return next(one for one in kept.deployments() if one["metadata"]["name"] == "pipeline-default-clock")


def test_spout_is_a_pod_that_knows_store_and_project_and_has_what_the_secret_says(kept: Kept, create: Callable[..., None]) -> None:
    kept.place.settings = dataclasses.replace(kept.place.settings, spout_secret="spouts")
    create(SPOUT)
    kept.another().step()
    found = spout_of(kept)
    assert found["spec"]["strategy"] == {"type": "Recreate"}
    template = found["spec"]["template"]
    assert template["metadata"]["labels"]["pachyderm-dagster/spout"] == "true"
    assert template["spec"]["containers"][0]["envFrom"] == [{"secretRef": {"name": "spouts"}}]
    setup = WorkArea(kept.place.workspace.store, found["metadata"]["annotations"]["pachyderm-dagster/area"]).find_setup()
    assert setup is not None
    told = {name: value for name, value in setup.setup.environment.items() if name.startswith("PACHYDERM_")}
    assert told == {
        "PACHYDERM_HOME": "/tmp/pachyderm-dagster",
        "PACHYDERM_PROJECT": "default",
        "PACHYDERM_STORAGE_URL": kept.place.workspace.settings.storage_url,
    }


def test_spout_without_a_secret_is_crashing_and_the_service_beside_it_runs(kept: Kept, create: Callable[..., None]) -> None:
    create(SPOUT)
    kept.step()
    with kept.place.workspace.database.read() as txn:
        found = pipelines.get_pipeline(txn, RepoName("default", "clock"))
    assert (found.state, "spout-access-missing" in found.reason) == (PipelineState.CRASHING, True)
    assert kept.deployment["metadata"]["name"] == NAME


def pod_of(deployment: Manifest, status: Manifest) -> Manifest:
    return {"metadata": {"name": "web-1", "uid": "pod-1", **deployment["spec"]["template"]["metadata"]}, "status": status}


@pytest.mark.parametrize(("name", "said"), [("area", ""), ("area", "no name"), ("secrets", "{"), ("secrets", "[]")])
def test_annotation_that_somebody_spoilt_keeps_no_service_from_being_looked_after(kept: Kept, name: str, said: str) -> None:
    kept.step()
    before, spoilt = kept.area(), kept.deployment
    spoilt["metadata"]["annotations"][f"pachyderm-dagster/{name}"] = said
    kept.place.server.put("deployments", spoilt)
    kept.step()
    assert kept.area() == before
    kept.roll_out()
    kept.step()
    assert kept.states() == [JobState.RUNNING]
