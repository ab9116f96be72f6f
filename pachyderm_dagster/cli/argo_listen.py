"""`argo listen`: takes the requests that EventSources wait for."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import click

from pachyderm_dagster.argo.kept_objects import KeptObjects, read_all
from pachyderm_dagster.argo.library import library_of
from pachyderm_dagster.cli.argo_files import read_files
from pachyderm_dagster.cli.signals import stopped_by_signal
from pachyderm_dagster.server.webhooks import listening, routes_of
from pachyderm_dagster.settings import load_settings
from pachyderm_dagster.workspace import open_workspace


@click.command(epilog="Example: pachctl argo listen events.yaml --port 12000")
@click.argument("files", nargs=-1, metavar="[FILE...]")
@click.option("-p", "--port", type=click.IntRange(0, 65535), help="Where all of them are taken, in place of the ports that the files say; 0 for a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at; 0.0.0.0 for all of this machine.")
@click.pass_obj
def argo_listen(environ: Mapping[str, str], files: tuple[str, ...], port: int | None, host: str) -> None:
    """Takes requests at the endpoints of all webhooks of the files or, without files, of the EventSources that the home keeps (`sync` brings them there),
    until Ctrl-C. A request is answered when it is kept; the sensors in Dagster start the workflows.
    """
    kept = KeptObjects(Path(load_settings(environ).home)).list()
    library = read_files(files, kept)[1] if files else library_of(read_all(kept))
    with stopped_by_signal() as stop, closing(open_workspace(environ)) as workspace:
        routes = routes_of(library, workspace, port)
        with listening(routes, host) as ports:
            for found, at in zip(routes.values(), ports, strict=True):
                for endpoint, route in found.items():
                    origin = route.requests.origin
                    click.echo(f"Listening for {origin.source}/{origin.name} at http://{host}:{at}{endpoint}", err=True)
            stop.wait()
