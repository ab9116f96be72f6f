"""Changes of projects, repos, branches and commits as data: done at once, or kept in a transaction of a user and done at its end."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, assert_never

import msgspec

from pachyderm_dagster.errors import ConflictError
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, commits, references, removal, repos
from pachyderm_dagster.pfs.finishing import Prepared, Unfinished, find_unfinished, finish
from pachyderm_dagster.pfs.horizon import is_collected
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, Branch, BranchName, Commit, Project, Repo, RepoName, Trigger, check_user_repo
from pachyderm_dagster.pfs.object_metadata import MetadataEdit, edit_metadata
from pachyderm_dagster.pfs.references import Reference

Shown: TypeAlias = Project | Repo | Branch | Commit


class SpecContent(NamedTuple):
    """What a commit of a spec repo holds: a specification, and the source folder of a tree.

    Attributes:
        source: encoded root of that tree; None without one.
        since: when storing it began; None of one that a commit keeps.
    """

    spec: str
    source: bytes | None = None
    since: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredSpec:
    """The tree of a spec repo: an encoded root, its size, and when storing it began."""

    tree: bytes
    size_bytes: int
    since: dt.datetime


@dataclass(slots=True)
class Contents:
    """What requests write into the object store, which is done between two attempts at a transaction: in one there is no I/O.

    Attributes:
        trial: the requests are only tried, so no commit is recorded as finished.
        specs: the tree of a spec repo, by what it holds.
        commits: what a commit is finished with, by its name.
        missing_specs, missing_commits: what a request asked for in vain; it went on with nothing in its place.
    """

    trial: bool = False
    specs: dict[SpecContent, StoredSpec] = field(default_factory=dict)
    commits: dict[str, Prepared] = field(default_factory=dict)
    missing_specs: set[SpecContent] = field(default_factory=set)
    missing_commits: dict[str, Unfinished] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether nothing was asked for in vain."""
        return not self.missing_specs and not self.missing_commits

    def forget_missing(self) -> None:
        """Before another attempt."""
        self.missing_specs.clear()
        self.missing_commits.clear()

    def of_spec(self, txn: Transaction, content: SpecContent) -> tuple[bytes, int]:
        """The tree that holds a spec and its source, and its size.

        Raises:
            ConflictError: `source-collected`.
        """
        if content.since is not None and is_collected(txn, content.since):
            raise ConflictError("source-collected", "a garbage collection ran while the source folder was stored, and may have taken it; try again")
        found = self.specs.get(content)
        if found is None or is_collected(txn, found.since):
            self.missing_specs.add(content)
            return b"", 0
        return found.tree, found.size_bytes

    def finish(self, txn: Transaction, commit: Commit, *, error: str | None, description: str | None) -> None:
        """Finishes a commit with what it holds. Errors as `find_unfinished`."""
        asked = find_unfinished(txn, commit.key, error=error, description=description)
        prepared = self.commits.get(str(commit))
        if prepared is None or finish(txn, commit.key, prepared) is None:
            self.missing_commits[str(commit)] = asked
            commits.close_commit(txn, commit.key, tree=None, size_bytes=0, error=error)


class CreateProject(msgspec.Struct, frozen=True, omit_defaults=True, tag="create project", tag_field="request"):
    """As `repos.create_project`."""

    project: str
    description: str = ""


class UpdateProject(msgspec.Struct, frozen=True, omit_defaults=True, tag="update project", tag_field="request"):
    """As `repos.update_project`."""

    project: str
    description: str


class CreateRepo(msgspec.Struct, frozen=True, omit_defaults=True, tag="create repo", tag_field="request"):
    """As `repos.create_repo`."""

    repo: RepoName
    description: str = ""


class UpdateRepo(msgspec.Struct, frozen=True, omit_defaults=True, tag="update repo", tag_field="request"):
    """Changes the description of a repo that exists."""

    repo: RepoName
    description: str


class DeleteRepo(msgspec.Struct, frozen=True, omit_defaults=True, tag="delete repo", tag_field="request"):
    """As `repos.delete_repo`; without a repo, of every one in a project."""

    repo: RepoName | None = None
    every_one_in: str = DEFAULT_PROJECT
    force: bool = False


class CreateBranch(msgspec.Struct, frozen=True, omit_defaults=True, tag="create branch", tag_field="request"):
    """As `branches.create_branch`."""

    branch: BranchName
    head: Reference | None = None
    provenance: tuple[BranchName, ...] = ()
    never: tuple[BranchName, ...] = ()
    trigger: Trigger | None = None
    keep_trigger: bool = True
    force: bool = False


class DeleteBranch(msgspec.Struct, frozen=True, omit_defaults=True, tag="delete branch", tag_field="request"):
    """As `branches.delete_branch`."""

    branch: BranchName
    force: bool = False


class StartCommit(msgspec.Struct, frozen=True, omit_defaults=True, tag="start commit", tag_field="request"):
    """As `commits.start_commit`."""

    branch: BranchName
    parent: Reference | None = None
    description: str = ""


class FinishCommit(msgspec.Struct, frozen=True, omit_defaults=True, tag="finish commit", tag_field="request"):
    """Puts together what was staged on an open commit, and closes it."""

    commit: Reference
    description: str | None = None
    error: str | None = None


class SquashCommit(msgspec.Struct, frozen=True, omit_defaults=True, tag="squash commit", tag_field="request"):
    """As `removal.squash_commit`."""

    commit: Reference
    recursive: bool = False


