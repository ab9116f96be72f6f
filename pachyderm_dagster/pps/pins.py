"""Runs pipelines again on chosen commits of what they read, in place of the heads (docs/design/0021)."""

from collections.abc import Collection, Iterable, Sequence

import msgspec

from pachyderm_dagster.errors import InvalidError, StateError
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits, references
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, BranchName, RepoName
from pachyderm_dagster.pfs.provenance import all_edges, upstream_closure
from pachyderm_dagster.pfs.references import branch_row, parse_reference, parse_repo
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.model import Job


class Pin(msgspec.Struct, frozen=True, omit_defaults=True):
    """A commit that is read instead of the head of a branch.

    Args:
        branch: through which pipelines read the repo; None where they read one only.
        ref: the commit: an id, a branch, or either with `^`.
    """

    repo: RepoName
    ref: str
    branch: str | None = None

    def __str__(self) -> str:
        return f"{self.repo}@{self.ref}" if self.branch is None else f"{self.repo}@{self.branch}={self.ref}"


def parse_pin(text: str, *, project: str = DEFAULT_PROJECT) -> Pin:
    """Reads `[project/]repo@ref`, or `[project/]repo@branch=ref`, where pipelines read several branches of the repo.

    Raises:
        InvalidError: `reference-invalid`, `name-invalid`.
    """
    head, _, ref = text.partition("@")
    branch, equals, named = ref.partition("=")
    return make_pin(f"{head}@{branch}" if equals else head, named if equals else ref, project=project)


def make_pin(read: str, ref: str, *, project: str = DEFAULT_PROJECT) -> Pin:
    """The pin of what is read, `[project/]repo[@branch]`, to one of its commits.

    Raises:
        InvalidError: `reference-invalid`, `name-invalid`.
    """
    repo, at, _ = read.partition("@")
    pin = Pin(parse_repo(repo, project=project), ref, parse_reference(read, project=project).branch().name if at else None)
    if not ref or parse_reference(f"{pin.repo}@{ref}").path is not None:
        raise InvalidError("reference-invalid", f"{str(pin)!r} names no commit; write {pin.repo}@ID, or {pin.repo}@BRANCH=ID")
    return pin


def run_pipelines(txn: Transaction, names: Sequence[RepoName], *, pins: Iterable[Pin] = (), reprocess: Collection[RepoName] = ()) -> None:
    """Each pipeline gets one new job, all in this transaction's commit set, in which whatever reads a pinned branch reads the pinned commit.

    Args:
        reprocess: those of the pipelines that run every datum again, in a next version.

    Raises:
        NotFoundError: `pipeline-not-found`; `repo-not-found`, `branch-not-found`, `commit-not-found`, for a pin.
        StateError: `pipeline-stopped`; `commit-open`, `commit-forgotten`, for a pin.
        InvalidError: `pin-invalid`, for one that none of the pipelines reads, that has an error or another pin, or that one of the pipelines writes.
    """
    found = [pipelines.get_pipeline(txn, name) for name in names]
    read = dict.fromkeys(branch for pipeline in found for branch in pipeline.inputs)
    outputs = [pipeline.output for pipeline in found]
    for pin in pins:
        branch = _branch_of(pin, list(read), names)
        branch_id = branch_row(txn, branch).id
        commit_id = _find_commit(txn, pin)
        if txn.pinned_heads.setdefault(branch_id, commit_id) != commit_id:
            other = commits.get_commit(txn, txn.pinned_heads[branch_id])
            raise InvalidError("pin-invalid", f"'{branch}' is pinned to '{pin.ref}' and to '{other}'; one commit of it is read, so pin it once")
        if _is_below(txn, branch_id, outputs):
            raise InvalidError("pin-invalid", f"'{branch}' is pinned to '{pin.ref}', and this change makes a commit of it; leave out one of them")
    for pipeline in found:
        pipelines.rerun_pipeline(txn, pipeline.name, reprocess=pipeline.name in reprocess)


def pins_of_jobs(txn: Transaction, members: Iterable[Job]) -> list[Pin]:
    """What jobs of one commit set read, as pins for running their pipelines again: what the first of them write is made anew for the others.

    What the pipelines do not read any more is left out.
    """
    found = list(members)
    now = [pipelines.get_pipeline(txn, job.pipeline) for job in found]
    outputs = [pipeline.output for pipeline in now]
    reads = {branch for pipeline in now for branch in pipeline.inputs}
    read = {branch: row for job in found for branch, row in commits.read_through(txn, job.output_commit).items() if branch in reads}
    kept = {branch: row for branch, row in read.items() if not _is_below(txn, branch_row(txn, branch).id, outputs)}
    return [Pin(branch.repo, commits.get_commit(txn, row).id, branch.name) for branch, row in kept.items()]


def _branch_of(pin: Pin, read: Sequence[BranchName], names: Sequence[RepoName]) -> BranchName:
    """The branch that a pin is for."""
    fitting = [branch for branch in read if branch.repo == pin.repo and pin.branch in (None, branch.name)]
    if len(fitting) == 1:
        return fitting[0]
    who = f"{'pipeline' if len(names) == 1 else 'pipelines'} {_quoted(names)} {'reads' if len(names) == 1 else 'read'}"
    if fitting:
        raise InvalidError("pin-invalid", f"{who} several branches of '{pin.repo}'; pin one of {_quoted(fitting)}")
    what = pin.repo if pin.branch is None else BranchName(pin.repo, pin.branch)
    raise InvalidError("pin-invalid", f"{who} {_quoted(read) or 'nothing'}, and not '{what}'; pin what is read")


def _quoted(names: Iterable[object]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _find_commit(txn: Transaction, pin: Pin) -> int:
    row = references.find_commit(txn, parse_reference(f"{pin.repo}@{pin.ref}"))
    commit = commits.get_commit(txn, row)
    if commit.finished is None:
        raise StateError("commit-open", f"'{commit}' is still being written, and cannot be read yet; finish it, or pin another commit of '{pin.repo}'")
    if commit.error is not None:
        raise InvalidError("pin-invalid", f"'{commit}' has an error, and cannot be read: {commit.error}; pin another commit of '{pin.repo}'")
    commits.check_content(commit)
    return row


def _is_below(txn: Transaction, branch_id: int, outputs: Iterable[BranchName]) -> bool:
    """Whether a branch is one of the outputs, or made from one of them."""
    rows = {branch_row(txn, output).id for output in outputs}
    return bool(({branch_id} | upstream_closure(all_edges(txn), branch_id)) & rows)
