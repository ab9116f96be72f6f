"""`pachctl`, also installed as `pachyderm-dagster`: finds the command, runs it, and turns what it raises into one line and an exit status."""

import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

from pachyderm_dagster.cli.active_transaction import active_transaction
from pachyderm_dagster.cli.failures import DONE, INTERRUPTED, WRONG_USAGE, refuse, refuse_unexpected, refuse_usage
from pachyderm_dagster.cli.lazy import load
from pachyderm_dagster.cli.names import NAMES, completion_variable
from pachyderm_dagster.cli.table import root_group
from pachyderm_dagster.errors import InvalidError, NotFoundError, PachydermError, StorageError
from pachyderm_dagster.settings import STORAGE_URL, load_settings


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit status.

    0 done, 1 refused or failed (one line `error: … [code]` on standard error), 2 wrong usage, 130 interrupted.
    """
    called = Path(sys.argv[0]).name
    name = called if called in NAMES else NAMES[0]
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _run(name, arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        _drop_output()
        return DONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return DONE if error.ctx.parent is None else WRONG_USAGE
    except click.ClickException as error:
        return refuse_usage(error)
    except PachydermError as error:
        if isinstance(error, NotFoundError):
            _tell_of_transaction()
        return refuse(error)
    except UnicodeEncodeError as error:
        return refuse(InvalidError("text-invalid", f"{error.object!r} cannot be written as {error.encoding}; use text, or set another locale"))
    except OSError as error:
        # Of standard input or output: whatever is read or written elsewhere has its own error.
        if error.errno == errno.ENOSPC:
            return refuse(StorageError("storage-full", "what takes the output is full; free some space and try again"))
        if error.errno == errno.EBADF:
            _drop_output()
            return refuse(
                StorageError("stream-closed", "standard input or output, which this command needs, is closed; leave it open, or redirect it to a file")
            )
        return refuse_unexpected(error, arguments, os.environ)
    except Exception as error:  # noqa: BLE001  the last one who can say anything to the user
        return refuse_unexpected(error, arguments, os.environ)
    return status


def _drop_output() -> None:
    """What is still buffered must not be written at exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell_of_transaction() -> None:
    """What is missing may be what the active transaction holds."""
    try:
        active = active_transaction(os.environ)
    except PachydermError:
        return
    if active is not None:
        print(f"note: transaction '{active}' is active; it makes nothing before `pachctl finish transaction`", file=sys.stderr)


def _refuse_store_in_memory(environ: Mapping[str, str]) -> None:
    """A command is a process: what it stored there would be gone with it, and the record would stay."""
    try:
        url = load_settings(environ).storage_url
    except PachydermError:
        return  # what needs the settings says so
    if url.startswith("memory:"):
        raise InvalidError("storage-url-invalid", f"{STORAGE_URL} is {url!r}, a store that ends with each command; name a folder or a bucket")


def _run(name: str, arguments: list[str]) -> int:
    # Not `Command.main`, which has its own mind about closed pipes, Ctrl-C and exit statuses.
    asked = os.environ.get(completion_variable(name))
    if asked is not None:
        complete: Callable[[str, Mapping[str, str]], int] = load("pachyderm_dagster.cli.completing:answer")
        return complete(asked, os.environ)
    group = root_group(name)
    try:
        with group.make_context(name, arguments, obj=os.environ) as context:
            _refuse_store_in_memory(os.environ)
            status = group.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    return status if isinstance(status, int) else DONE
