"""What is known of a node: of the workflow, of each group of steps, fan-out, attempt and pod in it."""

import enum

import msgspec

from pachyderm_dagster.argo.parameters import Location


class Phase(enum.StrEnum):
    """How far a node is."""

    PENDING = "Pending"  # it waits for a place
    RUNNING = "Running"  # it was started
    SUCCEEDED = "Succeeded"  # it did what it should
    FAILED = "Failed"  # user code failed, or the time was up
    ERROR = "Error"  # what surrounds user code failed
    SKIPPED = "Skipped"  # its `when` was false, or there was no item
    OMITTED = "Omitted"  # its `depends` can never hold

    @property
    def is_fulfilled(self) -> bool:
        """Whether it never changes again."""
        return self not in (Phase.PENDING, Phase.RUNNING)

    @property
    def is_failure(self) -> bool:
        """Whether it failed, one way or the other."""
        return self in (Phase.FAILED, Phase.ERROR)


class NodeType(enum.StrEnum):
    """What a node is."""

    POD = "Pod"  # a container, script or containerSet
    CONTAINER = "Container"  # one of the containers of a containerSet
    STEPS = "Steps"  # a template with steps
    STEP_GROUP = "StepGroup"  # a group of them
    DAG = "DAG"  # a template with a graph
    TASK_GROUP = "TaskGroup"  # a fan-out in a graph
    RETRY = "Retry"  # the attempts of a template
    SKIPPED = "Skipped"  # nothing ran
    HTTP = "HTTP"  # a request
    SUSPEND = "Suspend"  # a wait for a resume


class KeptArtifact(msgspec.Struct, frozen=True, omit_defaults=True):
    """An artifact: the key under which the store of the workflow, or of another run, has it, or its text, or where else it is. In tags it stands as JSON."""

    key: str = ""
    raw: str | None = None
    run: str = ""
    location: Location | None = None


class Metric(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was measured of a node; the kind is `gauge`, `counter` or `histogram`."""

    name: str
    kind: str
    value: float
    labels: dict[str, str] = {}
    help: str = ""


class NodeOutputs(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a node gave."""

    parameters: dict[str, str] = {}
    artifacts: dict[str, KeptArtifact] = {}
    result: str | None = None
    exit_code: str | None = None
    global_parameters: dict[str, str] = {}
    global_artifacts: dict[str, KeptArtifact] = {}


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A node as it is kept; times are seconds since 1970. One that is `daemoned` is ready, and runs on for others; one `from_cache` was not
    run, but has what an earlier one gave.
    """

    name: str
    id: str
    display_name: str
    type: NodeType
    template: str = ""
    phase: Phase = Phase.PENDING
    message: str = ""
    parent: str = ""
    started: float = 0.0
    finished: float = 0.0
    pod: str = ""
    ip: str = ""
    daemoned: bool = False
    from_cache: bool = False
    metrics: tuple[Metric, ...] = ()
    inputs: dict[str, str] = {}
    outputs: NodeOutputs = NodeOutputs()
