"""Has services and spouts run in pods as the record wants them: a pass that compares, and changes what differs (docs/design/0033)."""

import contextlib
import dataclasses
import datetime as dt
import logging
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial

import msgspec
import sqlalchemy as sa

from pachyderm_dagster.codec import digest
from pachyderm_dagster.errors import ConflictError, ExecutionError, ExistsError, InvalidError, NotFoundError, StateError
from pachyderm_dagster.executors.backoff import Backoff
from pachyderm_dagster.executors.kubernetes.attempt_areas import list_areas
from pachyderm_dagster.executors.kubernetes.cluster import DEPLOYMENTS, PODS, Cluster
from pachyderm_dagster.executors.kubernetes.cluster_secrets import copied_secrets, secret_names
from pachyderm_dagster.executors.kubernetes.commands import kept_commands
from pachyderm_dagster.executors.kubernetes.kept_health import is_served, why_not_served
from pachyderm_dagster.executors.kubernetes.kept_manifests import (
    AREA_ANNOTATION,
    SERVES_ANNOTATION,
    Serving,
    annotation,
    is_kept,
    kept_deployment,
    kept_service,
    life_of,
)
from pachyderm_dagster.executors.kubernetes.kept_objects import put_deployment, put_service
from pachyderm_dagster.executors.kubernetes.manifests import Pods
from pachyderm_dagster.executors.kubernetes.names import HOME_LABEL, KEPT_LABEL, KeptNames, WorkerNames, kept_name
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.executors.service_jobs import claim, end_service_job, end_unrunnable
from pachyderm_dagster.executors.starts import Code, code_of_service, code_of_spout, in_service
from pachyderm_dagster.executors.troubles import Troubles
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.store_ids import find_store_id
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Counters, JobState, Pipeline, PipelineState
from pachyderm_dagster.pps.staying import list_staying
from pachyderm_dagster.pps.wanted import Wanted, list_wanted, set_crashing
from pachyderm_dagster.settings import HOME, KUBERNETES_SPOUT_SECRET, PROJECT, STORAGE_URL, KubernetesSettings
from pachyderm_dagster.worker.protocol import IN_CONTAINER, encode
from pachyderm_dagster.worker.work_area import WorkArea
from pachyderm_dagster.workspace import Workspace

POD_HOST = "0.0.0.0"
"""Where code listens: of its pod's own network."""
SPOUT_HOME = "/tmp/pachyderm-dagster"
"""The folder of the home in the pod of a spout: nothing is kept there."""
SETTLED_SECONDS = 10.0
"""Between looks at the cluster while the record wants nothing new and all is served."""
UNSETTLED_SECONDS = 0.5
AREA_AGE = dt.timedelta(minutes=1)
_AREA_ID = 16

_log = logging.getLogger(__name__)


