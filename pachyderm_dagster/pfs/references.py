"""`[project/]repo@ref:/path`: reading references and finding the commits they name."""

import dataclasses
import re
from dataclasses import dataclass

import sqlalchemy as sa

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import repos
from pachyderm_dagster.pfs.ancestry import list_ancestor
from pachyderm_dagster.pfs.model import (
    DEFAULT_PROJECT,
    BranchName,
    RepoName,
    RepoType,
    checked_branch_name,
    checked_project_name,
    checked_repo_name,
    is_commit_id,
)

# A number of more digits is no commit's, and might be too long to be one at all.
_ANCESTRY = re.compile(r"(?P<name>[^\^~.]+)(?:\.(?P<from_root>[0-9]{1,9}))?(?P<back>(?:[\^~][0-9]{0,9})*)")


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference; `ref` and `path` are None where the text had none.

    `from_root` is the N of `branch.N` (1 is the oldest commit), `back` the number of steps towards older commits.
    """

    repo: RepoName
    ref: str | None = None
    from_root: int | None = None
    back: int = 0
    path: str | None = None

    def __str__(self) -> str:
        text = str(self.repo)
        if self.ref is not None:
            text += f"@{self.ref}"
            text += f".{self.from_root}" if self.from_root is not None else ""
            text += f"^{self.back}" if self.back else ""
        return text if self.path is None else f"{text}:{self.path}"

    def without_path(self) -> "Reference":
        """The repo or commit that it names, without the file."""
        return dataclasses.replace(self, path=None)

    def branch(self) -> BranchName:
        """The branch it names.

        Raises:
            InvalidError: `reference-invalid`, when it names no branch or an ancestor.
        """
        if self.ref is None or self.from_root is not None or self.back or is_commit_id(self.ref):
            raise InvalidError("reference-invalid", f"'{self}' does not name a branch; write repo@branch")
        return BranchName(self.repo, checked_branch_name(self.ref))


def parse_repo(text: str, *, project: str = DEFAULT_PROJECT) -> RepoName:
    """Reads `[project/]repo[.spec|.meta]`.

    Raises:
        InvalidError: `name-invalid`.
        TypeError: for what is no text.
    """
    _check_text(text)
    alone = re.split("[@:]", text)[0]
    if alone and alone != text:
        raise InvalidError("name-invalid", f"{text!r} is more than a repo's name; write {alone!r}")
    if "/" in text:
        project, _, text = text.partition("/")
    name, dot, kind = text.partition(".")
    if dot and kind not in tuple(RepoType):
        raise InvalidError("name-invalid", f"{text!r} cannot name a repo; it takes letters, digits, '_' and '-' (after a dot only 'spec' or 'meta')")
    return RepoName(checked_project_name(project), checked_repo_name(name), RepoType(kind) if dot else RepoType.USER)


def parse_reference(text: str, *, project: str = DEFAULT_PROJECT) -> Reference:
    """Reads `[project/]repo[@ref][:path]`, ref with `^N`, `~N`, `.N`, or `branch=id`.

    Raises:
        InvalidError: `reference-invalid` or `name-invalid`.
        TypeError: for what is no text.
    """
    _check_text(text)
    head, colon, path = text.partition(":")
    repo, at, ref = head.partition("@")
    name = parse_repo(repo, project=project)
    if not at:
        return Reference(name, path=path if colon else None)
    if "=" in ref:
        ref = ref.partition("=")[2]
        if not is_commit_id(re.split(r"[\^~.]", ref)[0]):
            raise InvalidError("reference-invalid", f"{text!r} has {ref!r} after the '='; it takes a commit's id, of 32 digits, there; or leave '={ref}' out")
    match = _ANCESTRY.fullmatch(ref)
    if match is None:
        raise InvalidError("reference-invalid", f"{text!r} has {ref!r} after the '@'; it takes a branch or a commit's id, then ^, ^N or .N")
    found = match["name"] if is_commit_id(match["name"]) else checked_branch_name(match["name"])
    back = sum(int(step[1:]) if step[1:] else 1 for step in re.findall(r"[\^~][0-9]*", match["back"]))
    return Reference(name, found, int(match["from_root"]) if match["from_root"] else None, back, path if colon else None)


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"repos, commits and files are named by a str such as 'images@master:/path', not by {type(text).__name__}")


def find_commit(txn: Transaction, reference: Reference) -> int:
    """The row of the commit that a reference names.

    An id for which the repo has no commit is looked up in the provenance of the commit set: what the set used of this repo.

    Raises:
        NotFoundError: `repo-not-found`, `branch-not-found`, `commit-not-found`.
        InvalidError: `reference-invalid`, when it names no commit at all.
    """
    repo_id = repos.get_repo(txn, reference.repo)
    if reference.ref is None:
        raise InvalidError("reference-invalid", f"'{reference}' names no commit; write {reference.repo}@branch or {reference.repo}@id")
    start = _commit_with_id(txn, repo_id, reference) if is_commit_id(reference.ref) else _head(txn, repo_id, reference)
    if reference.from_root is None and not reference.back:
        return start
    chain = list_ancestor(txn, start)
    steps = reference.back if reference.from_root is None else len(chain) - reference.from_root + reference.back
    if not 0 <= steps < len(chain) or reference.from_root == 0:
        known = f"'{reference.repo}@{reference.ref}' has {len(chain)} commit{'s' if len(chain) > 1 else ''} up to its root"
        raise NotFoundError("commit-not-found", f"commit '{reference.without_path()}' does not exist; {known}")
    return chain[steps]


def branch_row(txn: Transaction, name: BranchName) -> sa.Row[tuple[int, int | None]]:
    """The row (`id`, `head_id`) of a branch.

    Raises:
        NotFoundError: `repo-not-found`, `branch-not-found` with the branches there are.
    """
    repo_id = repos.get_repo(txn, name.repo)
    row = txn.first(sa.select(t.branch.c.id, t.branch.c.head_id).where(t.branch.c.repo_id == repo_id, t.branch.c.name == name.name))
    if row is None:
        others = [repr(found.name) for found in txn.all(sa.select(t.branch.c.name).where(t.branch.c.repo_id == repo_id).order_by(t.branch.c.name))]
        hint = f"branches of '{name.repo}': {', '.join(others)}" if others else f"'{name.repo}' has no branch yet; the first commit makes one"
        raise NotFoundError("branch-not-found", f"branch '{name}' does not exist; {hint}")
    return row


def _head(txn: Transaction, repo_id: int, reference: Reference) -> int:
    assert reference.ref is not None
    head = branch_row(txn, BranchName(reference.repo, reference.ref)).head_id
    if head is None:
        raise NotFoundError("commit-not-found", f"branch '{reference.repo}@{reference.ref}' has no commit yet; put a file there first")
    return int(head)


def _commit_with_id(txn: Transaction, repo_id: int, reference: Reference) -> int:
    row = txn.first(sa.select(t.commit.c.id).where(t.commit.c.repo_id == repo_id, t.commit.c.set_id == reference.ref))
    if row is not None:
        return int(row.id)
    frontier = [found.id for found in txn.all(sa.select(t.commit.c.id).where(t.commit.c.set_id == reference.ref))]
    seen: set[int] = set()
    while frontier:
        used = txn.all(
            sa.select(t.commit.c.id, t.commit.c.repo_id)
            .join_from(t.commit_provenance, t.commit, t.commit_provenance.c.upstream_id == t.commit.c.id)
            .where(t.commit_provenance.c.commit_id.in_(frontier))
            .order_by(t.commit.c.id.desc())
        )
        for found in used:
            if found.repo_id == repo_id:
                return int(found.id)
        seen.update(frontier)
        frontier = [found.id for found in used if found.id not in seen]
    raise NotFoundError(
        "commit-not-found", f"commit '{reference.without_path()}' does not exist; `pachctl list commit {reference.repo}` shows the commits there are"
    )
