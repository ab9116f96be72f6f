"""Pipeline specs as users write them, 1.x and 2.x, read strictly into complete and valid ones."""

import datetime as dt
import json
import re
from collections.abc import Callable
from typing import Any

import msgspec

from pachyderm_dagster.durations import parse_duration
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.conditions import check_trigger, parse_size
from pachyderm_dagster.pfs.glob_checking import check_glob, template_groups
from pachyderm_dagster.pfs.model import DEFAULT_BRANCH, checked_branch_name, checked_project_name, checked_repo_name
from pachyderm_dagster.pps.code_rules import check_code
from pachyderm_dagster.pps.cooldown import check_cooldown
from pachyderm_dagster.pps.documents import read_documents
from pachyderm_dagster.pps.egress import Egress, folder_url
from pachyderm_dagster.pps.input_rules import check_input, with_defaults
from pachyderm_dagster.pps.inputs import SET_INPUTS, Batch, ByteCount, CronInput, Input, PfsInput, TriggerSpec, leaves
from pachyderm_dagster.pps.model import MAX_KUBERNETES_NAME
from pachyderm_dagster.pps.pods import MAX_QUANTITY, Quantity, quantity_value
from pachyderm_dagster.pps.service_rules import check_service
from pachyderm_dagster.pps.spec import SOURCE, Build, JsonText, PipelineName, PipelineSpec, Reprocess, Seconds, SecretUse, UserSpec
from pachyderm_dagster.pps.strict import Place, StrictReader, as_object, as_string, is_set, shown, unknown_name
from pachyderm_dagster.pps.vocabulary import OTHER_NAMES, REFUSED_INPUTS
from pachyderm_dagster.schedules import check_cron
from pachyderm_dagster.sql.vocabulary import check_url

MAX_NAME = 51
_PIPELINE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
# The name is a directory, the name of an environment variable and part of others.
_INPUT_NAME = re.compile(r"[^\x00-\x20\x7f/=]+")
_MOST_NAME_CHARACTERS = 128
_MOST_EXIT_CODE = 255
_RESERVED_NAMES = ("out", ".", "..", ".env", ".scratch")
_QUANTITY = re.compile(r"[+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?")
# What runs a source folder when the pipeline does not say, by `transform.build.language`.
_COMMANDS = {"": ("sh", "./run.sh"), "python": ("python3", "main.py")}
_KINDS = ("pfs", "cron", *SET_INPUTS)
_DEFAULTS_BODY = ("create_pipeline_request", "createPipelineRequest")
_INPUT_KINDS = {"atom": "pfs"} | {kind: kind for kind in _KINDS}


def parse_specs(text: str, *, source: str, notes: list[str] | None = None) -> list[PipelineSpec]:
    """The pipeline specs of a text: JSON or YAML, one or several (documents one after the other, or a list).

    Args:
        text: what a user wrote.
        source: where it comes from, for messages: a file's name, an address, `standard input`.
        notes: gets a line for each field that is taken but does nothing here.

    Raises:
        InvalidError: `spec-invalid`, naming source, document, path and what was found; `spec-unsupported`, naming the way out.
    """
    said: list[str] = [] if notes is None else notes
    return [read_spec(document, place, said) for document, place in _documents(text, source)]


def parse_user_specs(text: str, *, source: str, notes: list[str] | None = None) -> list[UserSpec]:
    """The specifications of a text as they were written, checked as far as they go: defaults may give what is required and missing.

    Args, errors: as `parse_specs`.
    """
    said: list[str] = [] if notes is None else notes
    found = _documents(text, source)
    return [read_user_spec(document, place, said, text=text if len(found) == 1 else "") for document, place in found]


def read_user_spec(document: Any, place: Place, notes: list[str], *, text: str) -> UserSpec:
    """A specification from a plain document, checked as far as it goes.

    Args:
        text: how it was written; empty when it is not on its own there.

    Errors as `parse_specs`.
    """
    heard: list[str] = []
    required = [known.name for known in msgspec.structs.fields(PipelineSpec) if known.required]
    given = StrictReader(OTHER_NAMES, _READERS, heard).fields(PipelineSpec, as_object(document, place), place)
    if "pipeline" not in given or all(name in given for name in required):
        read_spec(document, place, [])
    notes.extend(heard)
    return UserSpec(json.dumps(document), text)


