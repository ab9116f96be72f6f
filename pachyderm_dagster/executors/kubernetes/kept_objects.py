"""Makes and replaces the Deployment, the secrets and the Service of a service or a spout, each only as it was seen."""

from collections.abc import Sequence
from typing import Any

from pachyderm_dagster.errors import ExistsError
from pachyderm_dagster.executors.kubernetes.cluster import DEPLOYMENTS, SECRETS, SERVICES, Cluster
from pachyderm_dagster.executors.kubernetes.cluster_secrets import owned_by
from pachyderm_dagster.executors.kubernetes.kept_manifests import annotation, is_same
from pachyderm_dagster.executors.kubernetes.names import HOME_LABEL, KEPT_ANNOTATION
from pachyderm_dagster.executors.kubernetes.patches import Manifest


def put_deployment(cluster: Cluster, there: Manifest | None, wanted: Manifest, copies: Sequence[Manifest]) -> Manifest | None:
    """Has the Deployment be as wanted, and own the copies of secrets; the Deployment, or None when somebody else was faster, or it is being removed.

    Raises:
        ExistsError: `service-name-taken`, when there is one of that name that is not this pipeline's.
        InvalidError: `pod-refused`.
    """
    if there is not None:
        check_own(there, wanted, DEPLOYMENTS)
        if "deletionTimestamp" in there["metadata"]:
            return None
        if is_same(there, wanted) and there["spec"]["replicas"] == wanted["spec"]["replicas"]:
            return there
    for copy in copies:
        cluster.create(SECRETS, copy)
    made = cluster.create(DEPLOYMENTS, wanted) if there is None else cluster.replace(DEPLOYMENTS, _as_seen(wanted, there))
    if made is None:
        found = cluster.get(DEPLOYMENTS, wanted["metadata"]["name"])
        if found is not None:
            check_own(found, wanted, DEPLOYMENTS)
        return None
    for copy in copies:
        cluster.patch(SECRETS, copy["metadata"]["name"], owned_by(wanted, made))
    return made


def put_service(cluster: Cluster, name: str, wanted: Manifest | None, owner: Manifest) -> None:
    """Has the Service of a Deployment be as wanted; None: it is to have none. Errors as `put_deployment`."""
    there = cluster.get(SERVICES, name)
    if there is None:
        if wanted is not None:
            cluster.create(SERVICES, wanted)
        return
    if wanted is None:
        if _owner(there) == owner["metadata"]["uid"]:
            cluster.delete(SERVICES, name, uid=there["metadata"]["uid"])
        return
    check_own(there, wanted, SERVICES)
    address = there["spec"].get("clusterIP")
    if wanted["spec"].get("clusterIP", address) != address or _owner(there) != owner["metadata"]["uid"]:
        # An address cannot be changed, and what an earlier Deployment owned goes with that.
        cluster.delete(SERVICES, name, uid=there["metadata"]["uid"])
        cluster.create(SERVICES, wanted)
    elif not is_same(there, wanted):
        kept = {"clusterIP": address} if address else {}
        cluster.replace(SERVICES, {**_as_seen(wanted, there), "spec": {**wanted["spec"], **kept}})


def check_own(there: Manifest, wanted: Manifest, kind: str) -> None:
    """Does nothing when two objects of one name are of one pipeline of one home.

    Raises:
        ExistsError: `service-name-taken`.
    """
    found, own = (_whose(one) for one in (there, wanted))
    if found == own:
        return
    name = wanted["metadata"]["name"]
    whose = f"of pipeline '{found[1]}'{'' if found[0] == own[0] else ' of another home'}" if found[1] else "not ours"
    problem = f"the namespace has an object of kind {kind} and name {name} already, which is {whose}"
    raise ExistsError("service-name-taken", f"{problem}; give the pipeline another name, or the home a namespace of its own")


def _whose(there: Manifest) -> tuple[Any, str]:
    return (there["metadata"].get("labels") or {}).get(HOME_LABEL), annotation(there, KEPT_ANNOTATION)


def _as_seen(wanted: Manifest, there: Manifest) -> Manifest:
    return {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": there["metadata"]["resourceVersion"]}}


def _owner(there: Manifest) -> str:
    return str((there["metadata"].get("ownerReferences") or [{}])[0].get("uid", ""))
