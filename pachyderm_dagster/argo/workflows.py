"""The objects that a workflow file holds: workflows, their templates, what starts them by the clock, and the ConfigMaps and Secrets that they read."""

from typing import Any, TypeAlias

import msgspec

from pachyderm_dagster.argo.bookkeeping import Metrics, PodMetadata, Synchronization
from pachyderm_dagster.argo.containers import ClaimTemplate, Volume
from pachyderm_dagster.argo.event_sources import EventSourceSpec
from pachyderm_dagster.argo.label_selectors import LabelSelector
from pachyderm_dagster.argo.parameters import Arguments, Plain, Text
from pachyderm_dagster.argo.pod_fields import FOR_PODS, PodFields
from pachyderm_dagster.argo.sensors import SensorSpec
from pachyderm_dagster.argo.templates import Hook, RetryStrategy, Template
from pachyderm_dagster.pps.strict import Place


class Metadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What an object is called."""

    name: str = ""
    """Its name."""
    generate_name: str = ""
    """What its name begins with; five characters are added."""
    namespace: str = ""
    """Kept for `workflow.namespace`."""
    labels: dict[str, Text] = {}
    """`workflow.labels.NAME`."""
    annotations: dict[str, Text] = {}
    """`workflow.annotations.NAME`."""

    @property
    def base_name(self) -> str:
        """What all runs of the same file are called by: the generated part of names is left out."""
        return self.generate_name.rstrip("-.") or self.name


class WorkflowTemplateRef(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The object whose spec a workflow takes."""

    name: str
    """The name of the WorkflowTemplate or ClusterWorkflowTemplate."""
    cluster_scope: bool = False
    """It is a ClusterWorkflowTemplate."""


