"""The commands that look at commits or open one; they read no content."""

import itertools
from collections.abc import Iterable, Iterator, Mapping

import click

from pachyderm_dagster.cli.asking import ask
from pachyderm_dagster.cli.commit_names import commit_or_set, looks_like_an_id, no_such_set
from pachyderm_dagster.cli.documents import Fields, commit_document, document_of
from pachyderm_dagster.cli.draw_commit import graph_lines
from pachyderm_dagster.cli.home import reading
from pachyderm_dagster.cli.options import COUNT, in_project
from pachyderm_dagster.cli.printing import Column, Printer, brief, listed, noted, optional, printing, size, text, time
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, commits, references, repos
from pachyderm_dagster.pfs.model import Commit, Origin, RepoType, is_commit_id
from pachyderm_dagster.pfs.references import parse_reference
from pachyderm_dagster.pfs.requests import StartCommit
from pachyderm_dagster.pfs.short_references import commit_in

COLUMNS = (
    Column("PROJECT", text("project")),
    Column("REPO", text("repo")),
    Column("BRANCH", text("branch")),
    Column("COMMIT", text("id")),
    Column("FINISHED", time("finished")),
    Column("SIZE", size("size_bytes")),
    Column("ORIGIN", text("origin")),
    Column("ERROR", lambda document, _: "" if document["error"] is None else "yes"),
    Column("DESCRIPTION", brief("description")),
)
LINES = (
    Column("Commit", lambda document, _: f"{document['repo']}@{document['id']}"),
    Column("Project", text("project")),
    Column("Branch", text("branch")),
    Column("Description", optional("description")),
    Column("Parent", text("parent")),
    Column("Origin", text("origin")),
    Column("Started", time("started")),
    Column("Finished", time("finished")),
    Column("Size", size("size_bytes")),
    Column("Stored", size("stored_bytes")),
    Column("Made from", listed("direct_provenance")),
    Column("Error", optional("error")),
    Column("Metadata", noted("metadata")),
)
SET_COLUMNS = (
    Column("ID", text("id")),
    Column("SUBCOMMITS", text("total")),
    Column("PROGRESS", lambda document, _: f"{document['finished']} / {document['total']}"),
    Column("CREATED", time("created")),
    Column("MODIFIED", time("modified")),
)


@click.command(epilog="Example: commit=$(pachctl start commit images@master)")
@click.argument("branch", metavar="REPO@BRANCH")
@click.option("-p", "--parent", metavar="REF", help="Go on from this commit instead of the branch's head.")
@click.option("-m", "--message", "--description", "description", default="", help="What the commit is about.")
@in_project
@printing
@click.pass_obj
def start_commit(environ: Mapping[str, str], branch: str, parent: str | None, description: str, project: str, printer: Printer) -> None:
    """The branch is made when it is missing. What is downstream waits until the commit is finished."""
    name = parse_reference(branch, project=project).branch()
    at = None if parent is None else commit_in(name.repo, parent, project=project)
    documents = [document_of(made) for made in ask(environ, StartCommit(name, at, description))]
    if printer.for_programs:
        printer.only_documents(*documents)
    else:
        click.echo(documents[0]["id"])


@click.command(epilog="Example: pachctl inspect commit images@master^2")
@click.argument("commit", metavar="REPO@REF|ID")
@in_project
@printing
@click.pass_obj
def inspect_commit(environ: Mapping[str, str], commit: str, project: str, printer: Printer) -> None:
    """An id alone shows the commits of the set and those of older sets that they were made from, each after what it was made from."""
    at = commit_or_set(commit, project=project)
    with reading(environ) as txn:
        if at is None:
            members = _user_commits(commits.get_set(txn, commit))
            # A commit's row is newer than those of what it was made from.
            printer.many(map(commit_document, sorted([*members, *_used(txn, members)], key=lambda commit: commit.key)), COLUMNS)
            return
        found = commits.get_commit(txn, references.find_commit(txn, at))
    printer.one(commit_document(found), LINES)


