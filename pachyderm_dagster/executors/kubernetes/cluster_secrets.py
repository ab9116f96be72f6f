"""Secrets for pods: those of the home are copied for as long as the pods are made, others are the cluster's own."""

import base64
from collections.abc import Mapping

from pachyderm_dagster.executors.kubernetes.names import Names
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.pps.secret_store import SecretStore
from pachyderm_dagster.pps.spec import PipelineSpec


def secret_names(spec: PipelineSpec, store: SecretStore, names: Names) -> dict[str, str]:
    """What the secrets that a pipeline names are called on the cluster: one of the home has a copy for these pods alone, any other its name."""
    used = dict.fromkeys(use.name for use in spec.transform.secrets)
    own = set(store.names())
    return {name: f"{names.name}-secret-{number}" if name in own else name for number, name in enumerate(used)}


def copied_secrets(called: Mapping[str, str], store: SecretStore, names: Names) -> list[Manifest]:
    """The copies that pods need.

    Raises:
        NotFoundError: `secret-not-found`, when one was deleted at this moment.
    """
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": names.labels, "annotations": names.annotations},
            "data": {key: base64.b64encode(value).decode() for key, value in store.get(secret).data.items()},
        }
        for secret, name in called.items()
        if name != secret
    ]


def owned_by(owner_manifest: Manifest, made: Manifest) -> Manifest:
    """A patch that makes what was made from a manifest the owner of something, which then goes when that goes."""
    owner = {**{key: owner_manifest[key] for key in ("apiVersion", "kind")}, **{key: made["metadata"][key] for key in ("name", "uid")}}
    return {"metadata": {"ownerReferences": [owner]}}