class LabelFrom(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where the value of a label comes from."""

    expression: str
    """What it comes to when the workflow begins."""


class WorkflowMetadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Labels and annotations of a workflow beside those of its own `metadata`."""

    labels: dict[str, Text] = {}
    """Labels: `workflow.labels.NAME`."""
    annotations: dict[str, Text] = {}
    """Annotations: `workflow.annotations.NAME`."""
    labels_from: dict[str, LabelFrom] = {}
    """Labels whose values are expressions."""


class TtlStrategy(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How many seconds after its end a run is removed; the next `argo submit` or `argo list` does it."""

    seconds_after_completion: int | None = None
    """Whatever came of it."""
    seconds_after_success: int | None = None
    """When it succeeded; before the one for all."""
    seconds_after_failure: int | None = None
    """When it failed; before the one for all."""


class PodGc(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """When the roots and volumes of pods are removed; their logs stay."""

    strategy: str = ""
    """`OnPodCompletion`, `OnPodSuccess`, `OnWorkflowCompletion`, `OnWorkflowSuccess`; never without it."""
    label_selector: LabelSelector | None = None
    """Which pods are meant; all without it."""


class VolumeClaimGc(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """When the volumes of claim templates are removed."""

    strategy: str = ""
    """`OnWorkflowSuccess` (that without it), `OnWorkflowCompletion`; those of a workflow that failed are removed with it otherwise."""


class WorkflowSpec(PodFields, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a workflow runs."""

    entrypoint: str = ""
    """The template that is run with the arguments."""
    arguments: Arguments = Arguments()
    """What it gets; `workflow.parameters.NAME` everywhere."""
    templates: tuple[Template, ...] = ()
    """What can be run."""
    workflow_template_ref: WorkflowTemplateRef | None = None
    """The object whose spec is under this one."""
    on_exit: str = ""
    """A template that is run at the end, whatever came of it."""
    hooks: dict[str, Hook] = msgspec.field(default_factory=dict)
    """`exit`: the same, with arguments; under any other name a template that is run once, when its `expression` holds."""
    volumes: tuple[Volume, ...] = ()
    """Folders that all templates may mount."""
    volume_claim_templates: tuple[ClaimTemplate, ...] = ()
    """Folders that are made for it."""
    parallelism: int | None = None
    """How many pods run at once."""
    active_deadline_seconds: Text | None = None
    """From its start; what is not done by then fails."""
    retry_strategy: RetryStrategy | None = None
    """Of every `container` and `script` that has none."""
    template_defaults: Template | None = None
    """What every template has that does not say otherwise."""
    suspend: bool = False
    """It is not begun before somebody resumes it."""
    synchronization: Synchronization | None = None
    """Locks that are held while it runs."""
    metrics: Metrics | None = None
    """What is measured of it."""
    workflow_metadata: WorkflowMetadata | None = None
    """Labels and annotations that it gets."""
    ttl_strategy: TtlStrategy | None = None
    """When what it left is removed."""
    pod_gc: PodGc | None = msgspec.field(name="podGC", default=None)
    """When what its pods left is removed."""
    volume_claim_gc: VolumeClaimGc | None = msgspec.field(name="volumeClaimGC", default=None)
    """When the volumes of `volumeClaimTemplates` are removed."""
    archive_logs: bool | None = None
    """What each pod printed is its artifact `main-logs`."""
    image_pull_secrets: tuple[Plain, ...] = ()
    """Secrets for registries."""
    dns_config: Plain | None = None
    """How pods look up names."""
    dns_policy: str = ""
    """How pods look up names."""
    host_network: bool | None = None
    """Pods have the network of their node."""
    pod_metadata: PodMetadata | None = None
    """Labels and annotations of its pods."""


_MORE_OF_PODS = ("image_pull_secrets", "dns_config", "dns_policy", "host_network")
_OF_PODS = (*FOR_PODS, *_MORE_OF_PODS, "volumes", "pod_metadata", "archive_logs")


def pod_part(spec: WorkflowSpec) -> WorkflowSpec:
    """What pods have of the spec of their workflow."""
    return WorkflowSpec(**{name: getattr(spec, name) for name in _OF_PODS})


def more_of_pods(spec: WorkflowSpec) -> dict[str, Any]:
    """Fields of a pod's spec that only workflows have."""
    found: dict[str, Any] = msgspec.to_builtins(WorkflowSpec(**{name: getattr(spec, name) for name in _MORE_OF_PODS}))
    return found


class CronSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """When a workflow is started."""

    workflow_spec: WorkflowSpec
    """What is started."""
    schedules: tuple[str, ...] = ()
    """When, as cron has it, with `@hourly` and its like and `@every 1h`."""
    schedule: str = ""
    """One schedule; v3's way to write it."""
    timezone: str = ""
    """The timezone of the schedules; UTC without it."""
    when: str = ""
    """It is not started when this is false."""
    suspend: bool = False
    """It is not started."""
    concurrency_policy: str = ""
    """`Allow` (that without it), `Forbid`, `Replace`: what to do when the one before is not done."""
    starting_deadline_seconds: int | None = None
    """How late a start may be."""
    stop_strategy: Plain = {}
    """After which it is not started again."""
    workflow_metadata: Plain = {}
    """Labels and annotations of what is started."""


class Workflow(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow."""

    metadata: Metadata
    spec: WorkflowSpec


class WorkflowTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """Templates that workflows name; of one namespace, or of all."""

    metadata: Metadata
    spec: WorkflowSpec
    cluster_scope: bool = False


class CronWorkflow(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow that the clock starts."""

    metadata: Metadata
    spec: CronSpec


class Values(msgspec.Struct, frozen=True, kw_only=True):
    """A ConfigMap, or a Secret, whose values are decoded."""

    metadata: Metadata
    data: dict[str, str]
    secret: bool = False


class EventSource(msgspec.Struct, frozen=True, kw_only=True):
    """What makes events."""

    metadata: Metadata
    spec: EventSourceSpec


class Sensor(msgspec.Struct, frozen=True, kw_only=True):
    """Which events start which workflows.

    Attributes:
        workflows: of its triggers, one each.
    """

    metadata: Metadata
    spec: SensorSpec
    workflows: tuple[Workflow, ...]


Object: TypeAlias = Workflow | WorkflowTemplate | CronWorkflow | Values | EventSource | Sensor


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """An object of a file, with where it stands."""

    object: Object
    place: Place

    @property
    def kind(self) -> str:
        """What Kubernetes calls its kind."""
        match self.object:
            case WorkflowTemplate(cluster_scope=True):
                return "ClusterWorkflowTemplate"
            case Values(secret=secret):
                return "Secret" if secret else "ConfigMap"
            case other:
                return type(other).__name__

    @property
    def name(self) -> str:
        """The name of it, or what that begins with."""
        return self.object.metadata.name or self.object.metadata.generate_name