class PodKeeper:
    """Brings the cluster to what the record wants, as often as `step` is called. Nothing of it is remembered that is needed: there may be several.

    Args:
        names: the pipelines to look after; None for all services and spouts.
        tell: takes lines for people.
        monotonic: seconds that only grow.
    """

    def __init__(
        self,
        workspace: Workspace,
        settings: KubernetesSettings,
        *,
        names: Collection[RepoName] | None = None,
        tell: Callable[[str], None] = _log.info,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workspace, self._settings, self._names, self._tell, self._monotonic = workspace, settings, names, tell, monotonic
        self._troubles = Troubles(Backoff(), tell, monotonic)
        self._cluster: Cluster | None = None
        self._home = ""
        self._seen: object = None
        self._next = 0.0
        self._tidied: dict[str, str] = {}
        self._unserved: set[RepoName] = set()

    def step(self) -> None:
        """One pass. What fails is told, and is the next pass's; what else there is goes on."""
        self._troubles.attempt("services and spouts", self._pass)

    def _pass(self) -> None:
        wanted, staying = self._read()
        seen = [(one.pipeline.name, one.pipeline.version, None if one.job is None else one.job.key, bool(one.unrunnable)) for one in wanted], staying
        if seen == self._seen and self._monotonic() < self._next:
            return
        # The cluster first and the record after it, so that what takes the place of something was wanted later (docs/design/0033).
        there = self._list_deployments(is_needed=bool(staying))
        wanted, staying = self._read()
        self._unserved = {one.pipeline.name for one in wanted if one.has_process}
        for one in wanted:
            what = f"{one.pipeline.spec.kind} {one.pipeline.name}"
            if self._troubles.is_due(what):
                self._troubles.attempt(what, partial(self._look_after, one, there.get(kept_name(one.pipeline.name))))
        self._end_others(there, {kept_name(one.pipeline.name) for one in wanted if one.has_process}, {kept_name(name) for name in staying})
        self._seen, self._next = seen, self._monotonic() + (UNSETTLED_SECONDS if self._unserved else SETTLED_SECONDS)

    def _end_others(self, there: Mapping[str, Manifest], running: Collection[str], known: Collection[str]) -> None:
        """Ends what is not to run, and removes what is of no pipeline any more."""
        own = known if self._names is None else {kept_name(name) for name in self._names}
        for name, found in there.items():
            if name not in known:
                self._troubles.attempt(f"the end of {name}", partial(self._remove, found))
            elif name in own and name not in running:
                self._troubles.attempt(f"the end of {name}", partial(self._rest, found))

    def _read(self) -> tuple[list[Wanted], list[RepoName]]:
        with self._workspace.database.read() as txn:
            return list_wanted(txn, self._names), list(list_staying(txn, sa.true()))

    def _list_deployments(self, *, is_needed: bool) -> dict[str, Manifest]:
        """Those of services and spouts, by name; none for an account that may not know, as long as there are no such pipelines."""
        if self._cluster is None:
            self._cluster, self._home = Cluster(self._settings), find_store_id(self._workspace.store) or ""
        try:
            found = self._cluster.list(DEPLOYMENTS, labels=f"{HOME_LABEL}={self._home}")["items"]
        except ExecutionError:
            if is_needed:
                raise
            return {}
        return {one["metadata"]["name"]: one for one in found if is_kept(one)}

    @property
    def _there(self) -> Cluster:
        assert self._cluster is not None, "the Deployments were listed first"
        return self._cluster

    def _look_after(self, one: Wanted, there: Manifest | None) -> None:
        for job in one.unrunnable:
            end_unrunnable(self._workspace, job)
        if not one.has_process:
            return
        try:
            found = self._keep(one, there)
        except (InvalidError, ExecutionError, ExistsError, NotFoundError) as error:
            self._note(one.pipeline, str(error))
            raise
        if found is not None and self._report(one, found):
            self._unserved.discard(one.pipeline.name)

    def _keep(self, one: Wanted, there: Manifest | None) -> Manifest | None:
        """Has the Deployment be as it is to be; None when it is not now, and the next pass is to look again."""
        pipeline = one.pipeline
        serves = f"{pipeline.version}@{'' if one.job is None else one.job.id}"
        is_new = there is None or annotation(there, SERVES_ANNOTATION) != serves
        area = self._prepare(one, serves) if there is None or is_new else annotation(there, AREA_ANNOTATION)
        if area is None:
            return None
        serving = Serving(serves, area)
        pods, copies = self._pods(pipeline, serving)
        found = put_deployment(self._there, there, kept_deployment(pods, serving), copies)
        if found is not None:
            if is_new:
                self._tell(f"{pipeline.spec.kind} {pipeline.name}: Deployment {pods.names.name} is to run version {serves}")
            put_service(self._there, pods.names.name, kept_service(pods, found), found)
        return found

    def _prepare(self, one: Wanted, serves: str) -> str | None:
        """Writes what the pod is to run; the name of its area, or None when the job cannot be served, which ends it."""
        if one.job is None:
            code = self._spout(one.pipeline)
        else:
            try:
                job = one.job if one.job.state is not JobState.CREATED else claim(self._workspace, one.job)
                code = code_of_service(self._workspace, job)
            except StateError as error:
                if error.code == "job-unrunnable":
                    end_service_job(self._workspace, one.job, JobState.UNRUNNABLE, error.message)
                # Otherwise it was ended meanwhile, or an input was opened again.
                return None
            except (InvalidError, NotFoundError) as error:
                self._tell(f"service {one.pipeline.name}: job {one.job} failed: {error}")
                end_service_job(self._workspace, one.job, JobState.FAILURE, str(error))
                return None
        setup = msgspec.structs.replace(in_service(code.setup, code.pipeline, POD_HOST), kept_log=IN_CONTAINER)
        own = digest("kept-code", [serves.encode(), encode(setup), encode(code.task)]).hex()[:_AREA_ID]
        area = WorkArea(self._workspace.store, f"{kept_name(one.pipeline.name)}.{self._home[:8]}{own}")
        area.begin(setup)
        area.write_sets([[code.task]])
        return area.job

    def _spout(self, pipeline: Pipeline) -> Code:
        """The code of a spout, which is told where store and project are; the Secret tells it how the record is reached."""
        if not self._settings.spout_secret:
            problem = f"spout '{pipeline.name}' is not started: its code writes commits as any client does, and nothing gives its pod access to the record"
            raise InvalidError("spout-access-missing", f"{problem}; name a Secret with PACHYDERM_METADATA_URL in {KUBERNETES_SPOUT_SECRET}")
        code = code_of_spout(self._workspace, pipeline)
        told = {HOME: SPOUT_HOME, PROJECT: pipeline.name.project, STORAGE_URL: self._workspace.settings.storage_url}
        setup = msgspec.structs.replace(code.setup, environment={**told, **code.setup.environment})
        return dataclasses.replace(code, setup=setup)

    def _pods(self, pipeline: Pipeline, serving: Serving) -> tuple[Pods, list[Manifest]]:
        """What the pod is made from, and the copies of secrets that it uses, whose names change with them."""
        spec, secrets, settings = pipeline.spec, self._workspace.secrets, self._workspace.settings
        own = sorted({use.name for use in spec.transform.secrets} & set(secrets.names()))
        ages = "".join(f"{name} {secrets.get(name).created.isoformat()}\n" for name in own)
        copies = WorkerNames(self._home, pipeline.name, pipeline.version, ages.encode())
        called = secret_names(spec, secrets, copies)
        names = KeptNames(self._home, pipeline.name, pipeline.version)
        commands = kept_commands(serving.area, settings.storage_url, settings.log_format)
        return Pods(names, spec, self._settings, commands, called, life_of(spec)), copied_secrets(called, secrets, copies)

    def _report(self, one: Wanted, deployment: Manifest) -> bool:
        """Has the record say how the code does; whether it is served and nothing is left to do."""
        name = deployment["metadata"]["name"]
        if not is_served(deployment):
            pods = self._there.list(PODS, labels=f"{KEPT_LABEL}={name}")["items"]
            problem = why_not_served(deployment, pods)
            if problem is not None:
                self._note(one.pipeline, self._last_words(deployment, pods) or problem)
            return False
        self._note(one.pipeline, None)
        job = one.job
        if job is not None and job.state is not JobState.RUNNING:
            self._workspace.database.write(lambda txn: jobs.report(txn, job, JobState.RUNNING, Counters()))
        for earlier in one.earlier:
            end_service_job(self._workspace, earlier, JobState.SUCCESS)
        area = annotation(deployment, AREA_ANNOTATION)
        if self._tidied.get(name) != area:
            # A new one may be that of a Deployment which another process is about to put in the place of this.
            self._remove_areas(name, but=area, before=self._workspace.database.clock.now() - AREA_AGE)
            self._tidied[name] = area
        return True

    def _last_words(self, deployment: Manifest, pods: list[Manifest]) -> str:
        """Why the code ended last, as its worker says; empty when it does not."""
        area = WorkArea(self._workspace.store, annotation(deployment, AREA_ANNOTATION))
        found = [area.find_refusal(pod["metadata"]["uid"]) for pod in pods if annotation(pod, AREA_ANNOTATION) == area.job]
        return next((str(one.error()) for one in found if one is not None), "")

    def _note(self, pipeline: Pipeline, problem: str | None) -> None:
        """Has the record say that the pipeline is crashing, and why; None: that it is not."""
        said = pipeline.reason if pipeline.state is PipelineState.CRASHING else None
        if problem != said:
            self._workspace.database.write(lambda txn: set_crashing(txn, pipeline, problem))
            self._tell(f"{pipeline.spec.kind} {pipeline.name}: {problem or 'runs'}")

    def _rest(self, there: Manifest) -> None:
        """Has nothing run of a pipeline that is stopped, or has nothing to serve; its Service stays."""
        if there["spec"]["replicas"] and "deletionTimestamp" not in there["metadata"]:
            seen = {"resourceVersion": there["metadata"]["resourceVersion"]}
            # Otherwise it was changed meanwhile, which the next pass sees.
            with contextlib.suppress(ConflictError, NotFoundError):
                self._there.patch(DEPLOYMENTS, there["metadata"]["name"], {"metadata": seen, "spec": {"replicas": 0}})
            self._tell(f"{there['metadata']['name']}: ends")

    def _remove(self, there: Manifest) -> None:
        """Removes what is of no pipeline any more, with its Service and its secrets."""
        self._remove_areas(there["metadata"]["name"])
        if "deletionTimestamp" not in there["metadata"]:
            self._there.delete(DEPLOYMENTS, there["metadata"]["name"], uid=there["metadata"]["uid"])
            self._tell(f"{there['metadata']['name']}: is removed")

    def _remove_areas(self, name: str, *, but: str = "", before: dt.datetime | None = None) -> None:
        for area in [WorkArea(self._workspace.store, found) for found in list_areas(self._workspace.store, name)]:
            if area.job != but and (before is None or (area.modified() or before) <= before):
                area.remove()
