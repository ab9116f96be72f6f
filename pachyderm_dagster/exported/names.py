"""What repos, branches and pipelines are called in an export."""

import re
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from pachyderm_dagster.pfs.model import DEFAULT_BRANCH, BranchName, RepoName

_Key = TypeVar("_Key", bound=Hashable)
_NOT_IN_TASKS = re.compile(r"[^a-z0-9]+")
_NOT_IN_PARAMETERS = re.compile(r"\W+")


def task_names(pipelines: Sequence[RepoName]) -> dict[RepoName, str]:
    """Of each pipeline the word that names its tasks: lower case letters, digits and hyphens."""
    return _different({name: _NOT_IN_TASKS.sub("-", name.name.lower()).strip("-") or "pipeline" for name in pipelines}, "-")


def parameter_names(branches: Iterable[BranchName], project: str) -> dict[BranchName, str]:
    """Of each branch that is read the parameter that names its commit: `images_commit`, with the branch when it is not the usual one."""
    return _different({branch: _parameter(branch, project) for branch in branches}, "_")


def _parameter(branch: BranchName, project: str) -> str:
    parts = [
        *([branch.repo.project] if branch.repo.project != project else []),
        branch.repo.name,
        *([branch.name] if branch.name != DEFAULT_BRANCH else []),
        "commit",
    ]
    name = _NOT_IN_PARAMETERS.sub("_", "_".join(parts))
    return f"repo_{name}" if name[0].isdigit() else name


def _different(names: dict[_Key, str], between: str) -> dict[_Key, str]:
    """The names with a number where one is taken."""
    found: dict[_Key, str] = {}
    for key, name in names.items():
        taken, number, one = set(found.values()), 2, name
        while one in taken:
            one, number = f"{name}{between}{number}", number + 1
        found[key] = one
    return found
