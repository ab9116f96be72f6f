"""Pipelines of a Pachyderm 1.x extract, from protobuf to the JSON that users wrote."""

import datetime as dt
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.moving.wire import Fields, Value, fields_of, number_of, text_of


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message.

    Attributes:
        kind: `text`, `int`, `bool`, `float`, `double`, `duration`, `time`, `texts` (a map of texts), or the fields of a message.
    """

    name: str
    kind: str | Mapping[int, "Field"]
    repeated: bool = False


_TEXT = "text"
_TRIGGER = {
    1: Field("branch", _TEXT),
    2: Field("all", "bool"),
    3: Field("cron_spec", _TEXT),
    4: Field("size", _TEXT),
    5: Field("commits", "int"),
}
_PFS = {
    1: Field("name", _TEXT),
    2: Field("repo", _TEXT),
    3: Field("branch", _TEXT),
    4: Field("commit", _TEXT),
    5: Field("glob", _TEXT),
    6: Field("lazy", "bool"),
    7: Field("empty_files", "bool"),
    8: Field("join_on", _TEXT),
    9: Field("s3", "bool"),
    10: Field("trigger", _TRIGGER),
    11: Field("group_by", _TEXT),
    12: Field("outer_join", "bool"),
}
_CRON = {
    1: Field("name", _TEXT),
    2: Field("repo", _TEXT),
    3: Field("commit", _TEXT),
    4: Field("spec", _TEXT),
    5: Field("start", "time"),
    6: Field("overwrite", "bool"),
}
_GIT = {1: Field("name", _TEXT), 2: Field("url", _TEXT), 3: Field("branch", _TEXT), 4: Field("commit", _TEXT)}
_INPUT: dict[int, Field] = {4: Field("cron", _CRON), 5: Field("git", _GIT), 6: Field("pfs", _PFS)}
_INPUT |= {number: Field(name, _INPUT, repeated=True) for number, name in ((2, "cross"), (3, "union"), (7, "join"), (8, "group"))}
_SECRET = {1: Field("name", _TEXT), 2: Field("mount_path", _TEXT), 3: Field("env_var", _TEXT), 4: Field("key", _TEXT)}
_TRANSFORM = {
    1: Field("image", _TEXT),
    2: Field("cmd", _TEXT, repeated=True),
    3: Field("env", "texts"),
    4: Field("secrets", _SECRET, repeated=True),
    5: Field("stdin", _TEXT, repeated=True),
    6: Field("accept_return_code", "int", repeated=True),
    7: Field("debug", "bool"),
    9: Field("image_pull_secrets", _TEXT, repeated=True),
    10: Field("user", _TEXT),
    11: Field("working_dir", _TEXT),
    12: Field("dockerfile", _TEXT),
    13: Field("err_cmd", _TEXT, repeated=True),
    14: Field("err_stdin", _TEXT, repeated=True),
    15: Field("build", {1: Field("path", _TEXT), 2: Field("language", _TEXT), 3: Field("image", _TEXT)}),
}
_GPU = {1: Field("type", _TEXT), 2: Field("number", "int")}
_RESOURCES = {1: Field("cpu", "float"), 2: Field("memory", _TEXT), 4: Field("disk", _TEXT), 5: Field("gpu", _GPU)}
_SERVICE = {1: Field("internal_port", "int"), 2: Field("external_port", "int"), 3: Field("ip", _TEXT), 4: Field("type", _TEXT)}
PIPELINE: Mapping[int, Field] = {
    1: Field("pipeline", {1: Field("name", _TEXT)}),
    2: Field("transform", _TRANSFORM),
    7: Field("parallelism_spec", {2: Field("constant", "int"), 3: Field("coefficient", "double")}),
    9: Field("egress", {1: Field("URL", _TEXT)}),
    10: Field("output_branch", _TEXT),
    12: Field("resource_requests", _RESOURCES),
    13: Field("input", _INPUT),
    14: Field("description", _TEXT),
    16: Field("cache_size", _TEXT),
    17: Field("enable_stats", "bool"),
    20: Field("max_queue_size", "int"),
    21: Field("service", _SERVICE),
    22: Field("resource_limits", _RESOURCES),
    23: Field("chunk_spec", {1: Field("number", "int"), 2: Field("size_bytes", "int")}),
    24: Field("datum_timeout", "duration"),
    25: Field("job_timeout", "duration"),
    27: Field("standby", "bool"),
    28: Field("datum_tries", "int"),
    29: Field("scheduling_spec", {1: Field("node_selector", "texts"), 2: Field("priority_class_name", _TEXT)}),
    30: Field("pod_spec", _TEXT),
    31: Field("hashtree_spec", {1: Field("constant", "int")}),
    32: Field("pod_patch", _TEXT),
    33: Field("spout", {1: Field("overwrite", "bool"), 2: Field("service", _SERVICE), 3: Field("marker", _TEXT)}),
    35: Field("tf_job", {1: Field("tf_job", _TEXT)}),
    36: Field("s3_out", "bool"),
    46: Field("metadata", {1: Field("annotations", "texts"), 2: Field("labels", "texts")}),
    47: Field("sidecar_resource_limits", _RESOURCES),
}
"""CreatePipelineRequest of 1.7 to 1.13, by field number."""
# Whether it was an update, its salt and its spec commit: nothing that was run there is known here.
LEFT_OUT = frozenset({5, 18, 26, 34})


def document_of(request: Fields) -> dict[str, Any]:
    """The specification as its author would write it.

    Raises:
        InvalidError: `spec-unsupported`, for a field that no version of Pachyderm 1.x has.
    """
    return _document(PIPELINE, {number: values for number, values in request.items() if number not in LEFT_OUT})


def _document(fields: Mapping[int, Field], message: Fields) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, values in message.items():
        field = fields.get(number)
        if field is None:
            raise InvalidError("spec-unsupported", f"it has a field with the number {number}, which no pipeline of Pachyderm 1.x has; create it by hand")
        if field.kind == "texts":
            found[field.name] = dict(_entry(value) for value in values)
        elif field.repeated:
            found[field.name] = [each for value in values for each in _values(field, value)]
        else:
            found[field.name] = _values(field, values[-1])[-1]
    return found


def _values(field: Field, value: Value) -> list[Any]:
    """The value, or several, when numbers of a repeated field are packed."""
    if not isinstance(field.kind, str):
        return [_document(field.kind, fields_of(_as_bytes(value)))]
    match field.kind:
        case "text":
            return [_as_bytes(value).decode()]
        case "bool":
            return [bool(value)]
        case "int" if isinstance(value, bytes):
            return list(_packed(value))
        case "int":
            return [_signed(int(value))]
        case "float":
            return [struct.unpack("<f", _as_bytes(value))[0]]
        case "double":
            return [struct.unpack("<d", _as_bytes(value))[0]]
        case "duration":
            return [_duration(fields_of(_as_bytes(value)))]
        case "time":
            return [_time(fields_of(_as_bytes(value)))]
        case kind:
            raise AssertionError(kind)


def _entry(value: Value) -> tuple[str, str]:
    entry = fields_of(_as_bytes(value))
    return text_of(entry, 1), text_of(entry, 2)


def _packed(data: bytes) -> list[int]:
    # A message of one field after another without tags: each number ends with a byte below 128.
    numbers, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(_signed(value))
            value = shift = 0
    return numbers


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _duration(message: Fields) -> str:
    seconds, nanos = _signed(number_of(message, 1)), _signed(number_of(message, 2))
    return f"{seconds}s" if not nanos else f"{seconds + nanos / 1e9:.9f}".rstrip("0") + "s"


def _time(message: Fields) -> str:
    return time_of(message).isoformat().replace("+00:00", "Z")


def time_of(message: Fields) -> dt.datetime:
    """A protobuf timestamp."""
    seconds, nanos = _signed(number_of(message, 1)), _signed(number_of(message, 2))
    return dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(seconds=seconds, microseconds=nanos // 1000)


def _as_bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise InvalidError("import-invalid", f"a pipeline of the extract has the number {value} where a text or a message should be")
    return value
