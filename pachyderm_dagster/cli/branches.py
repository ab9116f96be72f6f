"""The commands for branches."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from pachyderm_dagster.cli.asking import ask
from pachyderm_dagster.cli.documents import Fields, branch_document, document_of
from pachyderm_dagster.cli.home import reading
from pachyderm_dagster.cli.options import COUNT, force, in_project
from pachyderm_dagster.cli.printing import Column, Printer, listed, noted, printing, text, time
from pachyderm_dagster.pfs import branches, repos
from pachyderm_dagster.pfs.model import BranchName, Trigger
from pachyderm_dagster.pfs.references import parse_reference, parse_repo
from pachyderm_dagster.pfs.requests import CreateBranch, DeleteBranch
from pachyderm_dagster.pfs.short_references import commit_in

COLUMNS = (
    Column("BRANCH", text("name")),
    Column("HEAD", text("head")),
    Column("TRIGGER", lambda document, _: _show_trigger(document["trigger"]) or "-"),
    Column("CREATED", time("created")),
)
LINES = (
    Column("Name", lambda document, _: f"{document['repo']}@{document['name']}"),
    Column("Head", text("head")),
    Column("Made from", listed("direct_provenance")),
    Column("Not followed", listed("never")),
    Column("Trigger", lambda document, _: _show_trigger(document["trigger"])),
    Column("Created", time("created")),
    Column("Metadata", noted("metadata")),
)


def trigger_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--trigger` and its conditions."""
    options = (
        click.option("-t", "--trigger", "follows", metavar="BRANCH", help="Move it to the commits of this branch of the repo, as the conditions say."),
        click.option("--trigger-size", "size", metavar="SIZE", help="... when there is so much more than at its head: 100M, 1GiB."),
        click.option("--trigger-commits", "commits", type=COUNT, metavar="N", help="... when there are so many commits since its head."),
        click.option("--trigger-rate-limit", "rate_limit", metavar="CRON", help="... when this schedule has ticked since its head was finished."),
        click.option("--trigger-cron", "cron", metavar="CRON", help="... whenever this schedule ticks; the other conditions do not count then."),
        click.option("--trigger-all", "all_conditions", is_flag=True, help="Only when every condition is met; without any, at every commit."),
        click.option("--no-trigger", is_flag=True, help="Take its trigger away."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(epilog="Example: pachctl create branch images@release --trigger master --trigger-commits 10")
@click.argument("branch", metavar="REPO@BRANCH")
@click.option("--head", metavar="REF", help="The commit that it points at: a branch, id or ancestor in the repo, or REPO@REF.")
@click.option(
    "-p", "--provenance", multiple=True, metavar="REPO@BRANCH", help="A branch that it is made from; may be repeated. Without it, a branch loses what it had."
)
@click.option("--never", multiple=True, metavar="REPO@BRANCH", help="One of the provenance: read when something else makes a commit, and not followed itself.")
@trigger_options
@force("Even when it is cut off from the pipeline that writes it.")
@in_project
@printing
@click.pass_obj
def create_branch(
    environ: Mapping[str, str],
    branch: str,
    head: str | None,
    provenance: tuple[str, ...],
    never: tuple[str, ...],
    follows: str | None,
    size: str | None,
    commits: int | None,
    rate_limit: str | None,
    cron: str | None,
    all_conditions: bool,
    no_trigger: bool,
    force: bool,
    project: str,
    printer: Printer,
) -> None:
    """A branch that exists is moved to --head; what is downstream of it then runs again. Provenance that is not repeated is taken away, a trigger is kept."""
    conditions: dict[str, Any] = {"size": size or "", "commits": commits or 0, "rate_limit_spec": rate_limit or "", "cron_spec": cron or ""}
    if follows is None and (all_conditions or any(conditions.values())):
        raise click.UsageError("conditions of a trigger need --trigger BRANCH", click.get_current_context())
    if follows is not None and no_trigger:
        raise click.UsageError("--trigger and --no-trigger exclude each other", click.get_current_context())
    trigger = None if follows is None else Trigger(branch=_followed(branch, follows, project), all=all_conditions, **conditions)
    unfollowed = tuple(parse_reference(source, project=project).branch() for source in never)
    request = _request(branch, head, provenance, project, never=unfollowed, trigger=trigger, keep_trigger=not no_trigger, force=force)
    is_missing = trigger is not None and _is_missing(environ, BranchName(request.branch.repo, trigger.branch))
    made = ask(environ, request)
    if trigger is not None:
        _note_oddities(trigger, is_missing=is_missing)
    printer.only_documents(*map(document_of, made))


@click.command(epilog="Example: pachctl set-branch images master^ release")
@click.argument("repo")
@click.argument("commit")
@click.argument("branch")
@in_project
@printing
@click.pass_obj
def set_branch(environ: Mapping[str, str], repo: str, commit: str, branch: str, project: str, printer: Printer) -> None:
    """The 1.x form of `create branch REPO@BRANCH --head COMMIT`."""
    printer.only_documents(*map(document_of, ask(environ, _request(f"{repo}@{branch}", commit, (), project))))


@click.command(epilog="Example: pachctl inspect branch images@master")
@click.argument("branch", metavar="REPO@BRANCH")
@in_project
@printing
@click.pass_obj
def inspect_branch(environ: Mapping[str, str], branch: str, project: str, printer: Printer) -> None:
    """Its head, and the branches that it is made from."""
    with reading(environ) as txn:
        found = branches.inspect_branch(txn, parse_reference(branch, project=project).branch())
    printer.one(branch_document(found), LINES)


@click.command(epilog="Example: pachctl list branch images")
@click.argument("repo")
@in_project
@printing
@click.pass_obj
def list_branch(environ: Mapping[str, str], repo: str, project: str, printer: Printer) -> None:
    """The oldest comes first."""
    with reading(environ) as txn:
        found = branches.list_branch(txn, parse_repo(repo, project=project))
    printer.many(map(branch_document, found), COLUMNS)


@click.command(epilog="Example: pachctl delete branch images@release")
@click.argument("branch", metavar="REPO@BRANCH")
@force("Even when other branches are made from it or follow it.")
@in_project
@printing
@click.pass_obj
def delete_branch(environ: Mapping[str, str], branch: str, force: bool, project: str, printer: Printer) -> None:
    """Refused while another branch is made from it, follows it or is followed by it, or a pipeline writes it."""
    printer.only_documents(*map(document_of, ask(environ, DeleteBranch(parse_reference(branch, project=project).branch(), force))))


def _request(branch: str, head: str | None, provenance: tuple[str, ...], project: str, **options: Any) -> CreateBranch:
    name = parse_reference(branch, project=project).branch()
    sources = tuple(parse_reference(source, project=project).branch() for source in provenance)
    return CreateBranch(name, None if head is None else commit_in(name.repo, head, project=project), sources, **options)


def _followed(branch: str, follows: str, project: str) -> str:
    """The branch that is followed, which may be written with the repo."""
    if "@" not in follows:
        return follows
    found, name = parse_reference(follows, project=project).branch(), parse_reference(branch, project=project).branch()
    if found.repo != name.repo:
        raise click.UsageError(f"a trigger follows a branch of its own repo, '{name.repo}'; '{follows}' is one of another", click.get_current_context())
    return found.name


def _is_missing(environ: Mapping[str, str], name: BranchName) -> bool:
    with reading(environ) as txn:
        return repos.find_repo(txn, name.repo) is not None and name not in {found.name for found in branches.list_branch(txn, name.repo)}


def _note_oddities(trigger: Trigger, *, is_missing: bool) -> None:
    """A trigger that is taken as Pachyderm takes it, though it may not do what was meant."""
    if is_missing:
        click.echo(f"note: there was no branch '{trigger.branch}' to follow; it is made too, empty", err=True)
    others = trigger.size or trigger.commits or trigger.rate_limit_spec
    if trigger.cron_spec and others:
        click.echo("note: with --trigger-cron the branch moves at every tick, and the other conditions do not count", err=True)
    if not trigger.cron_spec and not others and not trigger.all:
        click.echo("note: a trigger without a condition never moves the branch; --trigger-all moves it at every commit", err=True)


def _show_trigger(trigger: Fields | None) -> str:
    """What moves a branch, for people: `master on size 100M or 10 commits`."""
    if trigger is None:
        return ""
    conditions = [
        f"size {trigger['size']}" if trigger["size"] else "",
        f"{trigger['commits']} commit{'s' if trigger['commits'] > 1 else ''}" if trigger["commits"] else "",
        f"rate limit {trigger['rate_limit_spec']}" if trigger["rate_limit_spec"] else "",
    ]
    shown = [condition for condition in conditions if condition]
    if trigger["cron_spec"]:
        return f"{trigger['branch']} on cron {trigger['cron_spec']}"
    if not shown:
        return f"{trigger['branch']} on {'every commit' if trigger['all'] else 'nothing'}"
    return f"{trigger['branch']} on {(' and ' if trigger['all'] else ' or ').join(shown)}"
