"""`draw pipeline`: repos and pipelines as a graph of text."""

from collections.abc import Iterable, Mapping

import click

from pachyderm_dagster.cli.home import opened
from pachyderm_dagster.cli.kept_state import as_kept
from pachyderm_dagster.cli.lanes import draw_graph, in_order
from pachyderm_dagster.cli.options import in_project, without_effect
from pachyderm_dagster.cli.printing import Printer, printing
from pachyderm_dagster.cli.visible import visible
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.model import Pipeline


@click.command(epilog="Example: pachctl draw pipeline")
@click.option("-c", "--commit", "set_id", metavar="ID", help="Those with a job in this commit set, as they were then.")
@click.option("-A", "--all-projects", is_flag=True, help="The pipelines of every project.")
@without_effect("--box-width", type=int)
@without_effect("--edge-height", type=int)
@in_project
@printing
@click.pass_obj
def draw_pipeline(environ: Mapping[str, str], set_id: str | None, all_projects: bool, project: str, printer: Printer) -> None:
    """A repo or pipeline a line, with what it reads (+) above it; | goes on to one further down. A * right below another's line reads that one."""
    with opened(environ) as record:
        with record.database.read() as txn:
            repos.ensure_project(txn, project)
            listed = pipelines.list_pipeline(txn) if set_id is None else pipelines.list_pipeline_of_set(txn, set_id)
        found = as_kept(record.leases, record.settings, listed)
    shown = {str(one.name): one for one in found if all_projects or one.name.project == project}
    reads = graph_of(shown.values())
    if printer.for_programs:
        printer.many(({"name": name, "kind": "pipeline" if name in shown else "repo", "reads": list(reads[name])} for name in in_order(reads)), ())
        return
    for line in draw_graph(reads, {name: _label(name, shown.get(name)) for name in reads}):
        click.echo(line)


def graph_of(found: Iterable[Pipeline]) -> dict[str, list[str]]:
    """Of each pipeline, and each repo that one reads, what it reads."""
    reads: dict[str, list[str]] = {}
    for pipeline in found:
        upstream = pipeline.spec.upstream_branches(pipeline.name.project)
        reads[str(pipeline.name)] = list(dict.fromkeys(str(RepoName(project, repo)) for project, repo, _ in upstream))
    for source in [source for sources in reads.values() for source in sources]:
        reads.setdefault(source, [])
    return reads


def _label(name: str, pipeline: Pipeline | None) -> str:
    return visible(name if pipeline is None else f"{name} ({pipeline.state} / {pipeline.last_job_state or '-'})")
