"""`[project/]repo@ref:/path`: reading references, which needs no record."""

import dataclasses
import re
from dataclasses import dataclass

from pachyderm_dagster.errors import InvalidError
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