class DropCommit(msgspec.Struct, frozen=True, omit_defaults=True, tag="delete commit", tag_field="request"):
    """As `removal.drop_commit`."""

    commit: Reference
    recursive: bool = False


class SquashCommitSet(msgspec.Struct, frozen=True, omit_defaults=True, tag="squash commit set", tag_field="request"):
    """As `removal.squash_set`."""

    id: str


class DropCommitSet(msgspec.Struct, frozen=True, omit_defaults=True, tag="delete commit set", tag_field="request"):
    """As `removal.drop_set`."""

    id: str


class EditMetadata(msgspec.Struct, frozen=True, omit_defaults=True, tag="edit metadata", tag_field="request"):
    """As `object_metadata.edit_metadata`."""

    edits: tuple[MetadataEdit, ...]


SpaceRequest: TypeAlias = CreateProject | UpdateProject | CreateRepo | UpdateRepo | DeleteRepo | CreateBranch | DeleteBranch
CommitRequest: TypeAlias = StartCommit | FinishCommit | SquashCommit | DropCommit | SquashCommitSet | DropCommitSet
FileRequest: TypeAlias = SpaceRequest | CommitRequest | EditMetadata


def apply(txn: Transaction, request: FileRequest, contents: Contents) -> list[Shown]:
    """Does what was asked for and returns what was made, changed or removed. Errors as the operation that the request names."""
    if isinstance(request, EditMetadata):
        edit_metadata(txn, request.edits)
        return []
    if isinstance(request, SpaceRequest):
        return [*_apply_to_space(txn, request)]
    return [*_apply_to_commits(txn, request, contents)]


def describe(request: FileRequest) -> str:
    """What is asked for, in a line, as on the command line."""
    match request:
        case CreateProject() | UpdateProject():
            named = request.project
        case CreateRepo() | UpdateRepo():
            named = str(request.repo)
        case DeleteRepo():
            named = f"--all --project {request.every_one_in}" if request.repo is None else str(request.repo)
        case CreateBranch():
            named = " ".join(
                [str(request.branch), *([] if request.head is None else [f"--head {request.head}"]), *(f"-p {source}" for source in request.provenance)]
            )
        case DeleteBranch() | StartCommit():
            named = str(request.branch)
        case FinishCommit() | SquashCommit() | DropCommit():
            named = str(request.commit)
        case SquashCommitSet() | DropCommitSet():
            named = request.id
        case EditMetadata():
            named = " ".join(map(str, request.edits))
        case _:
            assert_never(request)
    return f"{request.__struct_config__.tag} {named}"


def _apply_to_space(txn: Transaction, request: SpaceRequest) -> Sequence[Project | Repo | Branch]:
    match request:
        case CreateProject():
            repos.create_project(txn, request.project, description=request.description)
            return [repos.inspect_project(txn, request.project)]
        case UpdateProject():
            repos.update_project(txn, request.project, description=request.description)
            return [repos.inspect_project(txn, request.project)]
        case CreateRepo():
            check_user_repo(request.repo)
            repos.create_repo(txn, request.repo, description=request.description)
            return [repos.inspect_repo(txn, request.repo)]
        case UpdateRepo():
            repos.get_repo(txn, request.repo)
            repos.create_repo(txn, request.repo, description=request.description, update=True)
            return [repos.inspect_repo(txn, request.repo)]
        case DeleteRepo():
            return _delete_repo(txn, request)
        case CreateBranch():
            return [_create_branch(txn, request)]
        case DeleteBranch():
            doomed = branches.inspect_branch(txn, request.branch)
            branches.delete_branch(txn, request.branch, force=request.force)
            return [doomed]
        case _:
            assert_never(request)


def _apply_to_commits(txn: Transaction, request: CommitRequest, contents: Contents) -> list[Commit]:
    match request:
        case StartCommit():
            parent = None if request.parent is None else references.find_commit(txn, request.parent)
            started = commits.start_commit(txn, request.branch, parent=parent, description=request.description)
            return [commits.get_commit(txn, started)]
        case FinishCommit():
            return [_finish_commit(txn, request, contents)]
        case SquashCommit():
            return removal.squash_commit(txn, references.find_commit(txn, request.commit), recursive=request.recursive)
        case DropCommit():
            return removal.drop_commit(txn, references.find_commit(txn, request.commit), recursive=request.recursive)
        case SquashCommitSet():
            return removal.squash_set(txn, request.id)
        case DropCommitSet():
            return removal.drop_set(txn, request.id)
        case _:
            assert_never(request)


def _create_branch(txn: Transaction, request: CreateBranch) -> Branch:
    head = None if request.head is None else references.find_commit(txn, request.head)
    branches.create_branch(
        txn,
        request.branch,
        provenance=request.provenance,
        never=request.never,
        head=head,
        trigger=request.trigger,
        keep_trigger=request.keep_trigger,
        force=request.force,
    )
    return branches.inspect_branch(txn, request.branch)


def _delete_repo(txn: Transaction, request: DeleteRepo) -> list[Repo]:
    named = repos.list_repo(txn, project=request.every_one_in) if request.repo is None else [repos.inspect_repo(txn, request.repo)]
    for found in named:
        repos.delete_repo(txn, found.name, force=request.force)
    return named


def _finish_commit(txn: Transaction, request: FinishCommit, contents: Contents) -> Commit:
    commit = commits.get_commit(txn, references.find_commit(txn, request.commit))
    contents.finish(txn, commit, error=request.error, description=request.description)
    return commits.get_commit(txn, commit.key)
