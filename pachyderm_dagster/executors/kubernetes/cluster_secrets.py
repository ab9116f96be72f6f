"""Secrets for pods: those of the home are copied for the length of a job, others are the cluster's own."""

import base64
from collections.abc import Mapping

from pachyderm_dagster.executors.kubernetes.names import JobNames
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.pps.secret_store import SecretStore
from pachyderm_dagster.pps.spec import PipelineSpec


def secret_names(spec: PipelineSpec, store: SecretStore, names: JobNames) -> dict[str, str]:
    """What the secrets that a pipeline names are called on the cluster: one of the home has a copy of the job's own, any other its name."""
    used = dict.fromkeys(use.name for use in spec.transform.secrets)
    own = set(store.names())
    return {name: f"{names.name}-secret-{number}" if name in own else name for number, name in enumerate(used)}


def copied_secrets(called: Mapping[str, str], store: SecretStore, names: JobNames) -> list[Manifest]:
    """The copies that a job needs.

    Raises:
        NotFoundError: `secret-not-found`, when one was deleted at this moment.
    """
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": names.labels},
            "data": {key: base64.b64encode(value).decode() for key, value in store.get(secret).data.items()},
        }
        for secret, name in called.items()
        if name != secret
    ]


def owned_by(job: Manifest) -> Manifest:
    """A patch that makes a Job the owner of something, which then goes when the Job goes."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
    return {"metadata": {"ownerReferences": [owner]}}
