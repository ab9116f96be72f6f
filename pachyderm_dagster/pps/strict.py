"""Reads a plain document into msgspec structs, strictly: every error names source, path and what was found.

Keys are taken in snake_case and camelCase. As in protobuf's JSON, null and a field's zero stand for its default, and a whole number may stand in quotes.
"""

import difflib
import enum
import functools
import operator
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import msgspec

from pachyderm_dagster.errors import InvalidError

S = TypeVar("S", bound=msgspec.Struct)
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which source something stands.

    Attributes:
        lines: of the source by path, where they are known; what has none stands where that stands which holds it.
    """

    source: str
    path: str = ""
    lines: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    def field(self, name: str) -> "Place":
        """The field `name` of what stands here."""
        return replace(self, path=f"{self.path}.{name}" if self.path else name)

    def item(self, index: int) -> "Place":
        """An item of the list that stands here, counted from 0."""
        return replace(self, path=f"{self.path}[{index}]")

    def invalid(self, problem: str) -> InvalidError:
        """The error to raise when what stands here is wrong."""
        return InvalidError("spec-invalid", f"{self}: {problem}")

    def unsupported(self, way_out: str) -> InvalidError:
        """The error to raise when what stands here is right, but not done by this version."""
        return InvalidError("spec-unsupported", f"{self}: not supported; {way_out}")

    def __str__(self) -> str:
        source = f"{self.source}:{self._line()}" if self.lines else self.source
        return f"{source}: {self.path}" if self.path else source

    def _line(self) -> int:
        path = self.path
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path, 1)


@dataclass(frozen=True, slots=True)
class OtherNames:
    """What a document may say that its struct has no field for.

    Attributes:
        renamed: another name of a field, and what turns the old value into the new one.
        without_effect: names that are taken and do nothing, with the reason to report.
        refused: names that are refused unless unset, with the way out.
        harmless: for a refused name values that change nothing.
        told: fields of the struct whose use is reported, with what to report.
    """

    renamed: Mapping[str, tuple[str, Callable[[Any], Any] | None]] = field(default_factory=dict)
    without_effect: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    harmless: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StrictReader:
    """Reads values of the types that specs are made of.

    Attributes:
        other_names: for each struct its `OtherNames`.
        readers: for types that are not read by their shape what reads them.
        notes: gets a line for each field without effect.
        as_encoded: keys are taken as the structs encode them, and in no other spelling.
    """

    other_names: Mapping[type, OtherNames]
    readers: Mapping[Any, Callable[["StrictReader", Any, Place], Any]]
    notes: list[str]
    as_encoded: bool = False

    def read(self, kind: Any, value: Any, place: Place) -> Any:
        """`value` as `kind`.

        Raises:
            InvalidError: `spec-invalid`, `spec-unsupported`.
        """
        kind = without_none(kind)
        if kind in self.readers:
            return self.readers[kind](self, value, place)
        if typing.get_origin(kind) is tuple:
            item = typing.get_args(kind)[0]
            return tuple(self.read(item, found, place.item(index)) for index, found in enumerate(_as_list(value, place)))
        if typing.get_origin(kind) is dict:
            # In a map, too, null is the absence: it takes away the entry of a default.
            kind = typing.get_args(kind)[1]
            return {key: self.read(kind, found, place.field(key)) for key, found in as_object(value, place).items() if found is not None}
        if issubclass(kind, msgspec.Struct):
            return self.struct(kind, value, place)
        if issubclass(kind, enum.StrEnum):
            return _as_enum(kind, value, place)
        return _SCALARS[kind](value, place)

    def struct(self, kind: type[S], value: Any, place: Place) -> S:
        """`value`, an object, as a struct."""
        return self.build(kind, self.fields(kind, as_object(value, place), place), place)

    def build(self, kind: type[S], fields: Mapping[str, Any], place: Place) -> S:
        """A struct of fields that were read; the rest have their defaults."""
        for known in msgspec.structs.fields(kind):
            if known.required and known.name not in fields:
                raise place.field(known.name).invalid("required, but not given")
        return kind(**fields)

    def fields(self, kind: type[msgspec.Struct], document: Mapping[str, Any], place: Place) -> dict[str, Any]:
        """The fields that an object sets, read, by the names of the struct."""
        hints, others = typing.get_type_hints(kind, include_extras=True), self.other_names.get(kind, OtherNames())
        hints = {known.name: hints[known.name] for known in msgspec.structs.fields(kind)}
        spellings = _encoded_names(kind, others) if self.as_encoded else field_names(kind, others)
        found: dict[str, Any] = {}
        given: dict[str, str] = {}
        for key, value in document.items():
            if key not in spellings:
                raise place.field(key).invalid(self._unknown(key, kind, spellings))
            name, convert = others.renamed.get(spellings[key], (spellings[key], None))
            if name in given:
                raise place.field(key).invalid(f"given already as {given[name]!r}; remove one")
            given[name] = key
            if name in hints:
                read = None if value is None else self.read(hints[name], convert(value) if convert else value, place.field(key))
                if read or (read is not None and type(None) in typing.get_args(hints[name])):
                    found[name] = read
                    if name in others.told:
                        self.notes.append(f"{place.field(key)}: {others.told[name]}")
            elif is_set(value) and value not in others.harmless.get(name, ()):
                self._other(name, others, place.field(key))
        return found

    def _unknown(self, key: str, kind: type[msgspec.Struct], spellings: Mapping[str, str]) -> str:
        known = msgspec.structs.fields(kind)
        if self.as_encoded:
            return unknown_name(key, [one.encode_name for one in known], spellings)
        return unknown_name(key, [one.name for one in known], spellings.values())

    def _other(self, name: str, others: OtherNames, place: Place) -> None:
        if name in others.refused:
            raise place.unsupported(others.refused[name])
        self.notes.append(f"{place}: without effect; {others.without_effect[name]}")


def as_object(value: Any, place: Place) -> dict[str, Any]:
    """`value`, when it is an object with names for keys.

    Raises:
        InvalidError: `spec-invalid`.
    """
    if not isinstance(value, dict):
        raise place.invalid(f"expected an object, found {shown(value)}")
    for key in value:
        if not isinstance(key, str):
            raise place.invalid(f"the key {key!r} is no string; put it in quotes")
    return value


def as_string(value: Any, place: Place) -> str:
    """`value`, when it is a string.

    Raises:
        InvalidError: `spec-invalid`.
    """
    if not isinstance(value, str):
        quotes = "" if isinstance(value, dict | list | None) else "; put it in quotes"
        raise place.invalid(f"expected a string, found {shown(value)}{quotes}")
    if "\x00" in value or not _is_text(value):
        raise place.invalid(f"{shown(value)} holds a character that no command, path or variable can hold; leave it out")
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_set(value: Any) -> bool:
    """Whether a plain value says more than the absence of its field. An empty object does: `spout: {}` is a spout."""
    return value not in (None, False, 0, "", [])


def shown(value: Any) -> str:
    """A plain value for an error message."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f"the string {value!r}" if len(value) <= _SHOWN else f"the string {value[:_SHOWN]!r}…"
        case int() | float():
            return f"the number {value}"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return repr(value)


