"""What the code of a Python function is: where it is imported from, and a digest that changes with it."""

import ast
from collections.abc import Sequence
from pathlib import Path

from pachyderm_dagster.codec import digest

RUNNER = "pachyderm_dagster.worker.datum_function"
"""The module that runs functions, as a command names it."""
ONE_DATUM = "PACHYDERM_ONE_DATUM"
"""Set where nobody hands out datums: the function is run on the one that is there, and a failure is exit status 1."""
FUNCTION_CODE = "PACH_FUNCTION_CODE"
"""The variable that holds the digest of the code that a datum is to be run by."""


def import_root(module: str, file: Path) -> Path | None:
    """The folder in which Python finds `module` as `file`; None when no import by that name leads there."""
    parts = tuple(module.split("."))
    path = file.parent if file.name == "__init__.py" else file.with_suffix("")
    return Path(*path.parts[: -len(parts)]) if path.parts[-len(parts) :] == parts and len(path.parts) > len(parts) else None


def code_digest(files: Sequence[Path]) -> str:
    """A digest of modules' sources, as Python understands them: comments and layout do not count.

    Raises:
        OSError: a file cannot be read. SyntaxError: it is no Python.
    """
    return digest("function-code", [ast.dump(ast.parse(file.read_bytes())).encode("utf-8", "surrogatepass") for file in files]).hex()
