"""What a pipeline is, as stored: its spec, complete and valid, and its canonical JSON.

`spec_reading.parse_specs` makes it from what users write. In the JSON, fields that are unset (None, false, empty) are left out; every other default is written,
so that a stored spec keeps its meaning when a default changes.
"""

import enum
from typing import Annotated, Any, Self, TypeAlias

import msgspec

from pachyderm_dagster.codec import digest
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.model import DEFAULT_BRANCH, RepoName
from pachyderm_dagster.pps.egress import Egress
from pachyderm_dagster.pps.inputs import SET_INPUTS, CronInput, CrossInput, GroupInput, Input, JoinInput, PfsInput, UnionInput, leaves, sorted_input
from pachyderm_dagster.pps.pods import Metadata, Resources, SchedulingSpec, Toleration
from pachyderm_dagster.pps.services import Service, Spout

Seconds: TypeAlias = Annotated[float, "seconds"]
JsonText: TypeAlias = Annotated[str, "json"]

SOURCE = "source"
"""Where the files of a source folder are: below `/pfs` for user code, below `/` in the spec repo."""


class Reprocess(enum.StrEnum):
    """Which datums of an earlier job count."""

    UNTIL_SUCCESS = "until_success"  # a datum that was processed is skipped
    EVERY_JOB = "every_job"  # none: every job runs every datum
    CODE_CHANGE = "code_change"  # a datum that was processed by the same code is skipped


class PipelineName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pipeline's name, which is its output repo's too."""

    name: str
    """Of the pipeline and of its output repo: up to 51 letters, digits, `_` and `-`, the first a letter or digit."""
    project: str | None = None
    """Where it is made; `{"name": …}` is taken too."""

    def in_project(self, project: str) -> RepoName:
        """Its full name, which is in `project` unless it says otherwise."""
        return RepoName(self.project or project, self.name)


class SecretUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret that the code gets: all of it as files below `mount_path`, or the value under `key` in the variable `env_var`."""

    name: str
    """Of the secret."""
    key: str = ""
    """Whose value `env_var` gets."""
    mount_path: str = ""
    """An absolute folder, where every key is a file."""
    env_var: str = ""
    """The variable that holds the value under `key`."""