def unknown_name(name: str, fields: typing.Iterable[str], known: typing.Iterable[str]) -> str:
    """What to say of an unknown name: the known one that was meant, if there is one like it, or the fields there are."""
    close = difflib.get_close_matches(_snake(name), sorted(set(known)), n=1)
    return f"unknown field; did you mean {close[0]!r}?" if close else f"unknown field; the fields here are {', '.join(fields)}"


def _as_list(value: Any, place: Place) -> list[Any]:
    if not isinstance(value, list):
        raise place.invalid(f"expected a list, found {shown(value)}")
    return value


def _as_bool(value: Any, place: Place) -> bool:
    if not isinstance(value, bool):
        raise place.invalid(f"expected true or false, found {shown(value)}")
    return value


def _as_int(value: Any, place: Place) -> int:
    number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value) else value
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**63:
        raise place.invalid(f"expected a whole number, 0 or more, found {shown(value)}")
    return number


def _as_float(value: Any, place: Place) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise place.invalid(f"expected a number, 0 or more, found {shown(value)}")
    return float(value)


def _as_enum(kind: type[enum.StrEnum], value: Any, place: Place) -> enum.StrEnum:
    values = [member.value for member in kind]
    if value not in values:
        raise place.invalid(f"expected {' or '.join(map(repr, values))}, found {shown(value)}")
    return kind(value)


_SCALARS: Mapping[Any, Callable[[Any, Place], Any]] = {str: as_string, bool: _as_bool, int: _as_int, float: _as_float}


def field_names(kind: type[msgspec.Struct], others: OtherNames) -> dict[str, str]:
    """Every spelling that an object of this kind takes for a key, with the name that it stands for."""
    return _spellings([*(known.name for known in msgspec.structs.fields(kind)), *others.renamed, *others.without_effect, *others.refused])


def _encoded_names(kind: type[msgspec.Struct], others: OtherNames) -> dict[str, str]:
    """The one spelling of each key, with the name that it stands for."""
    encoded = {known.encode_name: known.name for known in msgspec.structs.fields(kind)}
    return encoded | {name: name for name in (*others.renamed, *others.without_effect, *others.refused)}


def without_none(kind: Any) -> Any:
    """The type of what is there, when None stands for nothing."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(kind) if member is not type(None)]
        return functools.reduce(operator.or_, members)
    return kind


def _spellings(names: typing.Iterable[str]) -> dict[str, str]:
    return {spelling: name for name in names for spelling in (re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name), name)}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])[A-Z]", lambda found: f"_{found[0]}", name).lower()
