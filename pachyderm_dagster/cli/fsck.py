"""`fsck`."""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence

import click

from pachyderm_dagster.cli.documents import Fields
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Column, Printer, printing, text
from pachyderm_dagster.cli.progress import Progress, show_count
from pachyderm_dagster.errors import InvalidError, StateError
from pachyderm_dagster.metadata.emptying import set_aside
from pachyderm_dagster.pfs import commits, references
from pachyderm_dagster.pfs.checking import Problem
from pachyderm_dagster.pfs.model import Commit, RepoType
from pachyderm_dagster.pfs.rebuilding import check_empty, read_holdings
from pachyderm_dagster.pfs.references import parse_reference
from pachyderm_dagster.pfs.store_ids import check_own_store
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.checking import CONTENT_LOST, StoreReport, check_home, check_store, find_zombies, is_readable, save
from pachyderm_dagster.pps.rebuilding import rebuild as rebuild_record
from pachyderm_dagster.storage.collection import sweep_leftovers
from pachyderm_dagster.storage.folder_store import INCOMING
from pachyderm_dagster.storage.mending import finish_mending, mend
from pachyderm_dagster.storage.rows import DATUM_ROWS
from pachyderm_dagster.storage.trees import Trees
from pachyderm_dagster.workspace import Workspace, open_workspace

LEFTOVER_AGE = dt.timedelta(hours=1)
PASSES = 3
COLUMNS = (Column("CODE", text("code")), Column("FIXED", lambda document, _: "yes" if document["fixed"] else "no"), Column("PROBLEM", text("message")))
LINES = (
    *(Column(name.capitalize(), text(name)) for name in ("repos", "branches", "commits", "pipelines", "jobs")),
    Column("Jobs made anew", text("new_jobs")),
    Column("The record before", lambda document, _: document["copy"] or ""),
    Column("Not restored", lambda document, _: "".join(f"\n  {loss['message']} [{loss['code']}]" for loss in document["losses"])),
)


@click.command(epilog="Example: pachctl fsck --deep")
@click.option("-f", "--fix", is_flag=True, help="Put right what can be put right.")
@click.option("--deep", is_flag=True, help="Read and verify all content too.")
@click.option("--mark-lost", is_flag=True, help="With --fix: give commits whose content is lost an error, so that nothing builds upon them.")
@click.option("--zombie", metavar="REPO@REF", help="Only look for output files of this commit that no datum of its job wrote.")
@click.option("--zombie-all", is_flag=True, help="The same for the newest output of every pipeline.")
@click.option("--rebuild", is_flag=True, help="Make a record that was lost again, from the store.")
@click.option("--force", is_flag=True, help="With --rebuild: also when the record holds something; a copy of it is kept.")
@in_project
@printing
@click.pass_obj
def fsck(
    environ: Mapping[str, str],
    fix: bool,
    deep: bool,
    mark_lost: bool,
    zombie: str | None,
    zombie_all: bool,
    rebuild: bool,
    force: bool,
    project: str,
    printer: Printer,
) -> None:
    """Checks the record, and that everything it refers to is in the store. One line a problem; the exit status is 1 when any is left."""
    if (force and not rebuild) or (mark_lost and not fix) or (rebuild and (fix or deep or zombie or zombie_all)):
        raise click.UsageError("--force goes with --rebuild alone, --mark-lost with --fix", click.get_current_context())
    workspace = open_workspace(environ, project=project, rebuilding=rebuild)
    try:
        if rebuild:
            printer.one(_rebuild(workspace, force=force), LINES)
            return
        if zombie is not None or zombie_all:
            found = [(problem, False) for problem in _zombies(workspace, zombie, project)]
        else:
            found = _check(workspace, fix=fix, deep=deep, mark_lost=mark_lost)
    finally:
        workspace.close()
    if found or printer.for_programs:
        printer.many(({"code": problem.code, "message": problem.message, "fixed": fixed} for problem, fixed in found), COLUMNS)
    left = sum(not fixed for _, fixed in found)
    if left:
        hint = "" if fix or not any(problem.repair for problem, _ in found) else "; `pachctl fsck --fix` puts right what can be"
        raise StateError("problems-found", f"{left} problem{'s' if left > 1 else ''} found{hint}")