def parse_defaults(text: str, *, source: str, notes: list[str]) -> dict[str, Any]:
    """The body of the defaults in a text: `{"create_pipeline_request": {…}}`, with fields of a specification in it.

    Args, errors: as `parse_specs`.
    """
    found = _documents(text, source)
    if len(found) > 1:
        raise InvalidError("spec-invalid", f"{source}: {len(found)} documents; defaults are one")
    document, place = found[0]
    for key in as_object(document, place):
        if key not in _DEFAULTS_BODY:
            raise place.field(key).invalid(unknown_name(key, _DEFAULTS_BODY, _DEFAULTS_BODY))
    if len(document) > 1:
        raise place.invalid("has it in two spellings; remove one")
    where = place.field(next(iter(document), _DEFAULTS_BODY[0]))
    body = as_object(next(iter(document.values()), None) or {}, where)
    given = StrictReader(OTHER_NAMES, _READERS, notes).fields(PipelineSpec, body, where)
    for name in ("pipeline", "input"):
        if name in given:
            raise where.field(name).invalid("each pipeline has its own; leave it out of defaults")
    return body


def _documents(text: str, source: str) -> list[tuple[Any, Place]]:
    documents = read_documents(text, source)
    places = [Place(source if len(documents) == 1 else f"{source} (document {number})") for number in range(1, len(documents) + 1)]
    return list(zip(documents, places, strict=True))


class _Project(msgspec.Struct, frozen=True):
    name: str


def read_spec(document: Any, place: Place, notes: list[str]) -> PipelineSpec:
    """The specification in a plain document, which has to be complete.

    Raises:
        InvalidError: `spec-invalid`, `spec-unsupported`.
    """
    reader = StrictReader(OTHER_NAMES, _READERS, notes)
    fields = reader.fields(PipelineSpec, as_object(document, place), place)
    spec = reader.build(PipelineSpec, fields, place)
    if spec.transform.build is not None:
        spec = _with_build_defaults(spec, place, reprocess="reprocess_spec" in fields)
    _check(place.field("output_branch"), checked_branch_name, spec.output_branch)
    for name in spec.transform.env:
        if not name or "=" in name or "\x00" in name:
            raise place.field("transform").field("env").invalid(f"{name!r} cannot name an environment variable; it takes no '=' and is not empty")
    for code in spec.transform.accept_return_code:
        if not 0 <= code <= _MOST_EXIT_CODE:
            raise place.field("transform").field("accept_return_code").invalid(f"{code} is no exit code; those are 0 to {_MOST_EXIT_CODE}")
    check_code(spec, place)
    _check_secrets(spec.transform.secrets, place.field("transform").field("secrets"))
    check_service(spec, place)
    check_cooldown(spec, place)
    if spec.input is None:
        return spec
    check_input(spec.input, place.field("input"))
    return msgspec.structs.replace(spec, input=with_defaults(spec.input, spec.pipeline.name))


def _with_build_defaults(spec: PipelineSpec, place: Place, *, reprocess: bool) -> PipelineSpec:
    """What a source folder brings along: a command, and that a change of it counts unless the specification says which datums do."""
    transform = spec.transform
    if any(leaf.name == SOURCE for leaf in leaves(spec.input)):
        raise place.field("input").invalid(f"an input is called '{SOURCE}', which beside 'transform.build' is the source folder; give the input another name")
    if not transform.cmd and transform.build is not None:
        transform = msgspec.structs.replace(transform, cmd=_COMMANDS[transform.build.language])
    return msgspec.structs.replace(spec, transform=transform, reprocess_spec=spec.reprocess_spec if reprocess else Reprocess.CODE_CHANGE)


def _read_build(reader: StrictReader, value: Any, place: Place) -> Build:
    found = reader.struct(Build, value, place)
    if found.language not in _COMMANDS:
        raise place.field("language").unsupported(f"nothing is built for {found.language!r}; say in `transform.cmd` how the folder is run, or leave it out")
    return found


def _check_secrets(secrets: tuple[SecretUse, ...], place: Place) -> None:
    taken: set[str] = set()
    for index, use in enumerate(secrets):
        here = place.item(index)
        if not use.mount_path and not use.env_var:
            raise here.invalid("needs a 'mount_path' for its files, or an 'env_var' for the value under its 'key'")
        if use.env_var and not use.key:
            raise here.field("key").invalid("required with 'env_var': the key whose value the variable gets")
        if "=" in use.env_var:
            raise here.field("env_var").invalid(f"{use.env_var!r} cannot name an environment variable; it takes no '='")
        if use.mount_path and not _is_mount_path(use.mount_path):
            problem = f"{use.mount_path!r} cannot hold a secret; name an absolute path that is not '/', nor below /pfs, /proc, /dev, /sys"
            raise here.field("mount_path").invalid(problem)
        for field in filter(None, (use.mount_path.rstrip("/"), use.env_var)):
            if field in taken:
                raise here.invalid(f"{field!r} is given to a secret before; each needs one of its own")
            taken.add(field)


