"""A Kubernetes with one node for tests, by hand: `python -m tests.cluster up`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from tests.cluster.commands import last_lines
from tests.cluster.errors import ClusterError
from tests.cluster.images import RECIPES, TRIAL, build, load_images
from tests.cluster.installing import cache_folder, install
from tests.cluster.plan import DEFAULT_NUMBER, Plan
from tests.cluster.running import Cluster, find_number

CACHE = cache_folder(os.environ)


@click.group()
@click.option("--folder", type=click.Path(path_type=Path), default=CACHE / "cluster", show_default=True, help="Where the cluster's files are.")
@click.option(
    "--number", type=int, help=f"The second byte of its addresses, so that clusters run side by side; {DEFAULT_NUMBER} unless the folder says another."
)
@click.pass_context
def main(context: click.Context, folder: Path, number: int | None) -> None:
    """A Kubernetes with one node for tests. It needs root on Linux, and Go once."""
    folder = folder.absolute()
    if number is None:
        number = find_number(folder) or DEFAULT_NUMBER
    context.obj = Cluster(Plan(folder, number), CACHE)


@main.command()
@click.pass_obj
def up(cluster: Cluster) -> None:
    """Start what does not run, and wait until the node is ready."""
    install(cluster.cache)
    cluster.up(load=load_images)
    click.echo(f"The cluster is ready: export KUBECONFIG={cluster.plan.kubeconfig}")


@main.command()
@click.pass_obj
def down(cluster: Cluster) -> None:
    """End and remove everything of the cluster."""
    cluster.down()


@main.command()
@click.pass_obj
def status(cluster: Cluster) -> None:
    """Tell what runs; fails unless all of it does."""
    if find_number(cluster.plan.folder) is None:
        raise ClusterError(f"there is no cluster in {cluster.plan.folder}; make one with 'python -m tests.cluster up'")
    states = list(cluster.status())
    for name, is_well in states:
        click.echo(f"{'yes' if is_well else 'NO':4} {name}")
    if not all(is_well for _, is_well in states):
        sys.exit(1)


@main.command()
@click.argument("names", nargs=-1, metavar="[IMAGE]...")
@click.option("--save", type=click.Path(path_type=Path, file_okay=False), help="Write them as files into this folder instead, for other clusters.")
@click.pass_obj
def images(cluster: Cluster, names: Sequence[str], save: Path | None) -> None:
    """Build the tests' images, or those that are named, and give them to the node."""
    for name in names:
        if name not in {**RECIPES, **TRIAL}:
            raise ClusterError(f"there is no image '{name}'; those that are built here: {', '.join((*RECIPES, *TRIAL))}")
    install(cluster.cache)
    if save is None:
        load_images(cluster, names or RECIPES)
        return
    save.mkdir(parents=True, exist_ok=True)
    for name in names or RECIPES:
        click.echo(f"{name}  {build(name, cluster.cache, save)}")


@main.command()
@click.argument("archive", metavar="IMAGE_TAR", type=click.Path(path_type=Path))
@click.pass_obj
def load(cluster: Cluster, archive: Path) -> None:
    """Give the node an image from a file that 'docker save' wrote."""
    cluster.load(archive)


@main.command()
@click.pass_obj
def kubeconfig(cluster: Cluster) -> None:
    """Print the path of the file for KUBECONFIG."""
    if not cluster.plan.kubeconfig.exists():
        raise ClusterError(f"there is no cluster in {cluster.plan.folder}; make one with 'python -m tests.cluster up'")
    click.echo(cluster.plan.kubeconfig)


@main.command()
@click.argument("program", required=False)
@click.pass_obj
def logs(cluster: Cluster, program: str | None) -> None:
    """Print the last lines that each program wrote, or all of one."""
    written = {path.stem: path for path in sorted(cluster.plan.logs.glob("*.log"))}
    if program is None:
        for name, path in written.items():
            click.echo(f"== {name}\n{last_lines(path.read_text(errors='replace'))}")
    elif program in written:
        click.echo(written[program].read_text(errors="replace"), nl=False)
    else:
        raise ClusterError(f"no program '{program}' has written anything; those that have: {', '.join(written) or 'none'}")


if __name__ == "__main__":
    try:
        main()
    except ClusterError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
