"""`deploy local`, `deploy kubernetes` and `undeploy`."""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from pachyderm_dagster.cli.helm import Release, chart_folder, find_password, install_words, render_words, run_helm

DEFAULT_RELEASE = "pachyderm-dagster"
F = TypeVar("F", bound=Callable[..., Any])


def _of_release(command: F) -> F:
    for option in (
        click.option("--context", metavar="CONTEXT", help="A context of the kubeconfig; its current one when left out."),
        click.option("-n", "--namespace", default="default", show_default=True, help="Where it is; made when it is not there."),
        click.option("--release", default=DEFAULT_RELEASE, show_default=True, help="What it is called there."),
    ):
        command = option(command)
    return command


def _of_values(command: F) -> F:
    for option in (
        click.option("--dry-run", is_flag=True, help="Print the manifests, and ask no cluster."),
        click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="A value of the chart, which wins over files."),
        click.option("-f", "--values", type=click.Path(exists=True, dir_okay=False), multiple=True, help="A file of values of the chart."),
    ):
        command = option(command)
    return command


@click.command(epilog="Example: pachyderm-dagster deploy local --dry-run")
@_of_values
@_of_release
@click.pass_obj
def deploy_local(
    environ: Mapping[str, str], values: Sequence[str], settings: Sequence[str], release: str, namespace: str, context: str | None, *, dry_run: bool
) -> None:
    """All that a trial needs, with a PostgreSQL and an S3 server of its own that keep no copy of anything. A second call upgrades what is there. It takes
    Helm 3, and the two images (deploy/images) where the nodes find them.
    """
    found = Release(release, namespace, context)
    password = None if dry_run else find_password(found, environ)
    bundled = json.dumps({"bundled": {"enabled": True, "password": password or secrets.token_hex(16)}})
    _deploy(environ, found, ["-", *values], settings, dry_run=dry_run, stdin=bundled)


@click.command(epilog="Example: pachyderm-dagster deploy kubernetes --values values.yaml")
@_of_values
@_of_release
@click.pass_obj
def deploy_kubernetes(
    environ: Mapping[str, str], values: Sequence[str], settings: Sequence[str], release: str, namespace: str, context: str | None, *, dry_run: bool
) -> None:
    """With a PostgreSQL and an object store that exist: `databases.existingSecret` and `storage.url` at least. A second call upgrades what is there, and
    leaves runs alone. It takes Helm 3.
    """
    # Otherwise what was a trial before would go on with its own servers, whatever databases are named now.
    others = json.dumps({"bundled": {"enabled": False}})
    _deploy(environ, Release(release, namespace, context), ["-", *values], settings, dry_run=dry_run, stdin=others)


@click.command(epilog="Example: pachyderm-dagster undeploy")
@_of_release
@click.pass_obj
def undeploy(environ: Mapping[str, str], release: str, namespace: str, context: str | None) -> None:
    """Removes what `deploy` made. Databases and objects stay: also the volumes of the bundled servers, which are claims of their own."""
    found = Release(release, namespace, context)
    click.echo(run_helm(["uninstall", found.name, *found.words, "--wait"], environ), nl=False)


def _deploy(environ: Mapping[str, str], release: Release, values: Sequence[str], settings: Sequence[str], *, dry_run: bool, stdin: str) -> None:
    words = (render_words if dry_run else install_words)(release, chart_folder(), values, settings)
    click.echo(run_helm(words, environ, stdin=stdin), nl=False)
