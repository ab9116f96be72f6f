"""What a pipeline is, as stored: its spec, complete and valid, and its canonical JSON.

`spec_reading.parse_specs` makes it from what users write. In the JSON, fields that are unset (None, false, empty) are left out; every other default is written,
so that a stored spec keeps its meaning when a default changes.
"""

import enum
from typing import Annotated, Any, Self, TypeAlias

import msgspec

from pachyderm_dagster.codec import digest
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.model import DEFAULT_BRANCH
from pachyderm_dagster.pps.egress import Egress
from pachyderm_dagster.pps.inputs import SET_INPUTS, CronInput, CrossInput, GroupInput, Input, JoinInput, PfsInput, UnionInput, leaves, sorted_input

Seconds: TypeAlias = Annotated[float, "seconds"]
Quantity: TypeAlias = Annotated[str, "quantity"]
JsonText: TypeAlias = Annotated[str, "json"]


class Reprocess(enum.StrEnum):
    """Which datums of an earlier job count."""

    UNTIL_SUCCESS = "until_success"  # a datum that was processed is skipped
    EVERY_JOB = "every_job"  # none: every job runs every datum
    CODE_CHANGE = "code_change"  # a datum that was processed by the same code is skipped


class PipelineName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pipeline's name, which is its output repo's too."""

    name: str
    project: str | None = None


class SecretUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret that the code gets: all of it as files below `mount_path`, or the value under `key` in the variable `env_var`."""

    name: str
    key: str = ""
    mount_path: str = ""
    env_var: str = ""


