"""Names that a shell may complete a word with: what there is of projects, repos, branches, commits, pipelines, jobs, transactions and files."""

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pachyderm_dagster.cli.home import reading
from pachyderm_dagster.cli.lazy import load
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.jobs import list_job
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.pps.secret_store import SecretStore
from pachyderm_dagster.settings import load_settings

MOST = 500
# Ids are many and long: the newest are those that are meant.
MOST_IDS = 20


@dataclass(frozen=True, slots=True)
class Typed:
    """A word that has been begun, and what stands around it.

    Args:
        begun: the word as far as it goes.
        project: of names that have none.
        before: the arguments that stand before it.
    """

    begun: str
    project: str
    before: Sequence[str]


_WORKFLOWS = ("WORKFLOW", "[WORKFLOW...]")


def names(environ: Mapping[str, str], placeholder: str, begun: str, project: str | None, before: Sequence[str]) -> list[str]:
    """The words that may stand where help says `placeholder`, and begin as `begun` does.

    Errors as `open_record`; a home that does not exist is not made.
    """
    settings = load_settings(environ)
    if not settings.home.exists():
        return []
    if placeholder == "SECRET":
        return [name for name in SecretStore(settings.home).names() if name.startswith(begun)]
    if placeholder == "SYNC":
        return sorted(path.stem for path in (settings.home / "sync").glob(f"{begun}*.json"))
    if placeholder == "KIND/NAME":
        kept = load("pachyderm_dagster.argo.kept_objects:KeptObjects")(settings.home)
        return [name for name in kept.short_names() if name.startswith(begun)]
    if placeholder in _WORKFLOWS:
        runs = settings.home / "argo" / "runs"
        return sorted(path.name for path in runs.glob("[!.]*") if path.name.startswith(begun)) if runs.is_dir() else []
    typed = Typed(begun, project or settings.project, before)
    with reading(environ) as txn:
        found = [name for form in _forms(placeholder) for name in _FORMS.get(form, _nothing)(txn, typed)]
    if ":" in begun and ":PAT" in placeholder:
        found = _paths(environ, typed)
    if placeholder == "DATUM":
        found = _datums(environ, typed)
    return [name for name in found if name.startswith(begun)]


def _forms(placeholder: str) -> list[str]:
    plain = placeholder.replace("[", "").replace("]", "").replace("...", "")
    return [form.partition(":")[0] for form in plain.split("|")]


def _nothing(_txn: Transaction, _typed: Typed) -> Iterable[str]:
    return ()


def _projects(txn: Transaction, _typed: Typed) -> Iterable[str]:
    return _first(txn, sa.select(t.project.c.name).order_by(t.project.c.name).limit(MOST))


def _repos(txn: Transaction, typed: Typed) -> Iterable[str]:
    return _in_project(txn, typed, _REPOS)


def _pipelines(txn: Transaction, typed: Typed) -> Iterable[str]:
    return _in_project(txn, typed, _PIPELINES)


def _transactions(txn: Transaction, _typed: Typed) -> Iterable[str]:
    return _first(txn, sa.select(t.open_transaction.c.id).order_by(t.open_transaction.c.started.desc()).limit(MOST))


def _set_ids(txn: Transaction, typed: Typed) -> Iterable[str]:
    """Only once a digit is there: nobody means one of thousands before that."""
    if not typed.begun:
        return ()
    newest = sa.func.max(t.commit.c.id).desc()
    like = t.commit.c.set_id.startswith(typed.begun, autoescape=True)
    return _first(txn, sa.select(t.commit.c.set_id).where(like).group_by(t.commit.c.set_id).order_by(newest).limit(MOST_IDS))


def _job_sets(txn: Transaction, typed: Typed) -> Iterable[str]:
    like = t.job.c.set_id.startswith(typed.begun, autoescape=True)
    return _first(txn, sa.select(t.job.c.set_id).where(like).group_by(t.job.c.set_id).order_by(sa.func.max(t.job.c.id).desc()).limit(MOST_IDS))


def _references(txn: Transaction, typed: Typed, *, ids: bool, alone: bool = False) -> Iterable[str]:
    """`REPO@REF`: repos with an @ until there is one, then branches, and ids when they are wanted."""
    repo, at, _ref = typed.begun.partition("@")
    if not at:
        found = list(_repos(txn, typed))
        return (found if alone else []) + [name if name.endswith("/") else f"{name}@" for name in found]
    return [f"{repo}@{ref}" for ref in _refs(txn, repo, typed.project, ids=ids)]


def _jobs(txn: Transaction, typed: Typed) -> Iterable[str]:
    pipeline, at, _id = typed.begun.partition("@")
    if not at:
        return [name if name.endswith("/") else f"{name}@" for name in _pipelines(txn, typed)]
    project, name = _split(pipeline, typed.project)
    of_pipeline = t.job.join(t.pipeline).join(t.project)
    where = (t.project.c.name == project, t.pipeline.c.name == name)
    statement = sa.select(t.job.c.set_id).select_from(of_pipeline).where(*where).order_by(t.job.c.id.desc()).limit(MOST_IDS)
    return [f"{pipeline}@{found}" for found in _first(txn, statement)]