@click.command(epilog="Example: pachctl list commit images@master -n 5")
@click.argument("commits_of", metavar="[REPO[@REF]|ID]", required=False)
@click.option("-n", "--number", type=COUNT, metavar="N", help="At most so many, the newest.")
@click.option("-f", "--from", "oldest", metavar="REF", help="Only those after this commit.")
@click.option("--origin", type=click.Choice([origin.value for origin in Origin], case_sensitive=False), help="Only commits of this origin.")
@click.option("--all", "include_system", is_flag=True, help="The commits of system repos too.")
@click.option("-x", "--expand", is_flag=True, help="Without a repo: one line a commit instead of one a commit set.")
@click.option("--reverse", is_flag=True, help="The oldest comes first.")
@click.option("--graph", is_flag=True, help="Of a repo: drawn, with forks and branches, as `draw commit` does.")
@in_project
@printing
@click.pass_obj
def list_commit(
    environ: Mapping[str, str],
    commits_of: str | None,
    number: int | None,
    oldest: str | None,
    origin: str | None,
    include_system: bool,
    expand: bool,
    reverse: bool,
    graph: bool,
    project: str,
    printer: Printer,
) -> None:
    """The newest comes first, also of a set: what was made stands above what it was made from, and --reverse turns that round. REPO@REF lists that commit
    and its ancestors. Without a repo or an ID the table has one line a commit set, that is, for all commits that one change made; -x makes it one line a
    commit. As JSON it is always one document a commit.
    """
    set_id = commits_of if commits_of is not None and is_commit_id(commits_of) else None
    at = parse_reference(commits_of, project=project) if commits_of is not None and set_id is None else None
    if oldest is not None and at is None:
        raise click.UsageError("--from needs a repo", click.get_current_context())
    if graph and (at is None or reverse or origin is not None):
        raise click.UsageError("--graph needs a repo, and takes neither --reverse nor --origin", click.get_current_context())
    kind = None if origin is None else Origin(origin)
    sets = commits_of is None and not expand
    with reading(environ) as txn:
        if set_id is not None:
            commits.get_set(txn, set_id)
        elif commits_of is not None and at is not None and looks_like_an_id(commits_of) and repos.find_repo(txn, at.repo) is None:
            raise no_such_set(commits_of)
        up_to = references.find_commit(txn, at) if at is not None and at.ref is not None else None
        found: Iterable[Commit] = commits.list_commit(
            txn,
            at.repo if at else None,
            up_to=up_to,
            set_id=set_id,
            origin=kind,
            include_system=include_system,
            number=None if oldest or sets else number,
            oldest_first=reverse,
        )
        if at is not None and oldest is not None:
            start = references.find_commit(txn, commit_in(at.repo, oldest, project=project))
            found = itertools.islice((commit for commit in found if commit.key > start), number)
        if graph and at is not None and not printer.for_programs:
            for line in graph_lines(txn, list(found), branches.list_branch(txn, at.repo), printer.times):
                click.echo(line)
            return
    if sets and not printer.for_programs:
        printer.many(itertools.islice(_set_documents(found), number), SET_COLUMNS)
    else:
        printer.many(itertools.islice(map(commit_document, found), number), COLUMNS)


def _set_documents(found: Iterable[Commit]) -> Iterator[Fields]:
    """The commit sets of commits, in the order of their newest member."""
    sets: dict[str, list[Commit]] = {}
    for commit in found:
        sets.setdefault(commit.id, []).append(commit)
    for set_id, members in sets.items():
        ended = [commit.finished for commit in members if commit.finished is not None]
        started = [commit.started for commit in members]
        yield {"id": set_id, "total": len(members), "finished": len(ended), "created": min(started), "modified": max(started + ended)}


def _user_commits(members: Iterable[Commit]) -> list[Commit]:
    return [commit for commit in members if commit.repo.type is RepoType.USER]


def _used(txn: Transaction, members: Iterable[Commit]) -> list[Commit]:
    """Commits of older sets that these were made from, directly or not."""
    known = {commit.key for commit in members}
    found: list[Commit] = []
    frontier = list(members)
    while frontier:
        above = [commit for member in frontier for commit in commits.upstream_commits(txn, member.key)]
        frontier = []
        for commit in _user_commits(above):
            if commit.key not in known:
                known.add(commit.key)
                found.append(commit)
                frontier.append(commit)
    return found
