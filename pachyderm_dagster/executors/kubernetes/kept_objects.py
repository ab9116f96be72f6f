"""Makes and replaces the Deployment, the secrets and the Service of a service or a spout, each only as it was seen."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from pachyderm_dagster.errors import ExistsError
from pachyderm_dagster.executors.kubernetes.cluster import DEPLOYMENTS, SECRETS, SERVICES, Cluster
from pachyderm_dagster.executors.kubernetes.cluster_secrets import owned_by
from pachyderm_dagster.executors.kubernetes.conditions import is_going
from pachyderm_dagster.executors.kubernetes.kept_manifests import annotation, is_same, named_secrets
from pachyderm_dagster.executors.kubernetes.names import HOME_LABEL, KEPT_ANNOTATION, KEPT_LABEL
from pachyderm_dagster.executors.kubernetes.patches import Manifest


def put_deployment(cluster: Cluster, there: Manifest | None, wanted: Manifest, copies: Sequence[Manifest]) -> Manifest | None:
    """Has the Deployment be as wanted, and own the copies of secrets; the Deployment, or None when somebody else was faster, or it is being removed.

    Raises:
        ExistsError: `service-name-taken`, when there is one of that name that is not this pipeline's.
        InvalidError: `pod-refused`.
    """
    if there is not None:
        if is_going(there):
            return None
        check_own(there, wanted, DEPLOYMENTS)
        if is_same(there, wanted) and there["spec"]["replicas"] == wanted["spec"]["replicas"]:
            return there
    for copy in copies:
        cluster.create(SECRETS, copy)
    made = cluster.create(DEPLOYMENTS, wanted) if there is None else cluster.replace(DEPLOYMENTS, as_seen(wanted, there))
    if made is None:
        found = cluster.get(DEPLOYMENTS, wanted["metadata"]["name"])
        if found is not None and not is_going(found):
            check_own(found, wanted, DEPLOYMENTS)
        return None
    for copy in copies:
        cluster.patch(SECRETS, copy["metadata"]["name"], owned_by(wanted, made))
    return made


def tidy_secrets(cluster: Cluster, deployment: Manifest, before: dt.datetime) -> bool:
    """Has a Deployment own the copies of secrets that its pods use, and removes those that were made for earlier ones; whether nothing is left to do.

    Copies that are younger than `before` may be those of a Deployment which another process is about to put in the place of this.
    """
    name, used, is_done = deployment["metadata"]["name"], named_secrets(deployment), True
    for copy in cluster.list(SECRETS, labels=f"{KEPT_LABEL}={name}")["items"]:
        metadata = copy["metadata"]
        if metadata["name"] in used:
            if _owner(copy) != deployment["metadata"]["uid"]:
                cluster.patch(SECRETS, metadata["name"], owned_by({"apiVersion": "apps/v1", "kind": "Deployment"}, deployment))
        elif dt.datetime.fromisoformat(metadata["creationTimestamp"]) < before:
            cluster.delete(SECRETS, metadata["name"], uid=metadata["uid"])
        else:
            is_done = False
    return is_done


def put_service(cluster: Cluster, name: str, wanted: Manifest | None, owner: Manifest) -> bool:
    """Has the Service of a Deployment be as wanted; None: it is to have none. Errors as `put_deployment`.

    Returns whether it is so: one that is going may be there yet.
    """
    there = cluster.get(SERVICES, name)
    if there is None:
        return wanted is None or cluster.create(SERVICES, wanted) is not None
    if wanted is None:
        if _owner(there) == owner["metadata"]["uid"]:
            cluster.delete(SERVICES, name, uid=there["metadata"]["uid"])
        return True
    if is_going(there):
        return False
    check_own(there, wanted, SERVICES)
    address = there["spec"].get("clusterIP")
    if wanted["spec"].get("clusterIP", address) != address or _owner(there) != owner["metadata"]["uid"]:
        # An address cannot be changed, and what an earlier Deployment owned goes with that.
        cluster.delete(SERVICES, name, uid=there["metadata"]["uid"])
        return cluster.create(SERVICES, wanted) is not None
    return is_same(there, wanted) or cluster.replace(SERVICES, as_seen(wanted, there)) is not None


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


def as_seen(wanted: Manifest, there: Manifest) -> Manifest:
    """What takes the place of an object only if that is as it was seen; the address that a Service was given stays, as it cannot be changed."""
    address = there["spec"].get("clusterIP")
    kept = {"clusterIP": address} if address else {}
    seen = {"resourceVersion": there["metadata"]["resourceVersion"]}
    return {**wanted, "metadata": {**wanted["metadata"], **seen}, "spec": {**wanted["spec"], **kept}}


def _owner(there: Manifest) -> str:
    return str((there["metadata"].get("ownerReferences") or [{}])[0].get("uid", ""))
