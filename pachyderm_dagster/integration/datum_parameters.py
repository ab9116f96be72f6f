"""Whether the inputs of a pipeline can fill in the parameters of its function, told when it is defined."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pachyderm_dagster.pps.inputs import Leaf
from pachyderm_dagster.values.kinds import STORED_TYPES, has_form, type_name, without_none
from pachyderm_dagster.worker.function_datum import Datum
from pachyderm_dagster.worker.function_parameters import FILES, UNSAID, Parameter, Signature, read_signature, refused

_READ_TYPES = f"`Datum`, `list[Path]`, {STORED_TYPES}, and pyarrow.dataset.Dataset"
_BY_PATH = Path, FILES
_AS_A_STREAM = Path, FILES, bytes, str


def check_parameters(function: Callable[..., object], inputs: Sequence[Leaf]) -> None:
    """Refuses a function whose parameters the inputs cannot fill in, or whose value cannot be written.

    Raises:
        InvalidError: `parameter-invalid`.
    """
    signature = read_signature(function)
    for parameter in signature.parameters:
        if parameter.asked is not Datum:
            _check(function, parameter, [leaf for leaf in inputs if leaf.name == parameter.name], inputs)
    _check_returned(function, signature, inputs)


def _check(function: Callable[..., object], parameter: Parameter, read: Sequence[Leaf], inputs: Sequence[Leaf]) -> None:
    said = f"has the parameter {parameter.name!r}"
    if not read:
        if parameter.default is UNSAID:
            known = ", ".join(repr(leaf.name) for leaf in inputs)
            raise refused(function, f"{said}, and no input has that name; name it as one of {known}, or annotate it with `Datum`")
        return
    if parameter.asked is UNSAID:
        raise refused(function, f"{said} without a type; annotate it with one of {_READ_TYPES}")
    asked = without_none(parameter.asked)
    if asked != FILES and not has_form(asked):
        raise refused(function, f"{said} of type {type_name(parameter.asked)}, as which no files can be read; known are {_READ_TYPES}")
    for leaf in read:
        if leaf.lazy and asked not in _AS_A_STREAM:
            raise refused(function, f"{said} of type {type_name(asked)}, and the input is lazy, read once and in order; ask for `Path` or `bytes`")
        if leaf.empty_files and asked not in _BY_PATH:
            raise refused(function, f"{said} of type {type_name(asked)}, and the input has empty_files, without their content; ask for `Path`")


def _check_returned(function: Callable[..., object], signature: Signature, inputs: Sequence[Leaf]) -> None:
    if signature.returned is None:
        return
    if not has_form(signature.returned) or type_name(without_none(signature.returned)) == "pyarrow.Dataset":
        raise refused(function, f"returns {type_name(signature.returned)}, which has no form as files; known are {STORED_TYPES}")
    batched = next((leaf.name for leaf in inputs if leaf.batch is not None), None)
    if batched is not None:
        problem = f"returns a value, which is written below the path that the glob matched, and input {batched!r} has a batch of them"
        raise refused(function, f"{problem}; let it write files into `datum.out`")
