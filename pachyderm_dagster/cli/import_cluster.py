"""`import cluster`."""

import importlib
import importlib.util
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import TextIO

import click

from pachyderm_dagster.cli.arriving import create, tell_skipped, write_specs
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Column, Printer, printing, text
from pachyderm_dagster.errors import ExistsError, InvalidError, UnreachableError
from pachyderm_dagster.moving.arrivals import Arrivals
from pachyderm_dagster.moving.cluster_documents import read_commits, read_pipelines
from pachyderm_dagster.moving.clusters import MARK, Brought, bring_files, bring_pipelines
from pachyderm_dagster.moving.gateway import parse_buckets, read_bucket
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pfs.transfers import Transfers
from pachyderm_dagster.workspace import Workspace, open_workspace

LINES = tuple(Column(name.capitalize(), text(name)) for name in ("repos", "branches", "commits", "heads", "pipelines"))


@click.command(epilog="Example: pachctl import cluster --commits commits.json --pipelines-from pipelines.json")
@click.option("--bucket", "buckets", multiple=True, metavar="NAME", help="A bucket of the gateway: [COMMIT.]BRANCH.REPO[.PROJECT]; all branches unless given.")
@click.option("--commits", type=click.File(), metavar="FILE", help="What the cluster's `pachctl list commit REPO --raw` printed: commits come with their ids.")
@click.option("--pipelines-from", type=click.File(), metavar="FILE", help="What the cluster's `pachctl list pipeline --raw` printed.")
@click.option("--pipelines", type=click.Path(dir_okay=False), metavar="FILE", help="Where the specifications go, to be looked at and created.")
@click.option("--create-pipelines", is_flag=True, help="Create the pipelines at once; each gets its first job.")
@in_project
@printing
@click.pass_obj
def import_cluster(
    environ: Mapping[str, str],
    buckets: tuple[str, ...],
    commits: TextIO | None,
    pipelines_from: TextIO | None,
    pipelines: str | None,
    create_pipelines: bool,
    project: str,
    printer: Printer,
) -> None:
    """AWS_ENDPOINT_URL names the gateway; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are a Pachyderm token, both the same. Of a branch comes what it shows
    now, as one commit; with --commits its commits come as they were. Again, it brings what changed since.
    """
    brought = Brought()
    told = [] if commits is None else read_commits(commits.read(), commits.name)
    shown = parse_buckets(buckets or list_buckets())
    with closing(open_workspace(environ, project=project)) as workspace:
        bring_files(shown, told, partial(read_bucket, transfers=Transfers()), partial(_arrivals, workspace), brought)
        if pipelines_from is not None:
            bring_pipelines(read_pipelines(pipelines_from.read(), pipelines_from.name), brought)
        if pipelines is not None:
            write_specs(pipelines, brought.pipelines)
        if create_pipelines:
            brought.skipped += create(workspace, brought.pipelines)
    tell_skipped(brought.skipped)
    counts = {
        "repos": len(brought.repos),
        "branches": brought.branches,
        "commits": brought.commits,
        "heads": brought.heads,
        "pipelines": len(brought.pipelines),
    }
    printer.one({**counts, "skipped": brought.skipped}, LINES)


def list_buckets() -> list[str]:
    """All buckets of the gateway.

    Raises:
        InvalidError: `extra-missing`.
        UnreachableError: `source-unreachable`.
    """
    if importlib.util.find_spec("boto3") is None:
        raise InvalidError("extra-missing", "listing buckets takes boto3: pip install 'pachyderm-dagster[s3]', or name the buckets with --bucket")
    # Imported by name because it takes longer than most commands, and nothing else here needs it.
    boto3, exceptions = importlib.import_module("boto3"), importlib.import_module("botocore.exceptions")
    try:
        return [bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]]
    except (exceptions.BotoCoreError, exceptions.ClientError, ValueError) as error:
        raise UnreachableError("source-unreachable", f"the gateway does not list its buckets: {error}; check AWS_ENDPOINT_URL and the token") from error


def _arrivals(workspace: Workspace, project: str) -> Arrivals:
    try:
        workspace.database.write(lambda txn: repos.create_project(txn, project))
    except ExistsError:
        pass
    return Arrivals(workspace, project, MARK)
