"""Takes away what services and spouts have no use for: pods of what is not to run, all of what is gone, and what earlier Deployments used."""

import contextlib
import datetime as dt
from collections.abc import Callable

from pachyderm_dagster.errors import ConflictError, NotFoundError
from pachyderm_dagster.executors.kubernetes.attempt_areas import list_areas
from pachyderm_dagster.executors.kubernetes.cluster import DEPLOYMENTS, Cluster
from pachyderm_dagster.executors.kubernetes.conditions import is_going
from pachyderm_dagster.executors.kubernetes.kept_manifests import AREA_ANNOTATION, SECRETS_ANNOTATION, annotation
from pachyderm_dagster.executors.kubernetes.kept_objects import tidy_secrets
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.worker.stored_log import log_area
from pachyderm_dagster.worker.work_area import WorkArea

LEFT_AGE = dt.timedelta(minutes=1)
"""Of areas and copies of secrets that are removed."""


class KeptRemoval:
    """Takes away from a store, and from the cluster that each call is given; remembers only what needs no second look. `tell` takes lines for people."""

    def __init__(self, store: ObjectStore, now: Callable[[], dt.datetime], tell: Callable[[str], None]) -> None:
        self._store, self._now, self._tell = store, now, tell
        self._tidied: dict[str, tuple[str, str, str]] = {}

    def rest(self, cluster: Cluster, there: Manifest) -> None:
        """Has nothing run of a pipeline that is stopped, or has nothing to serve; its Service stays, and its log."""
        if there["spec"]["replicas"] and not is_going(there):
            seen = {"resourceVersion": there["metadata"]["resourceVersion"]}
            # Otherwise it was changed meanwhile, which the next pass sees.
            with contextlib.suppress(ConflictError, NotFoundError):
                cluster.patch(DEPLOYMENTS, there["metadata"]["name"], {"metadata": seen, "spec": {"replicas": 0}})
            self._tell(f"{there['metadata']['name']}: ends")

    def remove(self, cluster: Cluster, there: Manifest) -> None:
        """Removes what is of no pipeline any more, with its Service, its secrets and its log."""
        name = there["metadata"]["name"]
        for area in list_areas(self._store, name):
            WorkArea(self._store, area).remove()
        if not is_going(there):
            cluster.delete(DEPLOYMENTS, name, uid=there["metadata"]["uid"])
            self._tell(f"{name}: is removed")

    def tidy(self, cluster: Cluster, deployment: Manifest) -> None:
        """Removes the areas and the copies of secrets that earlier Deployments used, and nobody does now."""
        name, uid = deployment["metadata"]["name"], deployment["metadata"]["uid"]
        area, content = (annotation(deployment, key) for key in (AREA_ANNOTATION, SECRETS_ANNOTATION))
        if self._tidied.get(name) == (uid, area, content):
            return
        # What is new may be that of a Deployment which another process is about to put in the place of this.
        before = self._now() - LEFT_AGE
        are_gone = self._remove_areas(name, {area, log_area(name)}, before)
        if tidy_secrets(cluster, deployment, before) and are_gone:
            self._tidied[name] = (uid, area, content)

    def _remove_areas(self, name: str, but: set[str], before: dt.datetime) -> bool:
        """Whether no other is left."""
        others = [WorkArea(self._store, found) for found in list_areas(self._store, name) if found not in but]
        old = [area for area in others if (area.modified() or before) <= before]
        for area in old:
            area.remove()
        return len(old) == len(others)
