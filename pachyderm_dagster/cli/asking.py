"""Changes that commands ask for: done at once, or added to the transaction that is active."""

from collections.abc import Mapping
from contextlib import closing

from pachyderm_dagster.cli.active_transaction import active_transaction
from pachyderm_dagster.cli.home import reading, writing
from pachyderm_dagster.errors import StateError
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import branches, repos, user_transactions
from pachyderm_dagster.pfs.model import BranchName, is_commit_id
from pachyderm_dagster.pfs.references import Reference
from pachyderm_dagster.pfs.requests import Contents, CreateBranch, CreateRepo, StartCommit
from pachyderm_dagster.pps import transactions
from pachyderm_dagster.pps.requests import Made, Request, apply
from pachyderm_dagster.pps.transactions import requests_of
from pachyderm_dagster.record import open_record


def ask(environ: Mapping[str, str], request: Request) -> list[Made]:
    """Does what is asked for, or adds it to the active transaction; what it made or will make. For requests that need nothing in the object store.

    Errors as `requests.apply`; `transaction-not-found`, when the active transaction is gone.
    """
    added = add_to_active(environ, request)
    return writing(environ, lambda txn: apply(txn, request, Contents())) if added is None else added


def add_to_active(environ: Mapping[str, str], request: Request) -> list[Made] | None:
    """Adds a request to the active transaction and returns what it will make; None when no transaction is active. Errors as `transactions.append`."""
    active = active_transaction(environ)
    if active is None:
        return None
    with closing(open_record(environ).database) as database:
        return transactions.append(database, active, request)


def check_not_waiting(environ: Mapping[str, str], target: Reference) -> None:
    """For what writes files, which no transaction takes.

    Raises:
        StateError: `transaction-active`, when it would write to what the active transaction has yet to make.
    """
    active = active_transaction(environ)
    if active is None:
        return
    with reading(environ) as txn:
        found = [open_one for open_one in user_transactions.list_transaction(txn) if open_one.id == active]
        for request in [request for one in found for request in requests_of(one)]:
            waiting = _waiting(txn, request, target, active)
            if waiting is not None:
                raise StateError(
                    "transaction-active",
                    f"{waiting} by the active transaction '{active}', and files are no part of one: `pachctl finish transaction`, then write them; "
                    "or `pachctl stop transaction` to act without it",
                )


def refuse_in_transaction(environ: Mapping[str, str], what: str) -> None:
    """For a change that no transaction takes.

    Raises:
        StateError: `transaction-active`, when there is an active transaction.
    """
    active = active_transaction(environ)
    if active is not None:
        raise StateError("transaction-active", f"{what} is no part of a transaction, and '{active}' is active; finish it, or `pachctl stop transaction`, first")


def _waiting(txn: Transaction, request: Request, target: Reference, active: str) -> str | None:
    match request:
        case CreateRepo(repo=name) if name == target.repo and repos.find_repo(txn, name) is None:
            return f"repo '{name}' is made"
        case CreateBranch(branch=branch) if branch == _branch(target) and not _exists(txn, branch):
            return f"branch '{branch}' is made"
        case StartCommit(branch=branch) if branch == _branch(target) or (branch.repo == target.repo and target.ref == active):
            return f"commit '{branch.repo}@{active}' is started"
    return None


def _branch(target: Reference) -> BranchName | None:
    return None if target.ref is None or is_commit_id(target.ref) else BranchName(target.repo, target.ref)


def _exists(txn: Transaction, branch: BranchName) -> bool:
    return repos.find_repo(txn, branch.repo) is not None and branch in {found.name for found in branches.list_branch(txn, branch.repo)}