class Transform(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user's code and how it is started."""

    image: str = "ubuntu:20.04"
    cmd: tuple[str, ...] = ()
    stdin: tuple[str, ...] = ()
    err_cmd: tuple[str, ...] = ()
    err_stdin: tuple[str, ...] = ()
    env: dict[str, str] = {}
    secrets: tuple[SecretUse, ...] = ()
    accept_return_code: tuple[int, ...] = ()
    user: str = ""
    working_dir: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    memory_volume: bool = False
    datum_batching: bool = False


class ParallelismSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many workers share a job."""

    constant: int = 1


class DatumSetSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many datums a worker takes at a time, by number, by bytes of input, or so that each worker gets so many sets. 0: not set."""

    number: int = 0
    size_bytes: int = 0
    per_worker: int = 0


class Metadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the pods are marked with."""

    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}


class Gpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Devices of one kind."""

    type: str = "nvidia.com/gpu"
    number: int = 0


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a container asks for or may use, in Kubernetes' quantities."""

    cpu: float = 0.0
    memory: Quantity = ""
    disk: Quantity = ""
    gpu: Gpu | None = None


class SchedulingSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where pods go."""

    node_selector: dict[str, str] = {}
    priority_class_name: str = ""


class TolerationOperator(enum.StrEnum):
    """How a toleration compares."""

    EXISTS = "EXISTS"  # the taint's key is there
    EQUAL = "EQUAL"  # key and value are the same


class TaintEffect(enum.StrEnum):
    """Which taints a toleration is about."""

    ALL_EFFECTS = "ALL_EFFECTS"
    NO_SCHEDULE = "NO_SCHEDULE"  # no new pods
    PREFER_NO_SCHEDULE = "PREFER_NO_SCHEDULE"  # no new pods while there is another node
    NO_EXECUTE = "NO_EXECUTE"  # running pods leave too


class Toleration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A taint that the pods bear."""

    operator: TolerationOperator
    key: str = ""
    value: str = ""
    effect: TaintEffect = TaintEffect.ALL_EFFECTS
    toleration_seconds: int | None = None


class PipelineSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pipeline: what it reads, what it runs on each datum, how it is run."""

    pipeline: PipelineName
    transform: Transform
    input: Input
    description: str = ""
    output_branch: str = DEFAULT_BRANCH
    egress: Egress | None = None
    parallelism_spec: ParallelismSpec = ParallelismSpec()
    datum_set_spec: DatumSetSpec | None = None
    datum_tries: int = 3
    datum_timeout: Seconds | None = None
    job_timeout: Seconds | None = None
    maximum_expected_uptime: Seconds | None = None
    salt: str | None = None
    reprocess_spec: Reprocess = Reprocess.UNTIL_SUCCESS
    autoscaling: bool = False
    resource_requests: Resources | None = None
    resource_limits: Resources | None = None
    sidecar_resource_requests: Resources | None = None
    sidecar_resource_limits: Resources | None = None
    scheduling_spec: SchedulingSpec | None = None
    tolerations: tuple[Toleration, ...] = ()
    metadata: Metadata | None = None
    pod_spec: JsonText = ""
    pod_patch: JsonText = ""

    def to_json(self) -> str:
        """The canonical JSON: equal specs give equal text; `from_json` and `parse_specs` read it back. Keys in snake_case, durations in seconds."""
        return msgspec.json.encode(to_document(self)).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The spec that `to_json` wrote.

        Raises:
            InvalidError: `spec-invalid`, when a version wrote it that knows other fields.
        """
        try:
            document = msgspec.json.decode(text, type=dict[str, Any])
            name = document["pipeline"]
            name["project"] = name.get("project", {}).get("name")
            return msgspec.convert(document | {"input": _tagged(document["input"])}, cls)
        except (msgspec.MsgspecError, KeyError) as error:
            raise InvalidError("spec-invalid", f"a stored pipeline spec does not read: {error}; another version of this program wrote it") from error

    def code_version(self) -> str:
        """64 hex digits that change with what decides a datum's result: code, inputs, output branch; not with where or how widely it runs."""
        t = self.transform
        code: list[object] = [t.image, t.cmd, t.stdin, sorted(t.env.items()), sorted(set(t.accept_return_code)), t.user, t.working_dir]
        # What came later counts where it is set, so that the versions of other code stay what they were.
        code += [part for part in (t.err_cmd and [t.err_cmd, t.err_stdin], t.secrets) if part]
        parts = [msgspec.json.encode(part) for part in (code, to_document(sorted_input(self.input)), self.output_branch)]
        return digest("code-version", parts).hex()

    def code_identity(self) -> str:
        """64 hex digits that change with what user code is and what it is told beside its files, whichever those are: under `code_change` results hang on it.

        Fields at their defaults are no part of it, so that a field that is new in a later version changes nothing for specs without it.
        """
        code = {name: value for name, value in _fields(self.transform).items() if name not in _NOT_CODE}
        code["accept_return_code"] = sorted(set(self.transform.accept_return_code))
        told = {(leaf.name, leaf.empty_files, leaf.join_on, leaf.group_by) for leaf in leaves(self.input) if leaf.empty_files or leaf.join_on or leaf.group_by}
        return digest("code", [msgspec.json.encode(part) for part in (sorted(code.items()), sorted(told))]).hex()

    def datum_salt(self, salt: str) -> str:
        """What goes into the hash of every datum: the salt of the pipeline's version, under `code_change` with the code's identity."""
        if self.reprocess_spec is not Reprocess.CODE_CHANGE:
            return salt
        return digest("code-salt", [salt.encode(), self.code_identity().encode()]).hex()

    def upstream_branches(self, default_project: str) -> list[tuple[str, str, str]]:
        """(project, repo, branch) of what it reads, cron repos included, each once. `default_project` is the pipeline's when the spec names none."""
        project = self.pipeline.project or default_project
        repos = [(leaf.repo_name(project), leaf.branch) for leaf in leaves(self.input)]
        return list(dict.fromkeys((repo.project, repo.name, branch) for repo, branch in repos))


class UserSpec(msgspec.Struct, frozen=True):
    """A specification as its user gave it, before defaults.

    Args:
        document: JSON of it.
        text: the text that it was written as, comments and all; empty when that was no text of its own.
    """

    document: str
    text: str = ""

    @property
    def pipeline(self) -> PipelineName:
        """The pipeline that it is of."""
        named = msgspec.json.decode(self.document)["pipeline"]
        project = named.get("project")
        return PipelineName(named["name"], (project["name"] if isinstance(project, dict) else project) or None)


_SET_NAMES = {kind: name for name, kind in SET_INPUTS.items()}
# Of the transform, what is about getting the code and not the code.
_NOT_CODE = ("image_pull_secrets", "memory_volume")
_KUBERNETES_ONLY = (
    "autoscaling",
    "resource_requests",
    "resource_limits",
    "sidecar_resource_requests",
    "sidecar_resource_limits",
    "scheduling_spec",
    "tolerations",
    "metadata",
    "pod_spec",
    "pod_patch",
)
_KUBERNETES_ONLY_TRANSFORM = ("image_pull_secrets",)


def kubernetes_only_fields(spec: PipelineSpec) -> tuple[str, ...]:
    """Fields that this spec sets and that mean something on Kubernetes only: a local run goes without them. The image is not among them."""
    found = [name for name in _KUBERNETES_ONLY if getattr(spec, name)]
    return (*(f"transform.{name}" for name in _KUBERNETES_ONLY_TRANSFORM if getattr(spec.transform, name)), *found)


def to_document(value: object) -> Any:
    """The plain form (dicts, lists, strings, numbers) of a spec or a part of it, as Pachyderm writes it."""
    match value:
        case PipelineName(project=str(project)):
            return {"project": {"name": project}, "name": value.name}
        case PfsInput():
            return {"pfs": _fields(value)}
        case CronInput():
            return {"cron": _fields(value)}
        case CrossInput() | UnionInput() | JoinInput() | GroupInput():
            return {_SET_NAMES[type(value)]: to_document(value.members)}
        case msgspec.Struct():
            return _fields(value)
        case tuple():
            return [to_document(item) for item in value]
        case dict():
            return dict(sorted(value.items()))
        case _:
            return msgspec.to_builtins(value)


def _fields(value: msgspec.Struct) -> dict[str, Any]:
    # As protobuf's JSON does: a field at its zero is left out. A zero that is not the default (`toleration_seconds: 0`) is a value.
    fields = ((field, getattr(value, field.name)) for field in msgspec.structs.fields(value))
    return {field.encode_name: to_document(found) for field, found in fields if found or found != _default(field)}


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _tagged(document: dict[str, Any]) -> dict[str, Any]:
    # msgspec tells the kinds of input apart by a field, Pachyderm by the key around them.
    ((kind, body),) = document.items()
    if kind in SET_INPUTS:
        return {"kind": kind, "members": [_tagged(member) for member in body]}
    return {"kind": kind, **body}
