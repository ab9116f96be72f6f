"""`delete all`."""

import sys
from collections.abc import Mapping

import click

from pachyderm_dagster.cli.asking import refuse_in_transaction
from pachyderm_dagster.cli.home import reading, writing
from pachyderm_dagster.cli.staying_workers import tend
from pachyderm_dagster.errors import StateError
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import repos, user_transactions
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.defaults import delete_all_defaults
from pachyderm_dagster.pps.deletion import empty_project


@click.command(epilog="Example: pachctl delete all --yes")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete_all(environ: Mapping[str, str], yes: bool) -> None:
    """Asks before it does."""
    refuse_in_transaction(environ, "delete all")
    if not yes and not _is_confirmed(environ):
        raise StateError("not-confirmed", "nothing was removed; answer y, or use --yes")

    def change(txn: Transaction) -> None:
        for project in repos.list_project(txn):
            empty_project(txn, project.name)
            if project.name != DEFAULT_PROJECT:
                repos.delete_project(txn, project.name)
        delete_all_defaults(txn)
        for transaction in user_transactions.list_transaction(txn):
            user_transactions.delete_transaction(txn, transaction.id)

    writing(environ, change)
    tend(environ)


def _is_confirmed(environ: Mapping[str, str]) -> bool:
    """Asks, where there is somebody to answer."""
    if not sys.stdin.isatty():
        return False
    with reading(environ) as txn:
        counts = f"pipelines: {len(pipelines.list_pipeline(txn))}, repos: {len(repos.list_repo(txn))}, projects: {len(repos.list_project(txn))}"
    click.echo(f"Everything in this home will be removed ({counts}). Remove it? [y/N] ", nl=False, err=True)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        click.echo(err=True)
    return answer.strip().lower() in ("y", "yes")
