"""Runs a Python function on datum after datum: `python -m pachyderm_dagster.worker.datum_function ROOT MODULE:FUNCTION [MODULE...]`.

It is the command of a pipeline with `datum_batching`, and stays for all sets of its worker, so the module is imported once; with `PACHYDERM_ONE_DATUM` it
ends after the datum that is there. ROOT is where it is imported from,
empty where its module is installed; the modules are those whose code counts besides.
"""

import importlib
import inspect
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pachyderm_dagster.errors import ExecutionError, PachydermError
from pachyderm_dagster.worker.function_arguments import function_arguments, value_forms
from pachyderm_dagster.worker.function_code import FUNCTION_CODE, ONE_DATUM, code_digest
from pachyderm_dagster.worker.function_datum import Datum
from pachyderm_dagster.worker.function_parameters import Signature, read_signature
from pachyderm_dagster.worker.next_call import call_next
from pachyderm_dagster.worker.stage import ENV_FILE, OUT

DatumFunction = Callable[..., object]


def load_function(root: str, target: str, others: Sequence[str], expected: str) -> DatumFunction:
    """The function `MODULE:FUNCTION`, when its code is the expected one.

    Raises:
        ExecutionError: `code-changed`.
        Exception: whatever the import raises.
    """
    if root:
        sys.path.insert(0, root)
    name, _, attribute = target.partition(":")
    modules = [importlib.import_module(module) for module in (name, *others)]
    if code_digest([Path(str(module.__file__)) for module in modules]) != expected:
        problem = f"the code of {', '.join((name, *others))} is not what it was when Dagster loaded it"
        raise ExecutionError("code-changed", f"{problem}; reload the code location, which makes a new version of the pipeline")
    found = getattr(modules[0], attribute)
    # What the decorator left there is an asset with the function in it.
    function: DatumFunction = getattr(found, "function", None) or found
    return function


def read_datum(root: Path) -> Datum:
    """The datum that is in `/pfs`, or wherever that is."""
    lines = (root / ENV_FILE).read_text()
    environment = dict(word.partition("=")[::2] for word in shlex.split(lines))
    return Datum({path.name: path for path in root.iterdir() if path.is_dir() and path.name != OUT}, root / OUT, environment)


def run_function(function: DatumFunction, signature: Signature, datum: Datum) -> str | None:
    """Why the function failed; None when it did not."""
    try:
        by_position, by_name = function_arguments(signature, datum)
    except PachydermError as error:
        return _told(error)
    try:
        returned = function(*by_position, **by_name)
    except Exception as error:  # noqa: BLE001  whatever user code raises fails its datum
        # Without the frame that is this call.
        raised = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
        traceback.print_exception(raised)
        return f"the function raised {type(error).__name__}: {error}{_place(function, raised)}"
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return _keep_returned(signature, datum, returned)


def _keep_returned(signature: Signature, datum: Datum, returned: object) -> str | None:
    if signature.returned is None:
        way_out = "annotate what it returns, or let it write files into `datum.out` and return nothing"
        return None if returned is None else f"the function returned {type(returned).__name__}, which goes nowhere; {way_out}"
    forms = value_forms()
    if not forms.is_of(returned, signature.returned):
        return str(forms.returned_wrongly(returned, signature.returned))
    try:
        forms.write_returned(datum, signature.returned, returned)
    except PachydermError as error:
        return _told(error)
    return None


def _told(error: PachydermError) -> str:
    """An error of ours, in the log and as the reason: where in our code it was raised helps nobody."""
    print(error, file=sys.stderr, flush=True)  # noqa: T201  what the log of the datum shows
    return str(error)


def _place(function: DatumFunction, error: Exception) -> str:
    """The last line of the function's own module that was at work."""
    file = inspect.getsourcefile(function)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" (line {lines[-1]} of {file})" if lines else ""


def main(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """The process of a datum set."""
    root, target, *others = words
    try:
        function = load_function(root, target, others, environ.get(FUNCTION_CODE, ""))
        signature = read_signature(function)
    except PachydermError as error:
        print(error, file=sys.stderr)  # noqa: T201  what the log of the datum shows
        return 1
    failure: str | None = None
    if environ.get(ONE_DATUM):
        failure = run_function(function, signature, read_datum(Path(environ["PFS_ROOT"])))
        if failure is not None:
            print(failure, file=sys.stderr)  # noqa: T201  what the log of the task shows
        return int(failure is not None)
    while True:
        call_next(environ, failure)
        failure = run_function(function, signature, read_datum(Path(environ["PFS_ROOT"])))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