def _is_mount_path(path: str) -> bool:
    parts = path.strip("/").split("/")
    return path.startswith("/") and parts[0] not in ("", "pfs", "proc", "dev", "sys") and not {"", ".", ".."} & set(parts)


def _read_pipeline(reader: StrictReader, value: Any, place: Place) -> PipelineName:
    document = dict(as_object(value, place))
    project = document.get("project")
    if isinstance(project, dict):
        # Pachyderm writes {"project": {"name": …}}.
        document["project"] = reader.struct(_Project, project, place.field("project")).name
    found = reader.struct(PipelineName, document, place)
    if not _PIPELINE_NAME.fullmatch(found.name) or len(found.name) > MAX_NAME:
        problem = f"{found.name!r} cannot name a pipeline; it takes up to {MAX_NAME} letters, digits, '_' and '-' and starts with a letter or digit"
        raise place.field("name").invalid(problem)
    if found.project is not None:
        _check(place.field("project"), checked_project_name, found.project)
        if len(f"{found.project}-{found.name}-v01") > MAX_KUBERNETES_NAME:
            raise place.field("name").invalid(
                f"{found.name!r} is too long: with its project {found.project!r} it makes more than {MAX_KUBERNETES_NAME} characters"
            )
    return found


def _read_input(reader: StrictReader, value: Any, place: Place) -> Input:
    document = as_object(value, place)
    for key in document:
        if key not in _INPUT_KINDS and key not in REFUSED_INPUTS:
            raise place.field(key).invalid(unknown_name(key, _KINDS, [*_INPUT_KINDS, *REFUSED_INPUTS]))
    given = {key: body for key, body in document.items() if is_set(body)}
    if not given:
        raise place.invalid(f"no input in it; write one of {', '.join(map(repr, _KINDS))}")
    if len(given) > 1:
        raise place.invalid(f"has {' and '.join(map(repr, given))}; an input is of one kind: combine several with 'cross', 'union', 'join' or 'group'")
    ((key, body),) = given.items()
    here = place.field(key)
    if key in REFUSED_INPUTS:
        raise here.unsupported(REFUSED_INPUTS[key])
    match _INPUT_KINDS[key]:
        case "pfs":
            return _read_pfs(reader, body, here)
        case "cron":
            return _read_cron(reader, body, here)
        case kind:
            return SET_INPUTS[kind](reader.read(tuple[Input, ...], body, here))


def _read_pfs(reader: StrictReader, body: Any, place: Place) -> PfsInput:
    fields = reader.fields(PfsInput, as_object(body, place), place)
    # Without a branch, one that a trigger moves gets a name of its own once the pipeline's is known.
    found = reader.build(PfsInput, {"name": fields.get("repo"), "branch": "" if "trigger" in fields else DEFAULT_BRANCH} | fields, place)
    _check(place.field("repo"), checked_repo_name, found.repo)
    _check_input_name(place, found.name)
    _check(place.field("branch"), checked_branch_name, found.branch or DEFAULT_BRANCH)
    _check(place.field("glob"), check_glob, found.glob)
    if found.project is not None:
        _check(place.field("project"), checked_project_name, found.project)
    for name, template in (("join_on", found.join_on), ("group_by", found.group_by)):
        _check_template(place.field(name), template, found.glob)
    return found


def _check_template(place: Place, template: str, glob: str) -> None:
    groups = check_glob(glob)
    asked = max(template_groups(template), default=0)
    if asked > groups:
        has = "has no groups" if not groups else f"has {groups} group{'s' * (groups > 1)}"
        raise place.invalid(f"{template!r} asks for group {asked}, but the glob {glob!r} {has}; put what is to be the key in parentheses, as '/(*).csv'")


def _read_batch(reader: StrictReader, value: Any, place: Place) -> Batch:
    found = reader.struct(Batch, value, place)
    if not found.files and not found.bytes:
        raise place.invalid("says neither 'files' nor 'bytes'; write {files: 500} or {bytes: 1GB}, or remove it")
    return found


