"""Jsonnet templates of pipeline files, evaluated here: the optional package `jsonnet` does the language."""

import contextlib
import importlib
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urljoin

from pachyderm_dagster.cli.spec_files import SpecText, read_text
from pachyderm_dagster.errors import InvalidError, PachydermError

_REMOTE = ("http://", "https://")


def parse_arguments(words: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE`, each name once.

    Raises:
        InvalidError: `template-invalid`.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InvalidError("template-invalid", f"--arg {word!r} gives no argument; write it as --arg NAME=VALUE")
        if name in found:
            raise InvalidError("template-invalid", f"--arg {name} is given twice, as {found[name]!r} and {value!r}; remove one")
        found[name] = value
    return found


def render(template: SpecText, arguments: Mapping[str, str]) -> SpecText:
    """The pipeline file that a template makes with these arguments, which are strings.

    Its imports are looked for beside the file that names them, on this machine or where it came from; what came from elsewhere reads no file of this machine.

    Raises:
        InvalidError: `extra-missing`, `template-invalid`; as `read_text`, for an import.
        NotFoundError, UnreachableError: as `read_text`, for an import.
    """
    try:
        jsonnet = importlib.import_module("_jsonnet")
    except ImportError as error:
        raise InvalidError("extra-missing", "--jsonnet needs a package that is not installed: pip install 'pachyderm-dagster[jsonnet]'") from error
    failed: list[PachydermError] = []

    def read_import(folder: str, name: str) -> tuple[str, bytes]:
        where = place_of_import(folder, name)
        try:
            return where, read_text(where).text.encode()
        except PachydermError as error:
            # The interpreter keeps no more than its message.
            failed.append(error)
            raise

    def evaluate(text: str, **settings: Any) -> str:
        with _interruptible():
            result: str = jsonnet.evaluate_snippet(template.source, text, import_callback=read_import, **settings)
        return result

    try:
        text = evaluate(template.text, tla_vars=dict(arguments))
        takes_arguments = not arguments or evaluate(f"std.isFunction(({template.text}\n))") == "true\n"
    except RuntimeError as error:
        if failed:
            raise failed[-1] from error
        raise InvalidError("template-invalid", f"{template.source}: {_in_a_line(str(error))}") from error
    if not takes_arguments:
        raise InvalidError(
            "template-invalid", f"{template.source}: takes no arguments, for it is no function; remove --arg, or begin it with function({', '.join(arguments)})"
        )
    return SpecText(text, f"what {template.source} makes", template.folder, template.path)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Lets Ctrl-C, unless it is ignored, end the process within the block: a template may loop for ever in code that never comes back to look at signals."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def place_of_import(folder: str, name: str) -> str:
    """Where an import is that a file in `folder` names.

    Raises:
        InvalidError: `template-invalid`.
    """
    if name.startswith(_REMOTE):
        return name
    if not folder.startswith(_REMOTE):
        return os.path.join(folder, name)
    where = urljoin(folder, name)
    if not where.startswith(_REMOTE):
        raise InvalidError("template-invalid", f"a template at {folder} imports {name!r}, and may import from http:// and https:// only")
    return where


def _in_a_line(message: str) -> str:
    """What the interpreter said, with the place where it happened and not all that led there."""
    lines = [" ".join(line.split()) for line in message.splitlines() if line.strip()]
    return ", at ".join(lines[:2])
