"""`pachctl`, also installed as `pachyderm-dagster`: finds the command, runs it, and turns what it raises into one line and an exit status."""

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from pachyderm_dagster.cli.failures import DONE, INTERRUPTED, WRONG_USAGE, refuse, refuse_unexpected, refuse_usage
from pachyderm_dagster.cli.names import NAMES
from pachyderm_dagster.cli.table import root_group
from pachyderm_dagster.errors import PachydermError, StorageError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit status.

    0 done, 1 refused or failed (one line `error: … [code]` on standard error), 2 wrong usage, 130 interrupted.
    """
    called = Path(sys.argv[0]).name
    name = called if called in NAMES else NAMES[0]
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        status = root_group(name).main(arguments, prog_name=name, standalone_mode=False, obj=os.environ)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough. What is still buffered must not be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return DONE if error.ctx.parent is None else WRONG_USAGE
    except click.ClickException as error:
        return refuse_usage(error)
    except PachydermError as error:
        return refuse(error)
    except OSError as error:
        # A full disk behind a redirection of standard output; whatever is written elsewhere has its own error.
        if error.errno != errno.ENOSPC:
            return refuse_unexpected(error, arguments, os.environ)
        return refuse(StorageError("storage-full", "what takes the output is full; free some space and try again"))
    except Exception as error:  # noqa: BLE001  the last one who can say anything to the user
        return refuse_unexpected(error, arguments, os.environ)
    return status if isinstance(status, int) else DONE
