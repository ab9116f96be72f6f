"""What was made from a commit."""

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import Commit


def list_subvenance(txn: Transaction, commit_id: int) -> list[Commit]:
    """Every commit that was made from this one, directly or not, newest first."""
    found = sa.select(t.commit_provenance.c.commit_id).where(t.commit_provenance.c.upstream_id == commit_id).cte(recursive=True)
    found = found.union(sa.select(t.commit_provenance.c.commit_id).where(t.commit_provenance.c.upstream_id == found.c.commit_id))
    return commits.list_rows(txn, sa.select(found.c.commit_id))
