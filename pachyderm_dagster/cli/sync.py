"""`sync`: makes a home what a folder of a Git repository declares, once or again and again."""

import os
import threading
from collections.abc import Mapping
from contextlib import closing

import click

from pachyderm_dagster.cli.asking import refuse_in_transaction
from pachyderm_dagster.cli.options import in_project
from pachyderm_dagster.cli.printing import Column, Printer, printing, text
from pachyderm_dagster.cli.signals import interrupted_by_signal
from pachyderm_dagster.cli.staying_workers import tend
from pachyderm_dagster.durations import parse_given_duration
from pachyderm_dagster.errors import InvalidError, PachydermError
from pachyderm_dagster.syncing.applying import Synced, sync
from pachyderm_dagster.syncing.differences import PIPELINE, REPO, Action, Change, done_of
from pachyderm_dagster.syncing.source import GitSource, parse_source
from pachyderm_dagster.workspace import open_workspace

_COLUMNS = (Column("ACTION", text("action")), Column("KIND", text("kind")), Column("NAME", text("name")), Column("FILE", text("file")))
_SHOWN_COMMIT = 12
_SHORTEST = 1.0


@click.command(epilog="Example: pachctl sync https://git.example.com/team/pipelines.git@main:production --dry-run")
@click.argument("source", metavar="REPO_URL@REF:FOLDER")
@click.option("--prune", is_flag=True, help="Remove what it declared before and does not any more: pipelines with their output; repos stay.")
@click.option("--dry-run", is_flag=True, help="Check everything and show the difference; change nothing.")
@click.option("--every", metavar="DURATION", help="Look again after so long, 1s or more, until interrupted: 60s.")
@click.option("--name", metavar="NAME", help="What the sync is called; after the repository and the folder without it.")
@in_project
@printing
@click.pass_obj
def sync_command(
    environ: Mapping[str, str], source: str, prune: bool, dry_run: bool, every: str | None, name: str | None, project: str, printer: Printer
) -> None:
    """Repos, pipelines and objects of Argo that its files declare are made as declared there; what somebody changed since is changed back.

    Everything is checked before anything is changed. What is declared no more is told, and stays without --prune. `git` fetches it, with your settings.
    """
    if every is not None and dry_run:
        raise click.UsageError("--dry-run looks once; leave --every out")
    refuse_in_transaction(environ, "a sync")
    pause = None if every is None else _pause(every)
    looking = _Looking(environ, parse_source(source, base=os.getcwd()), name, project, prune, dry_run, printer)
    with interrupted_by_signal():
        if pause is None:
            looking.look()
        else:
            looking.look_every(pause)


def _pause(every: str) -> float:
    seconds = parse_given_duration(every)
    if seconds < _SHORTEST:
        raise InvalidError("duration-invalid", f"--every {every} is too often for a repository; it takes 1s or more")
    return seconds


class _Looking:
    """Looks at one source, and tells what came of it."""

    def __init__(self, environ: Mapping[str, str], source: GitSource, name: str | None, project: str, prune: bool, dry_run: bool, printer: Printer) -> None:
        self._environ, self._source, self._name, self._project = environ, source, name, project
        self._prune, self._dry_run, self._printer = prune, dry_run, printer
        self._told: set[str] = set()

    def look(self) -> Synced:
        """Looks once. Errors as `sync`."""
        with closing(open_workspace(self._environ)) as workspace:
            found = sync(workspace, self._source, self._environ, project=self._project, name=self._name, prune=self._prune, dry_run=self._dry_run)
        self._tell(found)
        if not self._dry_run and any(change.thing.kind == PIPELINE for change in done_of(found.changes)):
            tend(self._environ)
        return found

    def look_every(self, seconds: float) -> None:
        """Looks again and again; what fails is told, once, and tried again."""
        pause, failed = threading.Event(), ""
        while True:
            try:
                self.look()
                failed = ""
            except PachydermError as error:
                if str(error) != failed:
                    click.echo(f"error: {error}", err=True)
                failed = str(error)
            pause.wait(seconds)

    def _tell(self, found: Synced) -> None:
        self._note(*found.notes)
        changes = done_of(found.changes)
        for change in found.changes:
            if change.action is Action.KEEP:
                self._note(_why_kept(change))
        if changes or self._printer.for_programs:
            self._printer.many(map(_document, changes), _COLUMNS)
        if self._dry_run and not self._printer.for_programs:
            for change in changes:
                for line in change.difference:
                    click.echo(line)
        said = "nothing is changed" if self._dry_run else "as declared"
        self._note(f"{found.sync.name}: commit {found.commit[:_SHOWN_COMMIT]} of {self._source}: {len(changes)} differed; {said}")

    def _note(self, *lines: str) -> None:
        """Tells lines that were not told before."""
        for line in lines:
            if line not in self._told:
                self._told.add(line)
                click.echo(f"note: {line}", err=True)


def _why_kept(change: Change) -> str:
    if change.thing.kind == REPO:
        return f"{change.thing} is declared no more, and stays with what it holds; `pachctl delete repo {change.thing.name}` removes it"
    return f"{change.thing} is declared no more, and stays; --prune removes it"


def _document(change: Change) -> dict[str, object]:
    return {
        "action": change.action.value,
        "kind": change.thing.kind,
        "name": change.thing.name,
        "file": change.source,
        "difference": "\n".join(change.difference),
    }
