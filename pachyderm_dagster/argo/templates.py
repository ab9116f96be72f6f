"""Templates: the steps of a workflow, and what starts them."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import msgspec

from pachyderm_dagster.argo.bookkeeping import ArchiveLocation, Memoize, Metrics, PodMetadata, Synchronization
from pachyderm_dagster.argo.containers import Container, ContainerSet, Script, UserContainer, Volume
from pachyderm_dagster.argo.nodes import NodeType
from pachyderm_dagster.argo.parameters import Arguments, Artifact, Inputs, KeyRef, Outputs, Text, Texts
from pachyderm_dagster.argo.pod_fields import PodFields

Items: TypeAlias = Annotated[tuple[Any, ...], "items"]
"""A list of strings, numbers, booleans, lists and maps."""


class ContinueOn(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What does not fail the template that the step is in."""

    error: bool = False
    """The step's phase `Error`."""
    failed: bool = False
    """The step's phase `Failed`."""


class Numbers(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Numbers, as strings."""

    count: Text | None = None
    """How many; instead of `end`."""
    start: Text | None = None
    """The first one, 0 without it."""
    end: Text | None = None
    """The last one, which may be smaller than the first."""
    format: str = ""
    """How a number is written, as printf has it: `%02d`."""


class TemplateRef(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A template of a WorkflowTemplate or ClusterWorkflowTemplate."""

    name: str
    """The name of the object."""
    template: str
    """The name of the template in it."""
    cluster_scope: bool = False
    """It is a ClusterWorkflowTemplate."""


class Hook(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A template that is run when something happens."""

    template: str = ""
    """Its name."""
    template_ref: TemplateRef | None = None
    """The template, when it is of another object."""
    arguments: Arguments = Arguments()
    """What it gets."""
    expression: str = ""
    """When it is run, once; all hooks but `exit` have one."""


class Step(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A template that is run with arguments, once or for each of several items."""

    name: str
    """By which others of the template name its outputs."""
    template: str = ""
    """The name of the template."""
    template_ref: TemplateRef | None = None
    """The template, when it is of another object."""
    inline: "Template | None" = None
    """The template itself."""
    arguments: Arguments = Arguments()
    """What it gets."""
    when: str = ""
    """It is skipped when this is false."""
    with_items: Items | None = None
    """It is run for each of these, which is `{{item}}`."""
    with_param: Text | None = None
    """It is run for each item of this JSON list."""
    with_sequence: Numbers | None = None
    """It is run for each of these numbers."""
    continue_on: ContinueOn | None = None
    """Which of its phases does not count as failed."""
    on_exit: str = ""
    """A template that is run after it; v3's way to write `hooks.exit`."""
    hooks: dict[str, Hook] = {}
    """`exit`: a template that is run after it; under any other name one that is run once, when its `expression` holds."""


class Task(Step, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A step of a `dag`, with what it waits for."""

    dependencies: tuple[str, ...] = ()
    """Tasks that must have succeeded, or been skipped."""
    depends: str = ""
    """The same as an expression: `a && (b.Failed || c)`."""


class Dag(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Tasks that wait for one another."""

    tasks: tuple[Task, ...]
    """They, in any order."""
    target: str = ""
    """Tasks, with blanks between, that decide what comes of it; others that they do not need are not run."""
    fail_fast: bool | None = None
    """Taken; other branches finish after a failure, as they do in Argo 4."""


class HttpHeaderFrom(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where the value of a header comes from."""

    secret_key_ref: KeyRef
    """A key of a Secret."""


class HttpHeader(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A header of a request."""

    name: str
    """Its name."""
    value: Text | None = None
    """Its value."""
    value_from: HttpHeaderFrom | None = None
    """Where its value comes from."""


class HttpBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a request sends that is no text."""

    bytes: Text
    """It, in base64."""


class Http(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A request; its answer's body is the result. It needs `--network`."""

    url: str
    """Its address."""
    method: str = "GET"
    """Its method."""
    headers: tuple[HttpHeader, ...] = ()
    """Its headers."""
    body: Text = ""
    """What is sent."""
    body_from: HttpBody | None = None
    """What is sent instead of `body`."""
    timeout_seconds: int = 30
    """After which it has failed."""
    success_condition: str = ""
    """An expression over `request` and `response` (`response.statusCode == 201`); a status from 200 to 299 without it."""
    insecure_skip_verify: bool = False
    """The certificate of the server is not looked at."""


class ManifestFrom(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where a manifest is."""

    artifact: Artifact
    """The name of an input artifact of the template, which is a file of YAML."""


class Resource(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Something that is done with an object of a cluster; it needs `--network`, and a kubeconfig (`KUBECONFIG`, or `~/.kube/config`)."""

    action: str
    """`get`, `create`, `apply`, `delete`, `replace` or `patch`."""
    manifest: str = ""
    """The object, or what is patched of it, as YAML."""
    manifest_from: ManifestFrom | None = None
    """Where that is instead."""
    set_owner_reference: bool = False
    """The object goes with the workflow, when `argo delete` or `ttlStrategy` removes that."""
    flags: Texts = ()
    """`--namespace`, `--cascade`, `--grace-period`, `--ignore-not-found`, `--field-manager` and `--dry-run`, as kubectl has them."""
    merge_strategy: str = ""
    """How it is patched: `strategic` (that without it) or `merge`."""
    success_condition: str = ""
    """It is waited for until this holds: `status.succeeded > 0, status.phase in (Done, Over)`."""
    failure_condition: str = ""
    """It has failed when this holds."""


class Suspend(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A wait for a resume."""

    duration: Text | None = None
    """After which it goes on by itself: seconds, or `1h30m`."""


class Backoff(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How long to wait between attempts."""

    duration: Text | None = None
    """Before the second attempt: seconds, or `1m`."""
    factor: Text | None = None
    """By which each wait is longer than the one before."""
    cap: Text | None = None
    """The longest wait."""
    max_duration: Text | None = None
    """From the first attempt; after it there is no other."""


class RetryStrategy(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How often a template is tried again."""

    limit: Text | None = None
    """Attempts beyond the first; without end when not given."""
    retry_policy: str = ""
    """`OnFailure` (that without an expression), `OnError`, `OnTransientError`, `Always` (that with one)."""
    backoff: Backoff | None = None
    """How long to wait between them."""
    expression: str = ""
    """Over `lastRetry`; there is no other attempt when it is false."""


class Template(PodFields, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Something that can be run: a container, or others in steps or a graph. Exactly one kind is given."""

    name: str = ""
    """By which others name it."""
    inputs: Inputs = Inputs()
    """What it takes."""
    outputs: Outputs = Outputs()
    """What it gives."""
    container: Container | None = None
    """A program in an image."""
    script: Script | None = None
    """A program that is given a file to run."""
    container_set: ContainerSet | None = None
    """Several programs in one pod."""
    steps: tuple[tuple[Step, ...], ...] | None = None
    """Groups of steps, one group after the other; the steps of a group at the same time."""
    dag: Dag | None = None
    """Tasks that wait for one another."""
    resource: Resource | None = None
    """Something that is done with an object of a cluster."""
    http: Http | None = None
    """A request."""
    suspend: Suspend | None = None
    """A wait for a resume."""
    parallelism: int | None = None
    """Of `steps` and `dag`: how many of its steps are active at once."""
    fail_fast: bool = False
    """Of `steps` and `dag`: nothing new is started after a failure."""
    timeout: str = ""
    """Of `container` and `script`: seconds with the wait for a place."""
    active_deadline_seconds: Text | None = None
    """Of `container` and `script`: seconds that it may run."""
    retry_strategy: RetryStrategy | None = None
    """How often it is tried again."""
    daemon: bool = False
    """Of `container` and `script`: it counts as done when it is ready, and is ended when the template that it is in ends."""
    metrics: Metrics | None = None
    """What is measured of it."""
    memoize: Memoize | None = None
    """What it gave before is taken instead of running it again."""
    synchronization: Synchronization | None = None
    """Locks that are held while it runs."""
    pending_timeout: Text = ""
    """Of a pod: how long it may wait for a place: `5m`."""
    archive_location: ArchiveLocation | None = None
    """Where its outputs are kept."""
    metadata: PodMetadata | None = None
    """Of a pod of Kubernetes."""
    init_containers: tuple[UserContainer, ...] = ()
    """Of a pod: programs that run before it, one after the other."""
    sidecars: tuple[UserContainer, ...] = ()
    """Of a pod: programs that run beside it, and are ended when it has ended."""
    volumes: tuple[Volume, ...] = ()
    """Folders that its container sees."""

    @property
    def kind(self) -> str:
        """Which kind it is: the name of the field."""
        return next((kind for kind, field in FIELDS_OF_KINDS.items() if getattr(self, field) is not None), "")

    @property
    def node_type(self) -> NodeType:
        """Of a node of it of which nothing ran: a pod is listed as one."""
        return NodeType.POD if self.kind in LEAVES else NodeType.SKIPPED

    @property
    def containers(self) -> tuple[Container, ...]:
        """The containers whose ends are the pod's."""
        if self.container_set is not None:
            return self.container_set.containers
        found = self.container or self.script
        return () if found is None else (found,)

    @property
    def flow(self) -> Sequence[Step]:
        """The steps or tasks of it, in the order in which they stand."""
        if self.dag is not None:
            return self.dag.tasks
        return [step for group in self.steps or () for step in group]


def without_bookkeeping(template: Template) -> Template:
    """A template without what is said around it, whose tags may stand for what is known when it has ended."""
    return msgspec.structs.replace(template, metrics=None, memoize=None, synchronization=None)


FIELDS_OF_KINDS = {
    "container": "container",
    "script": "script",
    "containerSet": "container_set",
    "steps": "steps",
    "dag": "dag",
    "resource": "resource",
    "http": "http",
    "suspend": "suspend",
}
"""The kinds of templates, with the fields of the struct."""
KINDS = tuple(FIELDS_OF_KINDS)
LEAVES = ("container", "script", "containerSet")
"""Those that are pods."""