class Build(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A folder of source files that the command finds in `/pfs/source` (docs/design/0016)."""

    path: str = "."
    """Where the folder is; relative to that of the pipeline file."""
    language: str = ""
    """`python`, or none: which command runs the folder when `cmd` says nothing: `python3 main.py`, or `sh ./run.sh`."""
    source: str = ""
    """A digest of the files. It is filled in when a version of the pipeline is made, whatever was written."""


class Transform(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user's code and how it is started."""

    image: str = "ubuntu:20.04"
    """Kept; on one machine the program is that of the machine."""
    cmd: tuple[str, ...] = ()
    """The program and its arguments; no shell reads them. Without it a job that has datums to run fails."""
    stdin: tuple[str, ...] = ()
    """Lines of the program's standard input, which is empty without it."""
    err_cmd: tuple[str, ...] = ()
    """A program that runs after a failed try; when it ends well, the datum is recovered."""
    err_stdin: tuple[str, ...] = ()
    """Lines of its standard input."""
    env: dict[str, str] = {}
    """Environment variables."""
    secrets: tuple[SecretUse, ...] = ()
    """What the code gets and nobody sees."""
    accept_return_code: tuple[int, ...] = ()
    """Exit codes that count as success beside 0."""
    user: str = ""
    """Name or number of the user that the program runs as, when root runs the jobs; another user's jobs run as that user only. `/pfs/out` is its own, all
    else in `/pfs` it can read. Under `datum_batching` it must be able to run `pachctl`."""
    working_dir: str = ""
    """Where the program starts: an absolute path."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets for the registry of the image."""
    memory_volume: bool = False
    """The files of datums are in memory, at most half of the machine's, not on a disk; on a disk all the same where `/pfs` cannot be made."""
    datum_batching: bool = False
    """The command stays for a set of datums and asks for one after the other."""
    build: Build | None = None
    """The code is a folder of files, kept with each version of the pipeline."""


class ParallelismSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many workers share a job."""

    constant: int = 1
    """How many datums run at the same time, up to 10,000."""


class DatumSetSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many datums a worker takes at a time, by number, by bytes of input, or so that each worker gets so many sets. 0: not set."""

    number: int = 0
    """So many datums."""
    size_bytes: int = 0
    """Datums until their files have so many bytes; the datum that reaches it is the last."""
    per_worker: int = 0
    """So that each worker gets so many sets."""


class PipelineSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pipeline: what it reads, what it runs on each datum, how it is run."""

    pipeline: PipelineName
    """Its name."""
    transform: Transform
    """What it runs."""
    input: Input | None = None
    """What it reads; required but of a spout, which reads nothing."""
    description: str = ""
    """For people; describes the output repo too."""
    output_branch: str = DEFAULT_BRANCH
    """The branch of the output repo that it writes."""
    service: Service | None = None
    """The process stays, listens on a port and serves what the input holds."""
    spout: Spout | None = None
    """The process stays and makes commits."""
    egress: Egress | None = None
    """Where the output goes besides."""
    parallelism_spec: ParallelismSpec = ParallelismSpec()
    """How widely it runs."""
    datum_set_spec: DatumSetSpec | None = None
    """How many datums a worker is given at a time, and a batching process works on. Without it a worker gets datums as it has room, under `datum_batching` four
    sets a worker of at most 1,000 datums."""
    datum_tries: int = 3
    """How often a datum is tried in all."""
    datum_timeout: Seconds | None = None
    """For one try; what takes longer is stopped, and the try has failed."""
    job_timeout: Seconds | None = None
    """For the job, from its first attempt on; it is `KILLED` then."""
    maximum_expected_uptime: Seconds | None = None
    """`check status` lists the pipeline while a job of it runs for longer; nothing is stopped."""
    salt: str | None = None
    """Part of every datum's hash: another salt, and all datums run again."""
    reprocess_spec: Reprocess = Reprocess.UNTIL_SUCCESS
    """`until_success` skips what was processed, `every_job` nothing, ever, `code_change` what the same code has processed, which is the
    default with `transform.build`."""
    autoscaling: bool = False
    """On Kubernetes, workers stay for the next job and go when none comes for a while."""
    resource_requests: Resources | None = None
    """What the code is given at least."""
    resource_limits: Resources | None = None
    """What the code of one worker is given at most. `memory` and `cpu` hold where the system has control groups for it; `disk` and `gpu` on Kubernetes only."""
    sidecar_resource_requests: Resources | None = None
    """What the container beside it is given at least."""
    sidecar_resource_limits: Resources | None = None
    """What the container beside it is given at most."""
    scheduling_spec: SchedulingSpec | None = None
    """Where pods go."""
    tolerations: tuple[Toleration, ...] = ()
    """Taints that pods bear."""
    metadata: Metadata | None = None
    """What pods are marked with."""
    pod_spec: JsonText = ""
    """A merge patch (RFC 7396) for pods."""
    pod_patch: JsonText = ""
    """A patch (RFC 6902) for pods."""

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
            read = {"input": _tagged(document["input"])} if "input" in document else {}
            return msgspec.convert(document | read, cls)
        except (msgspec.MsgspecError, KeyError) as error:
            raise InvalidError("spec-invalid", f"a stored pipeline spec does not read: {error}; another version of this program wrote it") from error

    def code_version(self) -> str:
        """64 hex digits that change with what decides a datum's result: code, inputs, output branch; not with where or how widely it runs."""
        t = self.transform
        code: list[object] = [t.image, t.cmd, t.stdin, sorted(t.env.items()), sorted(set(t.accept_return_code)), t.user, t.working_dir]
        # What came later counts where it is set, so that the versions of other code stay what they were.
        code += [part for part in (t.err_cmd and [t.err_cmd, t.err_stdin], t.secrets, t.build and t.build.source) if part]
        parts = [msgspec.json.encode(part) for part in (code, to_document(self.input and sorted_input(self.input)), self.output_branch)]
        return digest("code-version", parts).hex()

    def code_identity(self) -> str:
        """64 hex digits that change with what user code is and what it is told beside its files, whichever those are: under `code_change` results hang on it.

        Fields at their defaults are no part of it, so that a field that is new in a later version changes nothing for specs without it.
        """
        code = {name: value for name, value in _fields(self.transform).items() if name not in _NOT_CODE}
        code["accept_return_code"] = sorted(set(self.transform.accept_return_code))
        if self.transform.build is not None:
            code["build"] = self.transform.build.source
        told = {(leaf.name, leaf.empty_files, leaf.join_on, leaf.group_by) for leaf in leaves(self.input) if leaf.empty_files or leaf.join_on or leaf.group_by}
        return digest("code", [msgspec.json.encode(part) for part in (sorted(code.items()), sorted(told))]).hex()

    @property
    def kind(self) -> str:
        """`transform`, `service` or `spout`."""
        return "spout" if self.spout is not None else "transform" if self.service is None else "service"

    @property
    def runs_on(self) -> bool:
        """Whether its code is a process that stays, instead of one a datum."""
        return self.kind != "transform"

    @property
    def port(self) -> int | None:
        """Where a process that stays listens, if it does."""
        found = self.service if self.spout is None else self.spout.service
        return None if found is None else found.port

    def datum_salt(self, salt: str) -> str:
        """What goes into the hash of every datum: the salt of the pipeline's version, under `code_change` with the code's identity."""
        if self.reprocess_spec is not Reprocess.CODE_CHANGE:
            return salt
        return digest("code-salt", [salt.encode(), self.code_identity().encode()]).hex()

    def with_source(self, digest: str) -> Self:
        """This, for a source folder whose files have this digest; itself without `transform.build`."""
        build = self.transform.build
        if build is None:
            return self
        replace = msgspec.structs.replace
        return replace(self, transform=replace(self.transform, build=replace(build, source=digest)))

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
KUBERNETES_ONLY = (
    "autoscaling",
    "resource_requests",
    "sidecar_resource_requests",
    "sidecar_resource_limits",
    "scheduling_spec",
    "tolerations",
    "metadata",
    "pod_spec",
    "pod_patch",
)
KUBERNETES_ONLY_TRANSFORM = ("image_pull_secrets",)


def kubernetes_only_fields(spec: PipelineSpec) -> tuple[str, ...]:
    """Fields that this spec sets and that mean something on Kubernetes only: a local run goes without them. The image is not among them."""
    found = [name for name in KUBERNETES_ONLY if getattr(spec, name)]
    found += [f"resource_limits.{name}" for name in ("disk", "gpu") if spec.resource_limits is not None and getattr(spec.resource_limits, name)]
    return (*(f"transform.{name}" for name in KUBERNETES_ONLY_TRANSFORM if getattr(spec.transform, name)), *found)


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
