"""What workflow files may say beyond the fields that are built: names without effect on one machine, and names that are refused, with the way out."""

from collections.abc import Mapping

from pachyderm_dagster.argo.containers import (
    ClaimTemplate,
    Container,
    EmptyDir,
    EnvFrom,
    ObjectName,
    Script,
    SetContainer,
    UserContainer,
    Volume,
    VolumeMount,
)
from pachyderm_dagster.argo.parameters import Artifact, KeyArtifact, ValueFrom
from pachyderm_dagster.argo.templates import RetryStrategy, Step, Task, Template
from pachyderm_dagster.argo.workflows import CronSpec, Metadata, WorkflowSpec
from pachyderm_dagster.pps.strict import OtherNames

_POD = "pods are processes of this machine"
_NOT_YET = "not built yet;"

_SCHEDULING = dict.fromkeys(
    (
        "nodeSelector",
        "tolerations",
        "affinity",
        "serviceAccountName",
        "automountServiceAccountToken",
        "executor",
        "securityContext",
        "hostAliases",
        "priorityClassName",
        "schedulerName",
        "podPriority",
    ),
    _POD,
)
_OF_POD_SPEC = dict.fromkeys(
    (
        "imagePullSecrets",
        "dnsConfig",
        "dnsPolicy",
        "hostNetwork",
        "podResources",
        "podDisruptionBudget",
        "podPriorityClassName",
    ),
    _POD,
)
_HOUSEKEEPING = {
    "ttlStrategy": "what runs left is kept until it is removed",
    "podGC": "pods are processes, and go by themselves",
    "archiveLogs": "logs are always kept",
    "artifactGC": "artifacts are kept with the run",
    "metrics": "nothing collects them here",
    "priority": "nothing waits in line here",
}
_OF_CONTAINER = OtherNames(
    without_effect=dict.fromkeys(
        (
            "imagePullPolicy",
            "resources",
            "securityContext",
            "ports",
            "livenessProbe",
            "startupProbe",
            "terminationMessagePath",
            "terminationMessagePolicy",
            "tty",
            "stdin",
        ),
        _POD,
    ),
    refused={
        "lifecycle": f"{_NOT_YET} put what it runs into the command",
        "volumeDevices": "there are no block devices here; use `volumeMounts`",
    },
)
_LOCKS = {
    "synchronization": f"{_NOT_YET} use `parallelism`, or a step that waits",
}
_STORES = ("gcs", "azure", "oss", "hdfs", "artifactory", "plugin")
_OF_STEP = OtherNames(
    renamed={"withParams": ("with_param", None)},
)

OTHER_NAMES: Mapping[type, OtherNames] = {
    Metadata: OtherNames(
        without_effect=dict.fromkeys(
            ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "ownerReferences", "selfLink", "finalizers"), "the cluster sets it"
        )
    ),
    ObjectName: OtherNames(without_effect={"labels": _POD, "annotations": _POD, "creationTimestamp": "the cluster sets it"}),
    ClaimTemplate: OtherNames(without_effect={"spec": "it is a folder on the disk", "status": "the cluster sets it"}),
    WorkflowSpec: OtherNames(
        without_effect=_SCHEDULING
        | _OF_POD_SPEC
        | _HOUSEKEEPING
        | {
            "podMetadata": _POD,
            "volumeClaimGC": "the folders of claim templates are kept with the run",
            "workflowMetadata": "nothing selects workflows by label here",
            "artifactRepositoryRef": "artifacts are kept in the home",
        },
        refused=_LOCKS
        | {
            "suspend": "do not submit it yet",
            "shutdown": "use `pachyderm-dagster argo stop`",
            "podSpecPatch": f"{_NOT_YET} it changes pods of Kubernetes",
            "executorPlugins": "there are no plugins here; let a container do what it did",
        },
    ),
    CronSpec: OtherNames(refused={"useNamespaceTimezone": "write `timezone`"}),
    Template: OtherNames(
        without_effect=_SCHEDULING
        | {
            "metadata": _POD,
            "metrics": _HOUSEKEEPING["metrics"],
            "archiveLocation": "artifacts are kept in the home",
            "annotations": _POD,
            "pendingTimeout": _POD,
            "priority": _HOUSEKEEPING["priority"],
        },
        refused=_LOCKS
        | {
            "resource": f"{_NOT_YET} a `script` can call kubectl",
            "http": f"{_NOT_YET} a `script` can call curl",
            "data": "Argo's own is an experiment; list the files in a `script`",
            "plugin": "there are no plugins here; let a container do what it did",
            "memoize": f"{_NOT_YET} pipelines skip what was done before",
            "podSpecPatch": f"{_NOT_YET} it changes pods of Kubernetes",
        },
    ),
    Container: _OF_CONTAINER,
    Script: _OF_CONTAINER,
    UserContainer: _OF_CONTAINER,
    SetContainer: _OF_CONTAINER,
    EnvFrom: OtherNames(
        refused={
            "fieldRef": "pods have no object here; use `{{pod.name}}` or `{{workflow.name}}`",
            "resourceFieldRef": "pods have no limits here; write the value",
        }
    ),
    VolumeMount: OtherNames(
        without_effect={"mountPropagation": _POD, "recursiveReadOnly": _POD},
        refused={"subPathExpr": "use `subPath`, in which tags are replaced"},
    ),
    EmptyDir: OtherNames(without_effect={"medium": "it is a folder on the disk", "sizeLimit": "it is a folder on the disk"}),
    Volume: OtherNames(
        refused=dict.fromkeys(
            ("hostPath", "nfs", "projected", "downwardAPI", "csi", "ephemeral", "iscsi", "cephfs", "image", "gitRepo", "fc", "local"),
            "use `emptyDir`, a claim, `configMap` or `secret`",
        )
    ),
    ValueFrom: OtherNames(
        refused={
            "jsonPath": "it belongs to `resource` templates, which are not built yet",
            "jqFilter": "it belongs to `resource` templates, which are not built yet",
            "event": "it belongs to a WorkflowEventBinding, which is not built yet",
        }
    ),
    Artifact: OtherNames(
        without_effect={"archiveLogs": "logs are always kept", "artifactGC": "artifacts are kept with the run", "deleted": "it is of a status"},
        refused=dict.fromkeys(
            (
                *_STORES,
                "git",
                "http",
            ),
            "let a step fetch or store it, and hand it on as a file",
        ),
    ),
    KeyArtifact: OtherNames(
        refused=dict.fromkeys(
            ("bucket", "endpoint", "region", "accessKeySecret", "secretKeySecret", "insecure", "roleARN", "useSDKCreds", "createBucketIfNotPresent"),
            "without a bucket the key is one in the store of the workflow; let a step fetch or store what is elsewhere",
        )
    ),
    Step: _OF_STEP,
    Task: _OF_STEP,
    RetryStrategy: OtherNames(without_effect={"affinity": _POD}),
}
