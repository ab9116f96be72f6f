"""The Deployment and the Service of a service or a spout: pure functions (docs/design/0033)."""

import json
from dataclasses import dataclass

from pachyderm_dagster.codec import digest
from pachyderm_dagster.executors.kubernetes.manifests import Life, Pods
from pachyderm_dagster.executors.kubernetes.names import KEPT_LABEL, PREFIX
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.pps.services import Service, ServiceType
from pachyderm_dagster.pps.spec import PipelineSpec

SERVES_ANNOTATION = f"{PREFIX}/serves"
"""Which version of a pipeline, and which job."""
SPOUT_LABEL = f"{PREFIX}/spout"
"""Of pods that reach the record, for NetworkPolicies."""
AREA_ANNOTATION = f"{PREFIX}/area"
"""Where the worker reads what to run."""
CONTENT_ANNOTATION = f"{PREFIX}/content"
"""A digest of all that we say of an object, by which it is seen whether it is as it should be."""
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
        area: for AREA_ANNOTATION.
    """

    serves: str
    area: str

    @property
    def annotations(self) -> dict[str, str]:
        return {SERVES_ANNOTATION: self.serves, AREA_ANNOTATION: self.area}


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
    return _marked({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": pods.metadata, "spec": spec}, serving.annotations)


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
    return _marked({"apiVersion": "v1", "kind": "Service", "metadata": {**pods.metadata, "ownerReferences": [owned]}, "spec": spec}, {})


def is_same(there: Manifest, wanted: Manifest) -> bool:
    """Whether an object is as it should be, but for what others say of it."""
    return annotation(there, CONTENT_ANNOTATION) == annotation(wanted, CONTENT_ANNOTATION)


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


def _marked(manifest: Manifest, annotations: dict[str, str]) -> Manifest:
    content = digest("kubernetes-content", [json.dumps(manifest, sort_keys=True).encode()]).hex()
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "annotations": {**metadata["annotations"], **annotations, CONTENT_ANNOTATION: content}}}
