"""Projects and repos: create, update, find, list, delete."""

import sqlalchemy as sa

from pachyderm_dagster.errors import ExistsError, InvalidError, NotFoundError, StateError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.ancestry import find_readables
from pachyderm_dagster.pfs.horizon import release_commits
from pachyderm_dagster.pfs.model import (
    DEFAULT_BRANCH,
    DEFAULT_PROJECT,
    FILE_SETS_REPO,
    Project,
    Repo,
    RepoName,
    RepoType,
    checked_project_name,
    checked_repo_name,
)

IMPORTED = "imported-from"
"""The key under which it is noted on a repo where it came from."""


def ensure_project(txn: Transaction, name: str) -> int:
    """The project's row; `default` always exists.

    Raises:
        NotFoundError: `project-not-found`.
    """
    row = txn.first(sa.select(t.project.c.id).where(t.project.c.name == name))
    if row is not None:
        return int(row.id)
    if name != DEFAULT_PROJECT:
        known = ", ".join(repr(found.name) for found in txn.all(sa.select(t.project.c.name).order_by(t.project.c.name))) or repr(DEFAULT_PROJECT)
        raise NotFoundError(
            "project-not-found", f"project {name!r} does not exist; projects: {known}; `pachctl config update context --project NAME` makes one the active one"
        )
    return txn.insert(t.project, name=checked_project_name(name), created=txn.clock.now())


def create_project(txn: Transaction, name: str, *, description: str = "") -> None:
    """Makes a project, a name space for repos and pipelines.

    Raises:
        ExistsError: `project-exists`.
        InvalidError: `name-invalid`.
    """
    checked_project_name(name)
    if txn.first(sa.select(t.project.c.id).where(t.project.c.name == name)) is not None:
        raise ExistsError("project-exists", f"project {name!r} exists already")
    txn.insert(t.project, name=name, created=txn.clock.now(), description=description)


def update_project(txn: Transaction, name: str, *, description: str) -> None:
    """Changes the description of a project.

    Raises:
        NotFoundError: `project-not-found`.
    """
    txn.run(sa.update(t.project).where(t.project.c.id == ensure_project(txn, name)).values(description=description))


def list_project(txn: Transaction) -> list[Project]:
    """The projects by name."""
    ensure_project(txn, DEFAULT_PROJECT)
    return [Project(row.name, row.created, row.description, row.metadata) for row in txn.all(sa.select(t.project).order_by(t.project.c.name))]


def project_names(txn: Transaction) -> list[str]:
    """The names of the projects, sorted; `default` is one of them before anything was made in it."""
    return sorted({row.name for row in txn.all(sa.select(t.project.c.name))} | {DEFAULT_PROJECT})


def inspect_project(txn: Transaction, name: str) -> Project:
    """One project.

    Raises:
        NotFoundError: `project-not-found`.
    """
    ensure_project(txn, name)
    return next(project for project in list_project(txn) if project.name == name)


def delete_project(txn: Transaction, name: str) -> None:
    """Removes a project that holds no repos.

    Raises:
        NotFoundError: `project-not-found`.
        StateError: `project-in-use`, when it holds repos, and always for `default`.
    """
    project_id = ensure_project(txn, name)
    if name == DEFAULT_PROJECT:
        raise StateError("project-in-use", f"project {name!r} always exists; `pachctl delete repo --all` empties it")
    held = [repr(repo.name.name) for repo in list_repo(txn, project=name)]
    if held:
        raise StateError("project-in-use", f"project {name!r} holds {', '.join(held[:10])}; delete its pipelines and repos first, or use --force")
    txn.run(sa.delete(t.project).where(t.project.c.id == project_id))


def create_repo(txn: Transaction, name: RepoName, *, description: str = "", update: bool = False) -> int:
    """Makes a repo, without a branch, and returns its row. `update` changes the description of one that exists.

    Raises:
        ExistsError: `repo-exists`.
        InvalidError: `name-invalid`.
    """
    if checked_repo_name(name.name) == FILE_SETS_REPO:
        raise InvalidError("name-invalid", f"{FILE_SETS_REPO!r} cannot name a repo: file sets are read under that name")
    project_id = ensure_project(txn, name.project)
    found = find_repo(txn, name)
    if found is None:
        return txn.insert(t.repo, project_id=project_id, name=name.name, type=name.type, created=txn.clock.now(), description=description)
    if not update:
        raise ExistsError("repo-exists", f"repo '{name}' exists already; choose another name, or `update repo` to change its description")
    txn.run(sa.update(t.repo).where(t.repo.c.id == found).values(description=description))
    return found


def is_imported(txn: Transaction, name: RepoName) -> bool:
    """Whether a repo came from a Pachyderm cluster: then its pipeline there may go on with it here."""
    key = find_repo(txn, name)
    row = None if key is None else txn.first(sa.select(t.repo.c.metadata).where(t.repo.c.id == key))
    return row is not None and IMPORTED in row.metadata


def find_repo(txn: Transaction, name: RepoName) -> int | None:
    """The repo's row, or None."""
    row = txn.first(sa.select(t.repo.c.id).join(t.project).where(t.project.c.name == name.project, t.repo.c.name == name.name, t.repo.c.type == name.type))
    return None if row is None else int(row.id)


