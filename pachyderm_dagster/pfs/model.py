"""What repos, branches and commits look like to a caller."""

import datetime as dt
import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pachyderm_dagster.errors import InvalidError

DEFAULT_PROJECT = "default"
DEFAULT_BRANCH = "master"
FILE_SETS_REPO = "__filesets__"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_PROJECT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,50}")
_COMMIT_ID = re.compile(r"[0-9a-f]{32}")


class RepoType(enum.StrEnum):
    """What a repo holds."""

    USER = "user"  # data of users and outputs of pipelines
    SPEC = "spec"  # one commit a version of the pipeline of the same name
    META = "meta"  # one commit a job: what each datum read, wrote and said


class Origin(enum.StrEnum):
    """Who made a commit."""

    USER = "USER"
    AUTO = "AUTO"  # propagation, or the empty root of a branch


@dataclass(frozen=True, slots=True, order=True)
class RepoName:
    """A repo's full name."""

    project: str
    name: str
    type: RepoType = RepoType.USER

    def __str__(self) -> str:
        name = self.name if self.type is RepoType.USER else f"{self.name}.{self.type}"
        return name if self.project == DEFAULT_PROJECT else f"{self.project}/{name}"


@dataclass(frozen=True, slots=True, order=True)
class BranchName:
    """A branch's full name."""

    repo: RepoName
    name: str

    def __str__(self) -> str:
        return f"{self.repo}@{self.name}"


@dataclass(frozen=True, slots=True)
class Project:
    """A project as listed."""

    name: str
    created: dt.datetime
    description: str
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What users noted on it."""


@dataclass(frozen=True, slots=True)
class Repo:
    """A repo as listed."""

    name: RepoName
    created: dt.datetime
    description: str
    size_bytes: int
    """Content of the head of `master`: its nearest finished version without an error."""
    branches: tuple[str, ...]
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What users noted on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What moves a branch to a new commit of another one of its repo. Conditions are as users write them; one that is empty is none."""

    branch: str
    """The branch that it follows."""
    all: bool = False
    """Every condition must be met, not just one."""
    size: str = ""
    """So many bytes more than at the head of the triggered branch: `100M`."""
    commits: int = 0
    """So many commits since that head."""
    rate_limit_spec: str = ""
    """A schedule; it must have ticked since that head was finished."""
    cron_spec: str = ""
    """A schedule; at each tick the branch moves, and nothing else moves it."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch as listed."""

    name: BranchName
    head: str | None
    direct_provenance: tuple[BranchName, ...]
    created: dt.datetime
    never: tuple[BranchName, ...] = ()
    """Those of the direct provenance whose commits make none here."""
    trigger: Trigger | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What users noted on it."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit as listed. `tree` is the encoded root of its content, None while it is open."""

    key: int
    """Its row: only for further calls within this package."""
    repo: RepoName
    id: str
    branch: str | None
    parent: str | None
    origin: Origin
    description: str
    started: dt.datetime
    finished: dt.datetime | None
    error: str | None
    size_bytes: int
    direct_provenance: tuple[str, ...]
    """`repo@id` of each commit that this one was made from."""
    tree: bytes | None
    forgotten: bool = False
    """Its content was given up; `tree` is None."""
    stored_bytes: int = 0
    """What its writing added to the store; content that was there already adds nothing."""
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What users noted on it."""

    def __str__(self) -> str:
        return f"{self.repo}@{self.id}"


def is_commit_id(text: str) -> bool:
    """Whether `text` has the form of a commit's id: 32 lower-case hex digits."""
    return _COMMIT_ID.fullmatch(text) is not None


def checked_repo_name(name: str) -> str:
    """`name`, when a repo may have it: at most 255 characters.

    Raises:
        InvalidError: `name-invalid`.
    """
    if not _NAME.fullmatch(name):
        raise InvalidError("name-invalid", f"{name!r} cannot name a repo; it takes up to 255 letters, digits, '_' and '-'")
    return name


def check_user_repo(name: RepoName) -> None:
    """Whether users may make a repo of this type.

    Raises:
        InvalidError: `name-invalid`.
    """
    if name.type is not RepoType.USER:
        raise InvalidError("name-invalid", f"repo '{name}' belongs to the pipeline '{name.name}' and is made with it; a repo of your own has no '.{name.type}'")


def checked_branch_name(name: str) -> str:
    """`name`, when a branch may have it: as a repo's, and not of the form of a commit's id.

    Raises:
        InvalidError: `name-invalid`.
    """
    if not _NAME.fullmatch(name):
        raise InvalidError("name-invalid", f"{name!r} cannot name a branch; it takes up to 255 letters, digits, '_' and '-'")
    if is_commit_id(name):
        raise InvalidError("name-invalid", f"{name!r} cannot name a branch: it looks like a commit's id; choose another name")
    return name


def checked_project_name(name: str) -> str:
    """`name`, when a project may have it: starts with a letter or digit, at most 51 characters.

    Raises:
        InvalidError: `name-invalid`.
        TypeError: for what is no text.
    """
    if not isinstance(name, str):
        raise TypeError(f"a project is named by a str, not by {type(name).__name__}")
    if not _PROJECT_NAME.fullmatch(name):
        raise InvalidError("name-invalid", f"{name!r} cannot name a project; it takes up to 51 letters, digits, '_' and '-' and starts with a letter or digit")
    return name
