"""What a function of a datum asks for and returns, by the annotations of its signature."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.worker.function_datum import Datum

FILES = list[Path]
"""The annotation of a parameter that gets the files of its input."""
UNSAID = inspect.Parameter.empty
"""The type of what has no annotation."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter: the whole datum when its type is `Datum`, else the input of its name, as its type says.

    Args:
        default: what it gets from a datum that lacks the input; `UNSAID` without one.
        by_position: whether it cannot be given by its name.
    """

    name: str
    asked: Any
    default: Any
    by_position: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """Of a function.

    Args:
        returned: the type of what it returns; None when that is nothing.
    """

    parameters: tuple[Parameter, ...]
    returned: Any


def read_signature(function: Callable[..., object]) -> Signature:
    """The signature of a function, with its annotations as the types that they name.

    Raises:
        InvalidError: `parameter-invalid`.
    """
    found = list(inspect.signature(function).parameters.values())
    for one in found:
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD):
            raise refused(function, f"takes {one}, and which inputs are meant cannot be told; name each as a parameter, or take the `datum: Datum`")
    returned = _resolved(function, "what it returns", inspect.signature(function).return_annotation)
    return Signature(tuple(_read(function, one, alone=len(found) == 1) for one in found), None if returned in (UNSAID, type(None)) else returned)


def refused(function: Callable[..., object], why: str) -> InvalidError:
    """The error of a signature that a datum cannot fill in."""
    return InvalidError("parameter-invalid", f"function {function.__module__}:{function.__name__} {why}")


def _read(function: Callable[..., object], found: inspect.Parameter, *, alone: bool) -> Parameter:
    asked = _resolved(function, f"parameter {found.name!r}", found.annotation)
    if asked is UNSAID and (alone or found.name == "datum"):
        asked = Datum
    return Parameter(found.name, asked, found.default, found.kind is found.POSITIONAL_ONLY)


def _resolved(function: Callable[..., object], what: str, annotation: Any) -> Any:
    """The type that an annotation names, which may be a text of it."""
    if annotation == Datum.__name__:  # often imported for type checkers only
        return Datum
    if annotation is UNSAID:
        return annotation
    try:
        return get_type_hints(SimpleNamespace(__annotations__={"it": annotation}), function.__globals__)["it"]
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        problem = f"has the annotation {annotation!r} for {what}, which cannot be understood: {error}"
        raise refused(function, f"{problem}; import what it names when the module runs, not for type checkers only") from error
