"""Has services and spouts run in pods as the record wants them: a pass that compares, and changes what differs (docs/design/0033)."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial

import sqlalchemy as sa

from pachyderm_dagster.errors import ExecutionError, ExistsError, InvalidError, NotFoundError, UnreachableError
from pachyderm_dagster.executors.backoff import Backoff
from pachyderm_dagster.executors.kubernetes.cluster import DEPLOYMENTS, PODS, Cluster
from pachyderm_dagster.executors.kubernetes.kept_code import KeptCode
from pachyderm_dagster.executors.kubernetes.kept_health import find_last_words, is_served, why_not_served
from pachyderm_dagster.executors.kubernetes.kept_manifests import (
    AREA_ANNOTATION,
    CONTENT_ANNOTATION,
    annotation,
    content_of,
    is_kept,
    kept_deployment,
    kept_service,
)
from pachyderm_dagster.executors.kubernetes.kept_objects import put_deployment, put_service
from pachyderm_dagster.executors.kubernetes.kept_removal import KeptRemoval
from pachyderm_dagster.executors.kubernetes.names import HOME_LABEL, KEPT_ANNOTATION, KEPT_LABEL, kept_name
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.executors.service_jobs import end_service_job, end_unrunnable
from pachyderm_dagster.executors.troubles import Troubles
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.store_ids import find_store_id
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Counters, JobState, Pipeline, PipelineState
from pachyderm_dagster.pps.staying import list_staying
from pachyderm_dagster.pps.wanted import Wanted, list_wanted, set_crashing
from pachyderm_dagster.settings import KubernetesSettings
from pachyderm_dagster.workspace import Workspace

SETTLED_SECONDS = 10.0
"""Between looks at the cluster while the record wants nothing new and all is served."""
UNSETTLED = Backoff(first=0.5, most=SETTLED_SECONDS)
"""Of the looks since the record wanted something new, while that is not served."""
_ALL = "services and spouts"

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
        self._looks = 0
        self._is_clear = False
        self._removal = KeptRemoval(workspace.store, workspace.database.clock.now, tell)
        self._unserved: set[RepoName] = set()

    def step(self) -> None:
        """One pass. What fails is told, and is a later pass's; what else there is goes on."""
        if self._troubles.is_due(_ALL):
            self._troubles.attempt(_ALL, self._pass)

    def _pass(self) -> None:
        wanted, staying = self._read()
        seen = list(map(_state_of, wanted)), staying
        is_new = seen != self._seen
        if not is_new and (self._monotonic() < self._next or self._is_clear):
            return
        # The cluster first and the record after it, so that what takes the place of something was wanted later (docs/design/0033).
        listed = self._list_deployments(is_needed=bool(staying))
        wanted, staying = self._read()
        self._unserved = {one.pipeline.name for one in wanted if one.has_process}
        there = self._end_others(listed or {}, {one.pipeline.name for one in wanted if not one.is_ended}, staying)
        for one in wanted:
            what = f"{one.pipeline.spec.kind} {one.pipeline.name}"
            if self._troubles.is_due(what):
                self._troubles.attempt(what, partial(self._look_after, one, there.get(kept_name(one.pipeline.name))))
        self._is_clear = not staying and listed == {}
        self._looks = 1 if is_new else self._looks + 1
        self._seen, self._next = seen, self._monotonic() + (UNSETTLED.wait(self._looks) if self._unserved else SETTLED_SECONDS)

    def _end_others(self, there: Mapping[str, Manifest], running: Collection[RepoName], staying: Collection[RepoName]) -> dict[str, Manifest]:
        """Ends what is not to run, and removes what is of no pipeline any more; what is left.

        By whole names: a pipeline may have the name on the cluster of one that is gone.
        """
        known = set(map(str, staying))
        own = known if self._names is None else set(map(str, self._names))
        going = own - set(map(str, running))
        for name, found in there.items():
            whose = annotation(found, KEPT_ANNOTATION)
            if whose not in known:
                self._troubles.attempt(f"the end of {name}", partial(self._removal.remove, self._there, found))
            elif whose in going:
                self._troubles.attempt(f"the end of {name}", partial(self._removal.rest, self._there, found))
        return {name: found for name, found in there.items() if annotation(found, KEPT_ANNOTATION) in known}

    def _read(self) -> tuple[list[Wanted], list[RepoName]]:
        with self._workspace.database.read() as txn:
            return list_wanted(txn, self._names), list(list_staying(txn, sa.true()))

    def _list_deployments(self, *, is_needed: bool) -> dict[str, Manifest] | None:
        """Those of services and spouts, by name. None: the cluster does not say, which is no trouble where there is no such pipeline."""
        if self._cluster is None:
            self._cluster, self._home = Cluster(self._settings), find_store_id(self._workspace.store) or ""
        try:
            found = self._cluster.list(DEPLOYMENTS, labels=f"{HOME_LABEL}={self._home}")["items"]
        except (ExecutionError, UnreachableError):
            if is_needed:
                raise
            return None
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
        code = KeptCode(self._workspace, self._settings, self._home, self._tell)
        is_new = there is None or annotation(there, CONTENT_ANNOTATION) != content_of(pipeline, serves)
        area = None if there is None or is_new else annotation(there, AREA_ANNOTATION)
        if area is None or there is None or not (_runs(there) or code.stands(area)):
            area = code.prepare(one, serves)
        if area is None:
            return None
        serving = code.serving(pipeline, serves, area)
        pods, copies = code.pods(pipeline, serving)
        found = put_deployment(self._there, there, kept_deployment(pods, serving), copies)
        if found is None:
            return None
        if is_new:
            self._tell(f"{pipeline.spec.kind} {pipeline.name}: Deployment {pods.names.name} is to run version {serves}")
        return found if put_service(self._there, pods.names.name, kept_service(pods, found), found) else None

    def _report(self, one: Wanted, deployment: Manifest) -> bool:
        """Has the record say how the code does; whether it is served and nothing is left to do."""
        name = deployment["metadata"]["name"]
        if not is_served(deployment):
            pods = self._there.list(PODS, labels=f"{KEPT_LABEL}={name}")["items"]
            problem = why_not_served(deployment, pods)
            if problem is not None:
                self._note(one.pipeline, find_last_words(self._workspace.store, deployment, pods) or problem)
            return False
        self._note(one.pipeline, None)
        job = one.job
        if job is not None and job.state is not JobState.RUNNING:
            self._workspace.database.write(lambda txn: jobs.report(txn, job, JobState.RUNNING, Counters()))
        for earlier in one.earlier:
            end_service_job(self._workspace, earlier, JobState.SUCCESS)
        self._removal.tidy(self._there, deployment)
        return True

    def _note(self, pipeline: Pipeline, problem: str | None) -> None:
        """Has the record say that the pipeline is crashing, and why; None: that it is not."""
        said = pipeline.reason if pipeline.state is PipelineState.CRASHING else None
        if problem != said:
            self._workspace.database.write(lambda txn: set_crashing(txn, pipeline, problem))
            self._tell(f"{pipeline.spec.kind} {pipeline.name}: {problem or 'runs'}")


def _state_of(one: Wanted) -> object:
    """What of it is looked at anew at once when it changes."""
    return one.pipeline.name, one.pipeline.version, None if one.job is None else one.job.key, bool(one.unrunnable), one.is_ended


def _runs(deployment: Manifest) -> bool:
    """Whether its pod is ready, which has all that it needs."""
    return bool(deployment["spec"]["replicas"]) and is_served(deployment)
