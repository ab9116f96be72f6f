"""The Deployment and the Service of a service or a spout: pure functions (docs/design/0033)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from pachyderm_dagster.codec import digest
from pachyderm_dagster.executors.kubernetes.manifests import Life, Pods
from pachyderm_dagster.executors.kubernetes.names import KEPT_LABEL, PREFIX
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.pps.model import Pipeline
from pachyderm_dagster.pps.services import Service, ServiceType
from pachyderm_dagster.pps.spec import PipelineSpec

SERVES_ANNOTATION = f"{PREFIX}/serves"
"""Which version of a pipeline, and which job."""
SPOUT_LABEL = f"{PREFIX}/spout"
"""Of pods that reach the record, for NetworkPolicies."""
AREA_ANNOTATION = f"{PREFIX}/area"
"""Where the worker reads what to run."""
CONTENT_ANNOTATION = f"{PREFIX}/content"
"""A digest of what the record says of an object, by which it is seen whether it is as it should be."""
SECRETS_ANNOTATION = f"{PREFIX}/secrets"
"""The secrets of the home that were copied for a pod, and when each was made."""
DRAIN_SECONDS = 5
"""So long the pod of a service goes on when it is to go: until then nobody is led to it any more."""
GRACE_SECONDS = 20
SPOUT_READY_SECONDS = 5
"""A spout that ends sooner did not stay."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What a pod is to serve.

    Args:
        serves: for SERVES_ANNOTATION.
        content: for CONTENT_ANNOTATION.
        area: for AREA_ANNOTATION.
        secrets: for SECRETS_ANNOTATION: in ISO 8601, by name.
    """

    serves: str
    content: str
    area: str
    secrets: Mapping[str, str]

    @property
    def annotations(self) -> dict[str, str]:
        return {SERVES_ANNOTATION: self.serves, AREA_ANNOTATION: self.area, SECRETS_ANNOTATION: json.dumps(self.secrets, sort_keys=True)}


def life_of(spec: PipelineSpec) -> Life:
    """How the code of a service or a spout begins and ends: clients are to find one that is ready, and no request is to be cut off."""
    return Life(spec.port, 0 if spec.port is None else DRAIN_SECONDS, GRACE_SECONDS)


def kept_deployment(pods: Pods, serving: Serving) -> Manifest:
    """The Deployment with one pod. Raises InvalidError as `Pods.job`."""
    is_spout = pods.spec.spout is not None
    template = pods.template("Always")
    template["metadata"]["annotations"] |= serving.annotations
    if is_spout:
        template["metadata"]["labels"] |= {SPOUT_LABEL: "true"}
    spec: Manifest = {
        "replicas": 1,
        "selector": {"matchLabels": {KEPT_LABEL: pods.names.labels[KEPT_LABEL]}},
        "revisionHistoryLimit": 0,
        # Two pods of a spout would write twice; of a service the next one is ready before the one before is told to end.
        "strategy": {"type": "Recreate"} if is_spout else {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": template,
    }
    if pods.spec.port is None:
        spec["minReadySeconds"] = SPOUT_READY_SECONDS
    made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": pods.metadata, "spec": spec}
    return _annotated(made, {**serving.annotations, CONTENT_ANNOTATION: serving.content})


def kept_service(pods: Pods, owner: Manifest) -> Manifest | None:
    """The Service that leads to the pod, which goes with its Deployment; None where the code listens on no port."""
    service = pods.spec.service or (None if pods.spec.spout is None else pods.spec.spout.service)
    if service is None:
        return None
    port: Manifest = {"name": "user-port", "port": service.external_port or service.port, "targetPort": service.port}
    if service.type is ServiceType.NODE_PORT and service.external_port:
        port["nodePort"] = service.external_port
    spec: Manifest = {"type": service.type.value, "selector": {KEPT_LABEL: pods.names.labels[KEPT_LABEL]}, "ports": [port], **_address(service)}
    owned = {"apiVersion": "apps/v1", "kind": "Deployment", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
    made = {"apiVersion": "v1", "kind": "Service", "metadata": {**pods.metadata, "ownerReferences": [owned]}, "spec": spec}
    return _annotated(made, {CONTENT_ANNOTATION: digest("kubernetes-content", [json.dumps(made, sort_keys=True).encode()]).hex()})


def content_of(pipeline: Pipeline, serves: str) -> str:
    """What a Deployment is to be by the record alone: what differs between the processes that look, as their settings, is not to replace a pod that serves."""
    return digest("kubernetes-kept", [part.encode() for part in (str(pipeline.name), pipeline.created.isoformat(), pipeline.salt, serves)]).hex()


def is_same(there: Manifest, wanted: Manifest) -> bool:
    """Whether a Deployment or a Service is as the record wants it, with secrets that are no older.

    A secret that only another home folder has is no difference: whoever has the newest copies it, so those who look do not take turns.
    """
    parts = [[annotation(one, name) for name in (CONTENT_ANNOTATION, AREA_ANNOTATION)] for one in (there, wanted)]
    made = _secrets(there)
    return parts[0] == parts[1] and not any(made.get(name, "") < age for name, age in _secrets(wanted).items())


def named_secrets(deployment: Manifest) -> set[str]:
    """The names of the secrets that the pods of a Deployment use, wherever in their specification."""
    return set(_named(deployment["spec"]["template"]["spec"]))


def is_kept(there: Manifest) -> bool:
    """Whether a Deployment is that of a service or a spout."""
    return KEPT_LABEL in there["metadata"].get("labels", {})


def annotation(there: Manifest, name: str) -> str:
    """Empty where there is none."""
    return str((there["metadata"].get("annotations") or {}).get(name, ""))


def _address(service: Service) -> Manifest:
    if not service.ip:
        return {}
    return {"loadBalancerIP" if service.type is ServiceType.LOAD_BALANCER else "clusterIP": service.ip}


def _annotated(manifest: Manifest, annotations: dict[str, str]) -> Manifest:
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "annotations": {**metadata["annotations"], **annotations}}}


def _secrets(there: Manifest) -> dict[str, str]:
    try:
        return msgspec.json.decode(annotation(there, SECRETS_ANNOTATION) or "{}", type=dict[str, str])
    except msgspec.MsgspecError:
        # Somebody changed it; then any secret is newer.
        return {}


def _named(part: Any) -> Iterator[str]:
    match part:
        case dict():
            yield from (said["name"] for key in ("secretKeyRef", "secretRef", "secret") if isinstance(said := part.get(key), dict) and "name" in said)
            yield from ([part["secretName"]] if isinstance(part.get("secretName"), str) else [])
            for value in part.values():
                yield from _named(value)
        case list():
            for value in part:
                yield from _named(value)
