"""`dev`."""

from collections.abc import Mapping

import click

from pachyderm_dagster.cli.dev import DEFAULT_PORT
from pachyderm_dagster.cli.dev import dev as serve


@click.command(epilog="Example: pachyderm-dagster dev --port 3001")
@click.option("-p", "--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True, help="Where the UI answers.")
@click.pass_obj
def dev(environ: Mapping[str, str], port: int) -> int:
    """From then on every commit is followed by its jobs. Ctrl-C stops all of it."""
    return serve(environ, port)
