"""`rerun pipeline`."""

from collections.abc import Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.documents import pipeline_document
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Printer, printing
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.references import parse_repo
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.model import Pipeline
from pachyderm_dagster.workspace import open_workspace


@click.command(epilog="Example: pachctl rerun pipeline edges --reprocess")
@click.argument("pipeline")
@click.option("--reprocess", is_flag=True, help="Run every datum again, in a new version of the pipeline.")
@in_project
@printing
@click.pass_obj
def rerun_pipeline(environ: Mapping[str, str], pipeline: str, reprocess: bool, project: str, printer: Printer) -> None:
    """Datums that did not change are skipped as usual, unless --reprocess is given."""
    name = parse_repo(pipeline, project=project)

    def change(txn: Transaction) -> Pipeline:
        pipelines.rerun_pipeline(txn, name)
        return pipelines.get_pipeline(txn, name)

    with closing(open_workspace(environ, project=name.project)) as workspace:
        with workspace.database.read() as txn:
            found = pipelines.get_pipeline(txn, name)
        found = workspace.pps.create_pipeline(found.spec, update=True, reprocess=True) if reprocess else workspace.database.write(change)
    printer.only_json(pipeline_document(found))
