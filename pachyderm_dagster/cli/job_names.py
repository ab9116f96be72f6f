"""Which jobs a text on the command line names."""

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits, references
from pachyderm_dagster.pfs.model import is_commit_id
from pachyderm_dagster.pfs.references import parse_reference
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.model import Job


def find_jobs(txn: Transaction, text: str, *, project: str) -> list[Job]:
    """The job `PIPELINE@ID` (or `PIPELINE@BRANCH^2`: the one that made that commit), or every job of the set `ID`, newest first.

    Raises:
        NotFoundError: `job-not-found`, `pipeline-not-found` or what the reference lacks.
        InvalidError: `reference-invalid`, `name-invalid`.
    """
    if is_commit_id(text):
        found = jobs.list_job(txn, set_id=text)
        if not found:
            raise NotFoundError("job-not-found", f"no job has the id '{text}'; `pachctl list job` shows the jobs there are")
        return found
    at = parse_reference(text, project=project)
    if at.ref is None:
        raise InvalidError("reference-invalid", f"'{text}' names no job; write PIPELINE@ID, or the ID of a job set")
    pipelines.get_pipeline(txn, at.repo)
    if is_commit_id(at.ref) and not at.back:
        return [jobs.get_job(txn, at.repo, at.ref)]
    return [jobs.get_job(txn, at.repo, commits.get_commit(txn, references.find_commit(txn, at)).id)]


def find_job(txn: Transaction, text: str, *, project: str) -> Job:
    """The one job that `text` names. Errors as `find_jobs`, and one more.

    Raises:
        InvalidError: `job-ambiguous`, for the id of a set with several jobs.
    """
    found = find_jobs(txn, text, project=project)
    if len(found) > 1:
        raise InvalidError("job-ambiguous", f"'{text}' is a set of {len(found)} jobs; name one: {', '.join(map(str, found))}")
    return found[0]