def get_repo(txn: Transaction, name: RepoName) -> int:
    """The repo's row.

    Raises:
        NotFoundError: `repo-not-found`, with the repos there are.
    """
    found = find_repo(txn, name)
    if found is None:
        others = [str(repo.name) for repo in list_repo(txn, project=name.project)]
        hint = f"repos: {', '.join(map(repr, others[:10]))}" if others else "there is none yet"
        making = f"; `pachctl create repo {name}` makes it" if name.type is RepoType.USER else ""
        raise NotFoundError("repo-not-found", f"repo '{name}' does not exist; {hint}{making}")
    return found


def repo_name(txn: Transaction, repo_id: int) -> RepoName:
    """The name of the repo in this row."""
    row = txn.first(sa.select(t.project.c.name.label("project"), t.repo.c.name, t.repo.c.type).join_from(t.repo, t.project).where(t.repo.c.id == repo_id))
    assert row is not None
    return RepoName(row.project, row.name, RepoType(row.type))


def list_repo(txn: Transaction, *, project: str | None = None, type: RepoType | None = RepoType.USER) -> list[Repo]:
    """The repos by name, of every project unless one is named, of every type when `type` is None."""
    return _list(txn, sa.true(), project=project, type=type)


def _list(txn: Transaction, chosen: sa.ColumnElement[bool], *, project: str | None, type: RepoType | None) -> list[Repo]:
    statement = sa.select(t.repo, t.project.c.name.label("project")).join_from(t.repo, t.project).order_by(t.project.c.name, t.repo.c.name, t.repo.c.type)
    statement = statement.where(chosen)
    if project is not None:
        ensure_project(txn, project)
        statement = statement.where(t.project.c.name == project)
    if type is not None:
        statement = statement.where(t.repo.c.type == type)
    branches: dict[int, list[tuple[str, int | None]]] = {}
    with_heads = sa.select(t.branch.c.repo_id, t.branch.c.name, t.branch.c.head_id).join_from(t.branch, t.repo).where(chosen).order_by(t.branch.c.name)
    for row in txn.all(with_heads):
        branches.setdefault(row.repo_id, []).append((row.name, row.head_id))
    readable = find_readables(txn, sa.select(t.branch.c.head_id).join_from(t.branch, t.repo).where(chosen, t.branch.c.name == DEFAULT_BRANCH))
    repos = []
    for row in txn.all(statement):
        heads = dict(branches.get(row.id, ()))
        master = readable.get(heads.get(DEFAULT_BRANCH) or 0)
        repos.append(
            Repo(
                name=RepoName(row.project, row.name, RepoType(row.type)),
                created=row.created,
                description=row.description,
                size_bytes=0 if master is None else int(master.size_bytes),
                branches=tuple(heads),
                metadata=row.metadata,
            )
        )
    return repos


def inspect_repo(txn: Transaction, name: RepoName) -> Repo:
    """One repo.

    Raises:
        NotFoundError: `repo-not-found`.
    """
    return _list(txn, t.repo.c.id == get_repo(txn, name), project=None, type=None)[0]


def delete_repo(txn: Transaction, name: RepoName, *, force: bool = False) -> None:
    """Removes a repo with its branches and commits. The repos of the pipeline of the same name go with `delete pipeline`.

    Raises:
        NotFoundError: `repo-not-found`.
        StateError: `repo-in-use`, when a pipeline owns it or a branch elsewhere is made from it (which `force` overrides).
    """
    repo_id = get_repo(txn, name)
    owner = txn.first(sa.select(t.pipeline.c.id).join(t.project).where(t.project.c.name == name.project, t.pipeline.c.name == name.name))
    if owner is not None:
        raise StateError("repo-in-use", f"repo '{name}' belongs to the pipeline of that name; `pachctl delete pipeline {name.name}` removes both")
    source = t.branch.alias("source")
    users = txn.all(
        sa.select(t.repo.c.id)
        .distinct()
        .join_from(t.branch_provenance, source, t.branch_provenance.c.upstream_id == source.c.id)
        .join(t.branch, t.branch_provenance.c.branch_id == t.branch.c.id)
        .join(t.repo, t.branch.c.repo_id == t.repo.c.id)
        .where(source.c.repo_id == repo_id, t.branch.c.repo_id != repo_id)
    )
    if users and not force:
        names = ", ".join(sorted({f"'{repo_name(txn, row.id)}'" for row in users}))
        raise StateError("repo-in-use", f"repo '{name}' is the input of {names}; delete what reads it first, or use --force")
    remove_repo(txn, repo_id)


def remove_repo(txn: Transaction, repo_id: int) -> None:
    """Deletes the rows of a repo; the caller has checked that nothing needs it."""
    release_commits(txn, sa.select(t.commit.c.id).where(t.commit.c.repo_id == repo_id))
    txn.run(sa.update(t.commit).where(t.commit.c.repo_id == repo_id).values(parent_id=None))
    txn.run(sa.delete(t.repo).where(t.repo.c.id == repo_id))


def sum_stored_bytes(txn: Transaction, name: RepoName) -> int:
    """What the writing of a repo's commits added to the store.

    Raises:
        NotFoundError: `repo-not-found`.
    """
    row = txn.first(sa.select(sa.func.sum(t.commit.c.stored_bytes).label("stored")).where(t.commit.c.repo_id == get_repo(txn, name)))
    return 0 if row is None or row.stored is None else int(row.stored)