def _read_byte_count(_reader: StrictReader, value: Any, place: Place) -> int:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else as_string(value, place)
    try:
        return parse_size(text) if text else 0
    except InvalidError as error:
        raise place.invalid(error.message) from error


def _read_trigger(reader: StrictReader, value: Any, place: Place) -> TriggerSpec:
    found = reader.struct(TriggerSpec, value, place)
    _check(place.field("branch"), checked_branch_name, found.branch)
    try:
        check_trigger(found.trigger())
    except InvalidError as error:
        raise place.invalid(error.message) from error
    return found


def _read_cron(reader: StrictReader, body: Any, place: Place) -> CronInput:
    found = reader.build(CronInput, {"repo": ""} | reader.fields(CronInput, as_object(body, place), place), place)
    _check_input_name(place, found.name)
    _check(place.field("spec"), check_cron, found.spec)
    # Without a repo of its own it gets one that is called <pipeline>_<name>.
    _check(place.field("repo" if found.repo else "name"), checked_repo_name, found.repo or found.name)
    return found


def _read_egress(reader: StrictReader, value: Any, place: Place) -> Egress:
    found = reader.build(Egress, reader.fields(Egress, as_object(value, place), place), place)
    match found:
        case Egress(object_storage=None, sql_database=None):
            raise place.invalid("it says not where to; write 'object_storage' or 'sql_database'")
        case Egress(object_storage=None, sql_database=database) if database is not None:
            here = place.field("sql_database")
            _check(here.field("url"), check_url, database.url)
            columns = database.file_format.columns
            if len(set(columns)) < len(columns) or "" in columns:
                raise here.field("file_format").field("columns").invalid("each column is named once, and none is empty")
        case Egress(object_storage=storage, sql_database=None) if storage is not None:
            _check(place.field("object_storage").field("url"), folder_url, storage.url)
        case _:
            raise place.invalid("has 'object_storage' and 'sql_database'; an egress goes to one place: let a second pipeline read the output and send it there")
    if not found.tries:
        raise place.field("tries").invalid("expected a whole number, 1 or more")
    return found


def _check_input_name(place: Place, name: str) -> None:
    if name in _RESERVED_NAMES or len(name) > _MOST_NAME_CHARACTERS or not _INPUT_NAME.fullmatch(name):
        raise place.field("name").invalid(f"{name!r} cannot name an input: it becomes a directory below /pfs and a variable; choose another name")


def _check(place: Place, check: Callable[[str], object], value: str) -> None:
    try:
        check(value)
    except InvalidError as error:
        raise place.invalid(error.message) from error


def _read_seconds(_reader: StrictReader, value: Any, place: Place) -> float:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise place.invalid(f"expected a duration as '1h30m' or a number of seconds, found {shown(value)}")
    try:
        return parse_duration(value)
    except InvalidError as error:
        raise place.invalid(error.message) from error


def _read_quantity(_reader: StrictReader, value: Any, place: Place) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else as_string(value, place)
    if text and not _QUANTITY.fullmatch(text):
        raise place.invalid(f"{text!r} is no quantity of Kubernetes; write it as '512Mi' or '2G'")
    if quantity_value(text) > MAX_QUANTITY:
        raise place.invalid(f"{text!r} is more than a quantity of Kubernetes can be, which is {MAX_QUANTITY:,}; write a smaller one, or none for no limit")
    return text


def _read_json_text(_reader: StrictReader, value: Any, place: Place) -> str:
    if isinstance(value, dict | list):
        raise place.invalid(f"expected a string that holds JSON, found {shown(value)}; write that JSON in quotes, as one string")
    text = as_string(value, place)
    try:
        json.loads(text or "null")
    except ValueError as error:
        raise place.invalid(f"expected a string that holds JSON: {error}") from error
    return text


def _read_time(_reader: StrictReader, value: Any, place: Place) -> dt.datetime:
    text = as_string(value, place)
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise place.invalid(f"{text!r} is no time with a zone; write it as '2026-01-31T00:00:00Z'")
    return time.astimezone(dt.UTC)


_READERS: dict[Any, Callable[[StrictReader, Any, Place], Any]] = {
    PipelineName: _read_pipeline,
    Input: _read_input,
    Batch: _read_batch,
    ByteCount: _read_byte_count,
    TriggerSpec: _read_trigger,
    Seconds: _read_seconds,
    Quantity: _read_quantity,
    JsonText: _read_json_text,
    dt.datetime: _read_time,
    Egress: _read_egress,
    Build: _read_build,
}
