"""The structs of a Sensor: which events it waits for, and which workflows it starts then."""

import msgspec

from pachyderm_dagster.argo.parameters import Plain, Text, Texts

AND, OR = "and", "or"


class DataFilter(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a value in the data of an event has to be."""

    path: str
    """Where it is: `body.user.0.name`."""
    type: str
    """`bool`, `number` or `string`."""
    value: Texts
    """One of these has to fit; that of a string is a regular expression."""
    comparator: str = ""
    """`=` (that without it), `!=`, and for numbers `>=`, `>`, `<`, `<=`."""
    template: str = ""
    """A template of Go whose `.Input` is the value as a string; what it comes to counts instead."""


class PayloadField(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A variable of an expression."""

    path: str
    """Where it is in the data."""
    name: str
    """What the expression calls it."""


class ExprFilter(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A condition over values of the data."""

    expr: str
    """The condition, as in `when`, over the names of its fields."""
    fields: tuple[PayloadField, ...]
    """Its variables."""


class TimeFilter(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The time of the day, in UTC, of an event."""

    start: str
    """`HH:MM:SS`: not before it."""
    stop: str
    """`HH:MM:SS`: before it; of the next day when that is earlier than the start."""


class ContextFilter(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What the context of an event has to be; what is left out may be anything."""

    type: str = ""
    """`calendar`, `webhook`, `minio`, `generic`."""
    subject: str = ""
    """The name of the event."""
    source: str = ""
    """The name of the EventSource."""
    data_content_type: str = msgspec.field(name="datacontenttype", default="")
    """`application/json`."""


class DependencyFilters(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Which events of a dependency count."""

    data: tuple[DataFilter, ...] = ()
    """What values have to be."""
    data_logical_operator: str = ""
    """`and` (that without it) or `or`, between those of `data`."""
    exprs: tuple[ExprFilter, ...] = ()
    """Conditions."""
    expr_logical_operator: str = ""
    """`and` (that without it) or `or`, between those of `exprs`."""
    context: ContextFilter | None = None
    """What the context has to be."""
    time: TimeFilter | None = None
    """The time of the day."""


class Dependency(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Events that a Sensor waits for."""

    name: str
    """By which conditions and parameters know it."""
    event_source_name: str
    """The EventSource."""
    event_name: str
    """Which of its events."""
    filters: DependencyFilters | None = None
    """Which of these count."""
    filters_logical_operator: str = ""
    """`and` (that without it) or `or`, between `data`, `exprs`, `context` and `time`."""


class ParameterSource(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where a value comes from: a key or template over the context or the data; without any of them the whole event."""

    dependency_name: str
    """Whose event."""
    context_key: str = ""
    """A path in its context: `id`, `source`, `subject`, `time`, `type`."""
    context_template: str = ""
    """A template of Go whose `.Input` is the context."""
    data_key: str = ""
    """A path in its data: `body.user.0.name`."""
    data_template: str = ""
    """A template of Go whose `.Input` is the data: `{{ .Input.body.name | upper }}`; where that fails, the key counts."""
    value: Text | None = None
    """The value where there is no event, or nothing at the key."""
    use_raw_data: bool = False
    """Parameters of workflows are strings, with and without it."""


class TriggerParameter(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A value of an event, and where it goes to."""

    src: ParameterSource
    """The value."""
    dest: str
    """`spec.arguments.parameters.NUMBER.value`, `metadata.generateName`, `metadata.name` or `metadata.labels.NAME` of the workflow."""
    operation: str = ""
    """`overwrite` (that without it), `append` to what is there, `prepend` to it."""


class TriggerObject(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The workflow that is started."""

    resource: Plain
    """A Workflow, with its own templates or a `workflowTemplateRef`."""


class WorkflowTrigger(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Starts a workflow."""

    source: TriggerObject
    """The workflow."""
    operation: str = ""
    """`submit`; of `k8s` `create`."""
    parameters: tuple[TriggerParameter, ...] = ()
    """What it gets of the events."""


class TriggerTemplate(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A trigger: which workflow, after which events."""

    name: str
    """The name of the trigger; the job in Dagster is called after the Sensor and it."""
    conditions: str = ""
    """Dependencies with `&&`, `||` and parentheses; all of them without it."""
    argo_workflow: WorkflowTrigger | None = None
    """Submits a workflow."""
    k8s: WorkflowTrigger | None = None
    """The same, in the words of Kubernetes."""

    @property
    def starts(self) -> WorkflowTrigger | None:
        """What it starts."""
        return self.argo_workflow or self.k8s


class Trigger(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a Sensor does."""

    template: TriggerTemplate
    """The trigger."""


class SensorSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Which events start which workflows."""

    dependencies: tuple[Dependency, ...]
    """The events."""
    triggers: tuple[Trigger, ...]
    """The workflows."""
