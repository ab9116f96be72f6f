"""What the pipelines of one file may not be to each other: the same one, or each in need of the other."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.repos import find_repo
from pachyderm_dagster.pps.cycles import refuse_way
from pachyderm_dagster.pps.inputs import CronInput, leaves
from pachyderm_dagster.pps.spec import PipelineSpec


def check_together(txn: Transaction, specs: Iterable[PipelineSpec], project: str) -> None:
    """Does nothing when the pipelines of a file can be made one after the other. Errors as `refuse_twice`, `refuse_order`."""
    named = [(spec.pipeline.in_project(project), spec) for spec in specs]
    refuse_twice([name for name, _ in named])
    missing = [name for name, _ in named if find_repo(txn, name) is None]
    reads = {name: [leaf.repo_name(name.project) for leaf in leaves(spec.input) if not isinstance(leaf, CronInput)] for name, spec in named}
    refuse_order(reads, missing)


def refuse_twice(names: Sequence[RepoName]) -> None:
    """Does nothing when each pipeline of a file, in its order, has a name of its own.

    Raises:
        InvalidError: `pipeline-twice`.
    """
    first: dict[RepoName, int] = {}
    for number, name in enumerate(names, start=1):
        if name in first:
            problem = f"the file has pipeline '{name}' twice, as its documents {first[name]} and {number}"
            raise InvalidError("pipeline-twice", f"{problem}; remove one, or give it another name")
        first[name] = number


def refuse_order(reads: Mapping[RepoName, Collection[RepoName]], missing: Collection[RepoName]) -> None:
    """Does nothing when none reads the output of one that comes later and is yet to be made.

    Args:
        reads: which repos each pipeline of a file reads, in its order.
        missing: those of the pipelines that are yet to be made.

    Raises:
        InvalidError: `provenance-cycle`, when two depend on each other.
        NotFoundError: `repo-not-found`, when another order would do.
    """
    later = set(missing)
    for name, repos in reads.items():
        for repo in repos:
            if repo == name or repo not in later:
                continue
            refuse_way(reads, repo, name)
            problem = f"pipeline '{name}' reads '{repo}', which the file makes later"
            raise NotFoundError("repo-not-found", f"{problem}; put pipeline '{repo}' before '{name}'")
        later.discard(name)
