"""`fsck`."""

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any

import click

from pachyderm_dagster.cli.documents import Fields
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Column, Printer, printing, text
from pachyderm_dagster.cli.progress import Progress, show_count
from pachyderm_dagster.cli.visible import visible
from pachyderm_dagster.errors import StateError
from pachyderm_dagster.pfs.checking import Upkeep, count_commits
from pachyderm_dagster.pfs.references import parse_reference
from pachyderm_dagster.pps.checking import Consent, Finding, check_home, fix_home
from pachyderm_dagster.pps.rebuilding import rebuild_home
from pachyderm_dagster.pps.zombies import find_zombies
from pachyderm_dagster.workspace import Workspace, open_workspace

COLUMNS = (Column("CODE", text("code")), Column("FIXED", lambda document, _: _fixed(document)), Column("PROBLEM", text("message")))
LINES = (
    *(Column(name.capitalize(), text(name)) for name in ("repos", "branches", "commits", "pipelines", "jobs")),
    Column("Jobs made anew", text("new_jobs")),
    Column("The record before", lambda document, _: document["copy"] or ""),
    Column("Not restored", lambda document, _: "".join(f"\n  {visible(loss['message'])} [{loss['code']}]" for loss in document["losses"]), of_lines=True),
)


@click.command(epilog="Example: pachctl fsck --deep")
@click.option("-f", "--fix", is_flag=True, help="Put right what can be put right.")
@click.option("--deep", is_flag=True, help="Read and verify all content too.")
@click.option("--mark-lost", is_flag=True, help="With --fix: give commits whose content is lost an error, so that nothing builds upon them.")
@click.option("--drop-unknown", is_flag=True, help="With --deep --fix: give up commits that the store holds and the record does not know.")
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
    drop_unknown: bool,
    zombie: str | None,
    zombie_all: bool,
    rebuild: bool,
    force: bool,
    project: str,
    printer: Printer,
) -> None:
    """Checks the record, and that everything it refers to is in the store. One line a problem; the exit status is 1 when any is left.

    When there is none, standard error says how many commits were checked.
    What a killed command left undone or behind, which hurts nothing, is told too, and is none.
    """
    if (force and not rebuild) or (mark_lost and not fix) or (drop_unknown and not (fix and deep)) or (rebuild and (fix or deep or zombie or zombie_all)):
        raise click.UsageError("--force goes with --rebuild alone, --mark-lost with --fix, --drop-unknown with --deep --fix", click.get_current_context())
    workspace = open_workspace(environ, project=project, rebuilding=rebuild)
    try:
        if rebuild:
            printer.one(_rebuild(workspace, force=force), LINES)
            return
        if zombie is not None or zombie_all:
            reference = None if zombie is None else parse_reference(zombie, project=project)
            found = [Finding(problem, fixed=False) for problem in find_zombies(workspace.database, workspace.store, reference)]
        else:
            found = _look(workspace, Consent(mark_lost=mark_lost, drop_unknown=drop_unknown) if fix else None, deep=deep)
            if not found and not printer.for_programs:
                _say_well(workspace, deep=deep)
    finally:
        workspace.close()
    if found or printer.for_programs:
        printer.many((_document(one) for one in found), COLUMNS)
    left = sum(not one.fixed and not _is_upkeep(one) for one in found)
    if left:
        hint = "" if fix or not any(one.problem.repair for one in found) else "; `pachctl fsck --fix` puts right what can be"
        raise StateError("problems-found", f"{left} problem{'s' if left > 1 else ''} found{hint}")


def _document(found: Finding) -> Fields:
    return {"code": found.problem.code, "message": found.problem.message, "fixed": found.fixed, "upkeep": _is_upkeep(found)}


def _fixed(document: Mapping[str, Any]) -> str:
    return "yes" if document["fixed"] else "upkeep" if document["upkeep"] else "no"


def _is_upkeep(found: Finding) -> bool:
    """Whether it goes away by itself: with the next change, or the next collection."""
    return isinstance(found.problem.repair, Upkeep)


def _look(workspace: Workspace, fixing: Consent | None, *, deep: bool) -> list[Finding]:
    with Progress("fsck") as progress:
        if fixing is not None:
            return fix_home(workspace.database, workspace.store, fixing, deep=deep, progress=progress.advance)
        return check_home(workspace.database, workspace.store, deep=deep, progress=progress.advance)


def _say_well(workspace: Workspace, *, deep: bool) -> None:
    with workspace.database.read() as txn:
        count = count_commits(txn)
    content = ", with all content that is in them" if deep else ""
    print(f"{count:,} commit{'s' if count != 1 else ''} checked{content}: no problem", file=sys.stderr)


def _rebuild(workspace: Workspace, *, force: bool) -> Fields:
    with Progress("rebuild", show=show_count) as progress:
        made = rebuild_home(workspace.database, workspace.store, force=force, progress=progress.advance)
    return {**dataclasses.asdict(made), "losses": [dataclasses.asdict(loss) for loss in made.losses], "copy": None if made.copy is None else str(made.copy)}
