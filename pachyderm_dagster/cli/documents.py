"""What programs get: the documents of repos, branches, commits, pipelines and jobs. Their keys are a promise (docs/reference/cli.md)."""

import dataclasses
import json
from typing import Any, assert_never

import msgspec

from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import Branch, Commit, Project, Repo, RepoName, RepoType
from pachyderm_dagster.pfs.user_transactions import UserTransaction
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.defaults import Defaults
from pachyderm_dagster.pps.model import Job, Pipeline
from pachyderm_dagster.pps.requests import Made, describe
from pachyderm_dagster.pps.spec import to_document
from pachyderm_dagster.pps.transactions import requests_of

Fields = dict[str, Any]


def repo_in_project(name: RepoName) -> str:
    """A repo's name without its project: `edges`, or `edges.meta` for a system repo."""
    return name.name if name.type is RepoType.USER else f"{name.name}.{name.type}"


def project_document(project: Project) -> Fields:
    """A project."""
    return {"name": project.name, "created": project.created, "description": project.description, "metadata": project.metadata}


def repo_document(repo: Repo) -> Fields:
    """A repo."""
    return {
        "name": repo_in_project(repo.name),
        "project": repo.name.project,
        "type": repo.name.type,
        "created": repo.created,
        "description": repo.description,
        "size_bytes": repo.size_bytes,
        "branches": list(repo.branches),
        "metadata": repo.metadata,
    }


def branch_document(branch: Branch) -> Fields:
    """A branch. `never` are those of the provenance whose commits make none on it; `trigger` is null when there is none."""
    return {
        "repo": repo_in_project(branch.name.repo),
        "project": branch.name.repo.project,
        "name": branch.name.name,
        "head": branch.head,
        "direct_provenance": [str(source) for source in branch.direct_provenance],
        "never": [str(source) for source in branch.never],
        "trigger": None if branch.trigger is None else dataclasses.asdict(branch.trigger),
        "created": branch.created,
        "metadata": branch.metadata,
    }


def commit_document(commit: Commit) -> Fields:
    """A commit. `parent` is the id of the parent in the same repo."""
    return {
        "repo": repo_in_project(commit.repo),
        "project": commit.repo.project,
        "branch": commit.branch,
        "id": commit.id,
        "parent": commit.parent,
        "origin": commit.origin,
        "description": commit.description,
        "started": commit.started,
        "finished": commit.finished,
        "error": commit.error,
        "size_bytes": commit.size_bytes,
        "stored_bytes": commit.stored_bytes,
        "direct_provenance": list(commit.direct_provenance),
        "metadata": commit.metadata,
    }


def pipeline_document(pipeline: Pipeline) -> Fields:
    """A pipeline; `spec` is all of its specification with defaults, of which `input` and `transform` are parts.

    `created` says when this version was; an older one has no state.
    """
    spec = to_document(pipeline.spec)
    return {
        "name": pipeline.name.name,
        "project": pipeline.name.project,
        "version": pipeline.version,
        "state": pipeline.state if pipeline.is_newest else None,
        "reason": pipeline.reason if pipeline.is_newest else "",
        "type": pipeline.spec.kind,
        "created": pipeline.made,
        "description": pipeline.spec.description,
        "input": spec.get("input"),
        "transform": spec["transform"],
        "output_branch": pipeline.spec.output_branch,
        "last_job_state": pipeline.last_job_state,
        "spec": spec,
    }


def pipeline_inspection(pipeline: Pipeline) -> Fields:
    """A pipeline with its specification as Pachyderm names and holds it: strings of JSON, before and with defaults."""
    return {**pipeline_document(pipeline), "user_spec_json": pipeline.user.document, "effective_spec_json": pipeline.spec.to_json()}


def user_text(pipeline: Pipeline) -> str:
    """What the user wrote, as it was written or, where that was not kept, as JSON."""
    return pipeline.user.text or json.dumps(json.loads(pipeline.user.document), indent=2, ensure_ascii=False) + "\n"


def defaults_document(found: Defaults) -> Fields:
    """Defaults, as `create defaults` reads them."""
    return found.document


def job_document(job: Job) -> Fields:
    """A job. `run_id` is Dagster's."""
    return {
        "id": job.id,
        "pipeline": job.pipeline.name,
        "project": job.pipeline.project,
        "version": job.version,
        "state": job.state,
        "reason": job.reason,
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
        **dataclasses.asdict(job.counters),
        "restarts": job.restarts,
        "run_id": job.run_id,
        "egress": None if job.delivered is None else msgspec.structs.asdict(job.delivered),
    }


def job_inspection(txn: Transaction, job: Job) -> Fields:
    """A job with what it waits for, what it runs and what it writes."""
    spec = pipelines.get_pipeline(txn, job.pipeline, version=job.version).spec
    document = to_document(spec)
    return {
        **job_document(job),
        "waits_for": [] if job.state.is_terminal else jobs.waits_for(txn, job),
        "input": document.get("input"),
        "transform": document["transform"],
        "parallelism": spec.parallelism_spec.constant,
        "datum_timeout": spec.datum_timeout,
        "job_timeout": spec.job_timeout,
        "output_commit": str(commits.get_commit(txn, job.output_commit)),
    }


def document_of(made: Made) -> Fields:
    """What a change made, changed or removed."""
    match made:
        case Project():
            return project_document(made)
        case Repo():
            return repo_document(made)
        case Branch():
            return branch_document(made)
        case Commit():
            return commit_document(made)
        case Pipeline():
            return pipeline_document(made)
        case Job():
            return job_document(made)
        case Defaults():
            return defaults_document(made)
        case _:
            assert_never(made)


def transaction_document(transaction: UserTransaction) -> Fields:
    """A transaction of a user."""
    return {"id": transaction.id, "started": transaction.started, "requests": [describe(request) for request in requests_of(transaction)]}
