"""`metrics`."""

import importlib
from collections.abc import Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.signals import stopped_by_signal
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.record import open_record

DEFAULT_PORT = 9090


@click.command(epilog="Example: pachyderm-dagster metrics --port 9090")
@click.option("-p", "--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True, help="Where they are asked for.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at; 0.0.0.0 for all of this machine.")
@click.pass_obj
def metrics(environ: Mapping[str, str], port: int, host: str) -> None:
    """Answers `/metrics` until Ctrl-C: jobs by state, datums by outcome, pipelines, commits, how long the oldest unfinished job has waited, and whether the
    record and the store answer.
    """
    try:
        # By name: the client of Prometheus is an extra.
        module = importlib.import_module("pachyderm_dagster.server.metrics")
    except ModuleNotFoundError as error:
        problem = f"figures for Prometheus need the package {error.name}, which is not installed"
        raise InvalidError("extra-missing", f"{problem}: pip install 'pachyderm-dagster[metrics]'") from error
    record = open_record(environ)
    with stopped_by_signal() as stop, closing(record.database), module.serving(record, host, port):
        click.echo(f"Figures for Prometheus at http://{host}:{port}/metrics; Ctrl-C stops it", err=True)
        stop.wait()