def _refs_of_first(txn: Transaction, typed: Typed, *, ids: bool) -> Iterable[str]:
    """`REF`: in the repo of the command's first argument."""
    return _refs(txn, typed.before[0].partition("@")[0], typed.project, ids=ids) if typed.before else ()


def _kinds(txn: Transaction, typed: Typed) -> Iterable[str]:
    """KIND, OBJECT and EDIT of `edit metadata`, in turn."""
    kind = typed.before[-1] if typed.before else ""
    match len(typed.before) % 4:
        case 0:
            return ("cluster", "project", "repo", "branch", "commit")
        case 1:
            objects = {"cluster": "", "project": "PROJECT", "repo": "REPO", "branch": "REPO@BRANCH", "commit": "REPO@REF"}
            return ["."] if kind == "cluster" else _FORMS.get(objects.get(kind, ""), _nothing)(txn, typed)
        case 2:
            return ("add", "edit", "delete", "replace")
    return ()


_REPOS = (t.repo, t.repo.c.name, t.repo.c.type == "user")
_PIPELINES = (t.pipeline, t.pipeline.c.name, sa.true())


def _in_project(txn: Transaction, typed: Typed, named: tuple[sa.Table, sa.Column[str], sa.ColumnElement[bool]]) -> list[str]:
    """Names of a project, as the word was begun: with the project, or without for the active one; then other projects with a / are there too."""
    table, column, condition = named
    project, name = _split(typed.begun, typed.project)
    where = (t.project.c.name == project, condition, column.startswith(name, autoescape=True))
    found = _first(txn, sa.select(column).select_from(table.join(t.project)).where(*where).order_by(column).limit(MOST))
    if "/" in typed.begun:
        return [f"{project}/{one}" for one in found]
    others = _projects(txn, typed) if typed.begun and not found else ()
    return found + [f"{other}/" for other in others if other != project]


def _refs(txn: Transaction, repo: str, default_project: str, *, ids: bool) -> list[str]:
    project, name = _split(repo, default_project)
    base, _, kind = name.partition(".")
    where = (t.project.c.name == project, t.repo.c.name == base, t.repo.c.type == (kind or "user"))
    row = txn.first(sa.select(t.repo.c.id).select_from(t.repo.join(t.project)).where(*where))
    if row is None:
        return []
    found = _first(txn, sa.select(t.branch.c.name).where(t.branch.c.repo_id == row.id).order_by(t.branch.c.name).limit(MOST))
    if ids:
        found += _first(txn, sa.select(t.commit.c.set_id).where(t.commit.c.repo_id == row.id).order_by(t.commit.c.id.desc()).limit(MOST_IDS))
    return found


def _paths(environ: Mapping[str, str], typed: Typed) -> list[str]:
    """`REPO@REF:/folder/`: what is in the folder. This one reads a tree, and is not as quick as the others."""
    reference, _, path = typed.begun.partition(":")
    folder = path.rpartition("/")[0] + "/" if "/" in path else "/"
    with closing(load("pachyderm_dagster.workspace:open_workspace")(environ, project=typed.project)) as workspace:
        found = workspace.pfs.list_file(f"{reference}:{folder}")
        return [f"{reference}:{file.path}{'/' if file.type == 'dir' and not file.path.endswith('/') else ''}" for file in found]


def _datums(environ: Mapping[str, str], typed: Typed) -> list[str]:
    """Ids of datums of the job, or of the newest one of the pipeline, that stands before; this one reads a tree too."""
    if not typed.before:
        return []
    with closing(load("pachyderm_dagster.workspace:open_workspace")(environ, project=typed.project)) as workspace:
        with workspace.database.read() as txn:
            job = _job(txn, typed.before[0], typed.project)
        if job is None:
            return []
        return [datum.id for datum in itertools.islice(workspace.pps.list_datum(job, begun=typed.begun), MOST_IDS)]


def _job(txn: Transaction, named: str, project: str) -> Job | None:
    if "@" in named:
        found: Job = load("pachyderm_dagster.cli.job_names:find_job")(txn, named, project=project)
        return found
    return next(iter(list_job(txn, pipeline=RepoName(*_split(named, project)), number=1)), None)


def _split(name: str, project: str) -> tuple[str, str]:
    given, slash, rest = name.rpartition("/")
    return (given, rest) if slash else (project, name)


def _first(txn: Transaction, statement: sa.Select[Any]) -> list[str]:
    return [str(row[0]) for row in txn.all(statement)]


_FORMS: Mapping[str, Callable[[Transaction, Typed], Iterable[str]]] = {
    "PROJECT": _projects,
    "REPO": _repos,
    "PIPELINE": _pipelines,
    "PIPELINE^N": _pipelines,
    "TRANSACTION": _transactions,
    "JOBS": _job_sets,
    "ID": _set_ids,
    "REPO@BRANCH": functools.partial(_references, ids=False),
    "REPO@REF": functools.partial(_references, ids=True),
    "REPO@REF?": functools.partial(_references, ids=True, alone=True),
    "REPO@BRANCH?": functools.partial(_references, ids=False, alone=True),
    "PIPELINE@ID": _jobs,
    "REF": functools.partial(_refs_of_first, ids=True),
    "BRANCH": functools.partial(_refs_of_first, ids=False),
    "KIND OBJECT EDIT DATA": _kinds,
}
"""Who knows the names, by how help calls them; a ? marks a reference that may be a repo alone."""
