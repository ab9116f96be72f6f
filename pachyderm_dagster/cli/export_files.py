"""`export files`."""

from collections.abc import Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.exported.commits_read import find_commits
from pachyderm_dagster.kubeflow.published import artifact_uri, check_root, publish_commit
from pachyderm_dagster.pfs import commits, references
from pachyderm_dagster.pfs.model import DEFAULT_BRANCH, BranchName
from pachyderm_dagster.pfs.references import parse_reference
from pachyderm_dagster.workspace import open_workspace


@click.command(epilog="Example: pachyderm-dagster export files images@master --artifact-root s3://bucket/artifacts")
@click.argument("commit", metavar="REPO@BRANCH_OR_COMMIT")
@click.option("--artifact-root", "root", required=True, metavar="URL", help="Where to: s3://bucket/prefix, gs://bucket/prefix, or file:///folder.")
@in_project
@click.pass_obj
def export_files(environ: Mapping[str, str], commit: str, root: str, project: str) -> None:
    """The files are below URL/PROJECT/REPO/COMMIT, which is printed, each under its path. Those of a commit that is there are not written again."""
    root, reference = check_root(root), parse_reference(commit, project=project)
    with closing(open_workspace(environ, project=project)) as workspace:
        with workspace.database.read() as txn:
            named = commits.get_commit(txn, references.find_commit(txn, reference))
        branch = BranchName(named.repo, named.branch or DEFAULT_BRANCH)
        found = find_commits(workspace, {branch: named.id}, pinned=True)[branch]
        publish_commit(workspace, found, root)
    click.echo(artifact_uri(root, found.repo, found.id))
