"""What workflow files may say beyond the fields that are built: names without effect on one machine, and names that are refused, with the way out."""

from collections.abc import Mapping

from pachyderm_dagster.argo.bookkeeping import ArchiveLocation, SemaphoreRef
from pachyderm_dagster.argo.containers import (
    ClaimTemplate,
    Container,
    EmptyDir,
    ObjectName,
    Script,
    SetContainer,
    UserContainer,
    Volume,
    VolumeMount,
)
from pachyderm_dagster.argo.event_vocabulary import EVENT_NAMES
from pachyderm_dagster.argo.parameters import Artifact, KeyArtifact, ValueFrom
from pachyderm_dagster.argo.pod_fields import FOR_PODS
from pachyderm_dagster.argo.templates import RetryStrategy, Step, Task, Template
from pachyderm_dagster.argo.workflows import CronSpec, Metadata, PodGc, WorkflowSpec
from pachyderm_dagster.pps.strict import OtherNames

_POD = "pods are processes of this machine"

_FOR_PODS = "for pods of Kubernetes; those of this machine do without"
_HOUSEKEEPING = {
    "artifactGC": "artifacts are kept with the run",
    "priority": "who asks first for a lock is not told apart here",
    "executor": "nothing runs beside a pod here",
    "podPriority": "use `priorityClassName`",
    "annotations": "nobody reads them here",
}
_OF_SPEC = ("image_pull_secrets", "dns_config", "dns_policy", "host_network", "pod_metadata")
_OF_CONTAINER = OtherNames(
    told=dict.fromkeys(
        (
            "image_pull_policy",
            "resources",
            "security_context",
            "ports",
            "lifecycle",
            "liveness_probe",
            "startup_probe",
            "termination_message_path",
            "termination_message_policy",
            "stdin",
            "tty",
        ),
        _FOR_PODS,
    ),
)
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
    ClaimTemplate: OtherNames(without_effect={"status": "the cluster sets it"}),
    WorkflowSpec: OtherNames(
        told=dict.fromkeys((*FOR_PODS, *_OF_SPEC), _FOR_PODS),
        without_effect={
            **{name: _HOUSEKEEPING[name] for name in ("artifactGC", "priority", "executor", "podPriority")},
            "podResources": _POD,
            "podDisruptionBudget": "pods are not evicted here",
            "podPriorityClassName": "use `priorityClassName`",
            "artifactRepositoryRef": "artifacts are kept in the home",
        },
        refused={
            "shutdown": "use `pachctl argo stop`",
            "executorPlugins": "there are no plugins here; let a container do what it did",
        },
    ),
    PodGc: OtherNames(without_effect={"deleteDelayDuration": "it is done at once"}),
    CronSpec: OtherNames(
        without_effect=dict.fromkeys(
            ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"), "what it started stays; `ttlStrategy` of the workflow says when that is removed"
        ),
        refused={"useNamespaceTimezone": "write `timezone`"},
    ),
    Template: OtherNames(
        told=dict.fromkeys((*FOR_PODS, "metadata"), _FOR_PODS),
        without_effect=_HOUSEKEEPING,
        refused={
            "data": "Argo's own is an experiment; list the files in a `script`",
            "plugin": "there are no plugins here; let a container do what it did",
        },
    ),
    ArchiveLocation: OtherNames(
        without_effect=dict.fromkeys(("s3", "gcs", "azure", "oss", "hdfs", "artifactory", "http", "git", "raw"), "artifacts are kept in the home")
    ),
    SemaphoreRef: OtherNames(refused={"database": "its size is a key of a ConfigMap here; give `configMapKeyRef`"}),
    Container: _OF_CONTAINER,
    Script: _OF_CONTAINER,
    UserContainer: _OF_CONTAINER,
    SetContainer: _OF_CONTAINER,
    VolumeMount: OtherNames(told=dict.fromkeys(("mount_propagation", "recursive_read_only"), _FOR_PODS)),
    EmptyDir: OtherNames(told=dict.fromkeys(("medium", "size_limit"), _FOR_PODS)),
    Volume: OtherNames(refused={"local": "it is of a PersistentVolume; use `hostPath` or a claim"}),
    ValueFrom: OtherNames(
        refused={
            "event": "it belongs to a WorkflowEventBinding; let a Sensor set the parameter",
        }
    ),
    Artifact: OtherNames(
        without_effect={"archiveLogs": "logs are always kept", "artifactGC": "artifacts are kept with the run", "deleted": "it is of a status"},
        refused=dict.fromkeys(_STORES, "let a step fetch or store it, and hand it on as a file"),
    ),
    KeyArtifact: OtherNames(
        without_effect={"useSDKCreds": "the variables of the environment count without secrets"},
        refused={
            "roleARN": "set the variables of the environment that name the role",
            "createBucketIfNotPresent": "make the bucket before",
            "caSecret": "set SSL_CERT_FILE",
            "encryptionOptions": "set it for the bucket",
            "sessionTokenSecret": "set AWS_SESSION_TOKEN",
        },
    ),
    Step: _OF_STEP,
    Task: _OF_STEP,
    RetryStrategy: OtherNames(without_effect={"affinity": _POD}),
    **EVENT_NAMES,
}
