"""References that leave out what stands beside them."""

from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.references import Reference, parse_reference


def commit_in(repo: RepoName, text: str, *, project: str) -> Reference:
    """A commit that is named beside a repo: `master^2` is one of that repo, `other@master` one of another, in `project` unless it says so.

    Raises:
        InvalidError: `reference-invalid`, `name-invalid`.
    """
    return parse_reference(text, project=project) if "@" in text else parse_reference(f"{repo}@{text}", project=repo.project)
