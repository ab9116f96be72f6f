"""`next datum`: what user code under datum batching calls between its datums."""

from collections.abc import Mapping

import click

from pachyderm_dagster.worker.next_call import call_next


@click.command(epilog='Example: while pachctl next datum; do . /pfs/.env; process "$images"; done')
@click.option("--error", "error", metavar="MESSAGE", help="The datum before failed, for this reason: it is tried again, or is a failed one.")
@click.pass_obj
def next_datum(environ: Mapping[str, str], error: str | None) -> None:
    """For the code of a pipeline with `transform.datum_batching`. It ends the datum before, whose output is what is in /pfs/out, and returns when the next one
    is in /pfs, with its variables in /pfs/.env. After the last datum it does not return: the code is ended.
    """
    call_next(environ, error)