def _check(workspace: Workspace, *, fix: bool, deep: bool, mark_lost: bool) -> list[tuple[Problem, bool]]:
    if fix:
        check_own_store(workspace.database, workspace.store)
    with workspace.database.read() as txn:
        of_record = list(check_home(txn))
    if fix and of_record:
        of_record_left = _repair(workspace, of_record)
        found = [(problem, (problem.code, problem.message) not in of_record_left) for problem in of_record]
    else:
        found = [(problem, False) for problem in of_record]
    if fix:
        finish_mending(workspace.store)
    report = _look(workspace, deep=deep)
    left = report
    if fix and report.damage and mend(workspace.store, report.damage):
        left = _look(workspace, deep=deep)
    still = {(problem.code, problem.message) for problem in left.problems}
    for problem in report.problems:
        repair = problem.repair if (mark_lost if problem.code == CONTENT_LOST else fix) else None
        if repair is not None and (problem.code, problem.message) in still:
            workspace.database.write(repair)
        found.append((problem, repair is not None or (problem.code, problem.message) not in still))
    return found + _leftovers(workspace, fix=fix)


def _look(workspace: Workspace, *, deep: bool) -> StoreReport:
    with Progress("fsck") as progress:
        return check_store(workspace.database, workspace.store, deep=deep, progress=progress.advance)


def _repair(workspace: Workspace, problems: Sequence[Problem]) -> set[tuple[str, str]]:
    """Repairs, and looks again, since one repair may bring up another problem. What is left."""
    left: Sequence[Problem] = problems
    for _ in range(PASSES):
        for problem in left:
            if problem.repair is not None:
                workspace.database.write(problem.repair)
        save(workspace.database, workspace.store)
        with workspace.database.read() as txn:
            left = list(check_home(txn))
        if not any(problem.repair for problem in left):
            break
    return {(problem.code, problem.message) for problem in left}


def _leftovers(workspace: Workspace, *, fix: bool) -> list[tuple[Problem, bool]]:
    before = workspace.database.clock.now() - LEFTOVER_AGE
    count = sum(info.modified < before for info in workspace.store.list(INCOMING))
    if not count:
        return []
    if fix:
        sweep_leftovers(workspace.store, before)
    return [(Problem("leftovers", f"{count} files of writes that were killed lie in the store", lambda _: None), fix)]


def _zombies(workspace: Workspace, reference: str | None, project: str) -> Iterator[Problem]:
    meta_trees = Trees(workspace.store, DATUM_ROWS)
    for output, meta in _outputs(workspace, reference, project):
        yield from find_zombies(workspace.pfs.trees, meta_trees, output, meta)


def _outputs(workspace: Workspace, reference: str | None, project: str) -> list[tuple[Commit, Commit | None]]:
    """Output commits, each with the meta commit of its job."""
    with workspace.database.read() as txn:
        if reference is not None:
            at = parse_reference(reference, project=project)
            if pipelines.find_pipeline(txn, at.repo) is None:
                raise InvalidError("not-an-output", f"'{at}' was not written by a pipeline, and --zombie looks for what no datum wrote")
            rows: Iterable[int] = [references.find_commit(txn, at)]
        else:
            rows = [row for pipeline in pipelines.list_pipeline(txn) if (row := references.branch_row(txn, pipeline.output).head_id) is not None]
        found = []
        for row in rows:
            output = commits.get_commit(txn, row)
            members = commits.list_commit(txn, dataclasses.replace(output.repo, type=RepoType.META), set_id=output.id)
            found.append((output, members[0] if members else None))
    return found


def _rebuild(workspace: Workspace, *, force: bool) -> Fields:
    copy = None
    with workspace.database.read() as txn:
        try:
            check_empty(txn)
            empty = True
        except StateError:
            if not force:
                raise
            empty = False
    with Progress("rebuild", show=show_count) as progress:
        holdings = read_holdings(workspace.store, progress.advance)
    if not empty:
        copy = str(set_aside(workspace.database, workspace.database.clock.now()))
    made = rebuild_record(workspace.database, holdings, lambda root: is_readable(workspace.store, root))
    losses = [dataclasses.asdict(loss) for loss in made.losses]
    return {**{name: getattr(made, name) for name in ("repos", "branches", "commits", "pipelines", "jobs", "new_jobs")}, "losses": losses, "copy": copy}
