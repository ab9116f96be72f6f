"""Brings over what a Pachyderm 2.x cluster shows: the heads of branches, commits by their ids, pipelines as specifications."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.moving.arrivals import Arrivals, ArrivingCommit, ArrivingFile
from pachyderm_dagster.moving.arriving_pipelines import ArrivingPipeline, find_arriving
from pachyderm_dagster.moving.cluster_documents import ClusterCommit
from pachyderm_dagster.moving.gateway import GatewayBucket, GatewayFile, by_branch

MARK = "pachyderm-2"
Reader = Callable[[GatewayBucket], Iterable[GatewayFile]]


@dataclass(slots=True)
class Brought:
    """What came over, and what did not.

    Attributes:
        commits: with their own ids.
        heads: commits that were made for what a branch shows now.
    """

    repos: set[str] = field(default_factory=set)
    commits: int = 0
    branches: int = 0
    heads: int = 0
    pipelines: list[ArrivingPipeline] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def bring_files(
    buckets: Sequence[GatewayBucket], known: Sequence[ClusterCommit], read: Reader, arrivals_of: Callable[[str], Arrivals], brought: Brought
) -> None:
    """Makes repos, commits and branches. A branch whose commits are known gets those, oldest first; another a commit of what it shows now.

    Args:
        known: finished commits that the cluster told of.
        read: the files of a bucket.
        arrivals_of: what makes them in a project.
    """
    of_branch: dict[tuple[str, str, str], list[ClusterCommit]] = {}
    for commit in known:
        of_branch.setdefault((commit.project, commit.repo, commit.branch), []).append(commit)
    for (project, repo, branch), shown in by_branch(buckets):
        arrivals = arrivals_of(project)
        arrivals.make_repo(repo, "")
        brought.repos.add(f"{project}/{repo}")
        brought.branches += 1
        told = of_branch.get((project, repo, branch), [])
        if told:
            _bring_commits(arrivals, shown[0], told, read, brought)
        else:
            brought.heads += sum(arrivals.make_head(repo, branch, _arriving(read(bucket))) for bucket in shown)


def bring_pipelines(documents: Sequence[Mapping[str, Any]], brought: Brought) -> None:
    """Reads specifications; what is refused here is named."""
    for document in documents:
        name = (document.get("pipeline") or {}).get("name")
        found = find_arriving(str(name), partial(dict, document), brought.skipped)
        brought.pipelines += [] if found is None else [found]


def _bring_commits(arrivals: Arrivals, head: GatewayBucket, told: Sequence[ClusterCommit], read: Reader, brought: Brought) -> None:
    made: set[str] = set()
    last: str | None = None
    for commit in told:
        name = f"{commit.repo}@{commit.id}"
        if commit.finished is None:
            brought.skipped.append(f"commit {name}, which is not finished")
            continue
        bucket = GatewayBucket(f"{commit.id}.{head.branch}.{head.repo}.{head.project}", head.project, head.repo, head.branch, commit.id)
        arriving = ArrivingCommit(
            repo=commit.repo,
            id=commit.id,
            # A parent that was forgotten there, or that is of another branch, cannot be named.
            parent=commit.parent if commit.parent in made else None,
            started=commit.started,
            finished=commit.finished,
            error=commit.error,
            is_auto=commit.is_auto,
            read=tuple((repo, id, head.branch) for repo, id in commit.read),
        )
        try:
            is_new = arrivals.make_commit(arriving, _arriving(() if commit.error else read(bucket)))
        except NotFoundError:
            brought.skipped.append(f"commit {name}, whose bucket {bucket.name} the gateway does not show")
            continue
        made.add(commit.id)
        brought.commits += is_new
        last = commit.id
    if last is not None:
        arrivals.make_branch(head.repo, head.branch, last)


def _arriving(files: Iterable[GatewayFile]) -> Iterator[ArrivingFile]:
    return (ArrivingFile(file.path, file.source, file.read) for file in files)
