"""`react`."""

from collections.abc import Mapping
from typing import Any

import click

from pachyderm_dagster.cli.signals import interrupted_by_signal
from pachyderm_dagster.integration.react import react as run_until_interrupted


@click.command(epilog="Example: pachyderm-dagster react -m library.definitions")
@click.option("-m", "--module-name", metavar="MODULE", multiple=True, help="A module with definitions; several times for several code locations.")
@click.option("-f", "--python-file", metavar="FILE", multiple=True, help="A file with definitions; several times for several code locations.")
@click.option("-w", "--workspace", metavar="FILE", type=click.Path(exists=True, dir_okay=False), multiple=True, help="Dagster's workspace file.")
@click.option("-a", "--attribute", metavar="NAME", help="The definitions in the one module or file.")
@click.option("-d", "--working-directory", metavar="FOLDER", help="Where modules and files are looked for; here by default.")
@click.option("--instant", is_flag=True, help="Do jobs of pipelines that take seconds at once, without a Dagster run; their history is the same.")
@click.pass_obj
def react(environ: Mapping[str, str], /, *, instant: bool, **options: Any) -> None:
    """Beside the daemon and the web server of your own Dagster project, with the same DAGSTER_HOME: every commit is followed by its jobs at once, not at the
    next tick of the commit sensor, which goes on and takes over what fails here. Options as for `dagster dev`; without any, pyproject.toml or workspace.yaml
    here says where the definitions are. Ctrl-C ends it.
    """
    with interrupted_by_signal():
        run_until_interrupted(environ, options, is_instant=instant, tell=_tell)


def _tell(line: str) -> None:
    click.echo(line, err=True)
