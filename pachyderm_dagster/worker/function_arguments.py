"""The arguments of a function of a datum: the inputs as its parameters' types say."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.values.kinds import allows_none, without_none
from pachyderm_dagster.worker.function_datum import Datum
from pachyderm_dagster.worker.function_parameters import FILES, UNSAID, Parameter, Signature


def function_arguments(signature: Signature, datum: Datum) -> tuple[list[object], dict[str, object]]:
    """What a function is called with: by position, and by name.

    Raises:
        InvalidError: `input-unknown`, when the datum has no such input; `input-type`, when its files cannot be read as that.
    """
    values = [(parameter, _value(parameter, datum)) for parameter in signature.parameters]
    return [value for parameter, value in values if parameter.by_position], {one.name: value for one, value in values if not one.by_position}


def value_forms() -> ModuleType:
    """`function_values`, imported when a value is read or written: a function that takes paths need not wait for the libraries of tables."""
    return importlib.import_module("pachyderm_dagster.worker.function_values")


def _value(parameter: Parameter, datum: Datum) -> object:
    if parameter.asked is Datum:
        return datum
    if parameter.name not in datum.inputs:
        return _missing(parameter, datum)
    asked: Any = without_none(parameter.asked)
    if asked is Path:
        return datum.path(parameter.name)
    if asked == FILES:
        return datum.files(parameter.name)
    return value_forms().read_input(datum, parameter.name, asked)


def _missing(parameter: Parameter, datum: Datum) -> object:
    if parameter.default is not UNSAID:
        return parameter.default
    if allows_none(parameter.asked):
        return None
    found = ", ".join(map(repr, sorted(datum.inputs))) or "none"
    problem = f"this datum has no input {parameter.name!r}, of which the function has a parameter; it has {found}"
    raise InvalidError("input-unknown", f"{problem}; where a union or an outer join leaves inputs out, let the type be `... | None`")
