"""What a pod of Kubeflow is told of a pipeline's fields: resources of the container, and all that is Kubernetes' own."""

from pachyderm_dagster.kubeflow import ir
from pachyderm_dagster.kubeflow.ir import Document
from pachyderm_dagster.pps.pods import Resources, TaintEffect, Toleration, TolerationOperator, quantity_value
from pachyderm_dagster.pps.spec import PipelineSpec, SecretUse
from pachyderm_dagster.settings import COORDINATION_URL, METADATA_URL, SQL_PASSWORD, STORAGE_URL

_REQUIRED_OF_HOME = (METADATA_URL, STORAGE_URL)
_FURTHER_OF_HOME = (
    COORDINATION_URL,
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ALLOW_HTTP",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
)
_OPERATORS = {TolerationOperator.EXISTS: "Exists", TolerationOperator.EQUAL: "Equal"}
_EFFECTS = {TaintEffect.NO_SCHEDULE: "NoSchedule", TaintEffect.PREFER_NO_SCHEDULE: "PreferNoSchedule", TaintEffect.NO_EXECUTE: "NoExecute"}

NEEDS = "pachyderm-dagster/needs"
"""The annotation of pods that say what their image has to have."""
NEEDS_SHELL = "sh, mkdir, cp, rm, env and sed in the image; without a shell export the pipeline with --transport volume"


def home_pod(secret: str) -> Document:
    """The pod of a task that reads or writes commits: it finds the variables that open the home, as far as the Secret has them."""
    return {
        "secretAsEnv": [
            _variables(secret, {name: name for name in names}, optional=names is _FURTHER_OF_HOME) for names in (_REQUIRED_OF_HOME, _FURTHER_OF_HOME)
        ]
    }


def committing_pod(spec: PipelineSpec, secret: str) -> Document:
    """The pod of a task that commits and sends: the password of a database is a key of the Secret that the pipeline names, or of the home's."""
    pod = home_pod(secret)
    database = spec.egress.sql_database if spec.egress is not None else None
    if database is None:
        return pod
    found = _variables(secret, {SQL_PASSWORD: SQL_PASSWORD}, optional=True)
    if database.secret is not None:
        found = _variables(database.secret.name, {database.secret.key: SQL_PASSWORD}, optional=False)
    return {"secretAsEnv": [*pod["secretAsEnv"], found]}


def user_pod(spec: PipelineSpec, *, brings_shell: bool) -> Document:
    """The pod of user code, with an empty folder at `/pfs`, in which users other than root can write too.

    Args:
        brings_shell: whether the shell is ours. A pod that needs one of its image says so, since what ends it without one says only that there is no `sh`.
    """
    transform = spec.transform
    medium = {"medium": "Memory"} if transform.memory_volume else {}
    volumes = [use for use in transform.secrets if use.mount_path]
    variables = [use for use in transform.secrets if use.env_var]
    labels, annotations = (spec.metadata.labels, spec.metadata.annotations) if spec.metadata is not None else ({}, {})
    said = {} if brings_shell else {NEEDS: NEEDS_SHELL}
    selector = spec.scheduling_spec.node_selector if spec.scheduling_spec is not None else {}
    found: Document = {
        "activeDeadlineSeconds": str(max(1, round(spec.job_timeout))) if spec.job_timeout else None,
        "emptyDirMounts": [{**medium, "mountPath": "/pfs", "volumeName": "pfs"}],
        "imagePullSecret": [{"secretName": name, "secretNameParameter": ir.constant(name)} for name in transform.image_pull_secrets],
        "nodeSelector": {"labels": dict(selector)} if selector else None,
        "podMetadata": {name: found for name, found in {"annotations": {**said, **annotations}, "labels": dict(labels)}.items() if found},
        "secretAsEnv": [_variables(use.name, {use.key: use.env_var}, optional=False) for use in variables],
        "secretAsVolume": [_files(use) for use in volumes],
        "securityContext": {"runAsUser": transform.user} if transform.user else None,
        "tolerations": [_toleration(one) for one in spec.tolerations],
    }
    return {name: value for name, value in found.items() if value}


def mounted_claim(name: Document, path: str) -> Document:
    """A volume in the pod of a task. `name` says where that of its claim comes from; older backends read it in another place than newer ones."""
    return {"pvcMount": [{**name, "mountPath": path, "pvcNameParameter": name}]}


def resources(spec: PipelineSpec) -> Document:
    """What the container of user code asks for and may use."""
    found: Document = {}
    for asked, word in ((spec.resource_requests, "Request"), (spec.resource_limits, "Limit")):
        if asked is None:
            continue
        if asked.cpu:
            found |= {f"cpu{word}": asked.cpu, f"resourceCpu{word}": f"{asked.cpu:g}"}
        if asked.memory:
            found |= {f"memory{word}": quantity_value(asked.memory) / 1e9, f"resourceMemory{word}": asked.memory}
    accelerator = _accelerator(spec.resource_limits) or _accelerator(spec.resource_requests)
    return {**found, **({"accelerator": accelerator} if accelerator else {})}


def _accelerator(asked: Resources | None) -> Document | None:
    """Kubernetes gives a device whole, so that what is asked for and the limit are one number."""
    if asked is None or asked.gpu is None or not asked.gpu.number:
        return None
    count = str(asked.gpu.number)
    return {"count": count, "resourceCount": count, "resourceType": asked.gpu.type, "type": asked.gpu.type}


def _variables(secret: str, variables: dict[str, str], *, optional: bool) -> Document:
    pairs = [{"envVar": variable, "secretKey": key} for key, variable in variables.items()]
    return {"keyToEnv": pairs, "optional": optional, "secretName": secret, "secretNameParameter": ir.constant(secret)}


def _files(use: SecretUse) -> Document:
    return {"mountPath": use.mount_path, "optional": False, "secretName": use.name, "secretNameParameter": ir.constant(use.name)}


def _toleration(one: Toleration) -> Document:
    found = {
        "effect": _EFFECTS.get(one.effect),
        "key": one.key,
        "operator": _OPERATORS[one.operator],
        "tolerationSeconds": None if one.toleration_seconds is None else str(one.toleration_seconds),
        "value": one.value,
    }
    return {name: value for name, value in found.items() if value}
