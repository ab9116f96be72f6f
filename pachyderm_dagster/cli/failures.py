"""What a failed command says and the status it ends with."""

import datetime as dt
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from pachyderm_dagster.cli.visible import visible
from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.settings import load_settings

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def refuse(error: PachydermError) -> int:
    """Says why on one line of standard error, with the code in brackets."""
    _say(str(error))
    return FAILED


def refuse_usage(error: click.ClickException) -> int:
    """Says what is wrong with the command line and where to look."""
    _say(f"{error.format_message()} [usage]")
    context = getattr(error, "ctx", None)
    if context is not None:
        print(f"Try '{context.command_path} --help'.", file=sys.stderr)
    return WRONG_USAGE


def refuse_unexpected(error: Exception, arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Says what nobody foresaw on one line, and keeps the traceback in a file in the home."""
    _say(f"unexpected {type(error).__name__}: {error}; {_keep_traceback(error, arguments, environ)} [internal]")
    return FAILED


def _keep_traceback(error: Exception, arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    now = SystemClock().now()
    text = f"{now:%Y-%m-%dT%H:%M:%SZ} pachctl {' '.join(arguments)}\n\n{''.join(traceback.format_exception(error))}"
    try:
        path = _write_report(load_settings(environ).home, now, text)
    except (OSError, PachydermError) as reason:
        return f"its traceback could not be kept: {reason}"
    return f"its traceback is in {path}; please report it"


def _write_report(home: Path, now: dt.datetime, text: str) -> Path:
    folder = home / "tracebacks"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now:%Y%m%dT%H%M%S}-{os.getpid()}.txt"
    path.write_text(text)
    return path


def _say(message: str) -> None:
    # One line, whatever the message holds: scripts read it by line.
    print(f"error: {visible(' '.join(message.split()))}", file=sys.stderr)
