"""`argo kubectl`, and `run deployment`: the Deployments of a home without a cluster."""

import asyncio
import functools
from collections.abc import Mapping
from pathlib import Path

import click

from pachyderm_dagster.argo.deployment_keeper import keep_deployments
from pachyderm_dagster.argo.home_objects import HomeObjects
from pachyderm_dagster.argo.kubectl import Surroundings, run_kubectl
from pachyderm_dagster.cli.signals import stopped_by_signal
from pachyderm_dagster.cli.spec_files import read_text
from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.settings import HOME_OBJECTS, OBJECTS, load_settings


@click.command(context_settings={"ignore_unknown_options": True}, epilog="Example: pachctl argo kubectl apply -f viewer.yaml")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="WORD...")
@click.pass_obj
def argo_kubectl(environ: Mapping[str, str], words: tuple[str, ...]) -> None:
    """What follows are words of kubectl: `apply -f`, `create -f`, `get`, `delete`, `patch`, `scale`, `set env`, `set image`, and `rollout` with `status`,
    `undo`, `restart` and `history`, for Deployments, Services, ConfigMaps and Secrets. Workflows act on the same objects; `dev` or `run deployment` runs pods.

    Where a cluster is configured, workflows act on that; then this is refused, and kubectl itself is to be used.
    """
    echo_note = functools.partial(click.echo, err=True)
    run_kubectl(words, Surroundings(HomeObjects(_home(environ)), click.echo, echo_note, lambda source: read_text(source).text, SystemClock()))


@click.command(epilog="Example: pachctl run deployment")
@click.pass_obj
def run_deployment(environ: Mapping[str, str]) -> None:
    """Until Ctrl-C: starts the pods of all Deployments of the home, replaces them by turns when they are changed, and publishes their ports on 127.0.0.1.
    `pachyderm-dagster dev` does this too.
    """
    with stopped_by_signal() as stop:
        asyncio.run(keep_deployments(_home(environ), stop.is_set, functools.partial(click.echo, err=True)))


def _home(environ: Mapping[str, str]) -> Path:
    settings = load_settings(environ)
    if settings.objects != HOME_OBJECTS:
        why = f"a cluster is configured ({OBJECTS} is {settings.objects!r}, {settings.origins[OBJECTS].origin})"
        raise InvalidError("objects-in-cluster", f"{why}, and workflows act on that; use kubectl, or set {OBJECTS}=home")
    return settings.home
