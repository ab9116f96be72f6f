"""`dev`."""

from collections.abc import Mapping

import click

from pachyderm_dagster.cli.dev import DEFAULT_PORT
from pachyderm_dagster.cli.dev import dev as serve


@click.command(epilog="Example: pachyderm-dagster dev --port 3001")
@click.option("-p", "--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True, help="Where the UI answers.")
@click.option("--instant", is_flag=True, help="Do jobs of pipelines that take seconds at once, without a Dagster run; their history is the same.")
@click.pass_obj
def dev(environ: Mapping[str, str], port: int, *, instant: bool) -> int:
    """From then on every commit is followed by its jobs. Ctrl-C stops all of it."""
    return serve(environ, port, is_instant=instant)
