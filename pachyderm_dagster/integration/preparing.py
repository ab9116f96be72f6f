"""Makes the record and Dagster's databases before anything uses them: `python -m pachyderm_dagster.integration.preparing`, first in every pod of a cluster."""

import os
import sys
from collections.abc import Mapping
from contextlib import closing

from pachyderm_dagster.coordination.leases import wait_for
from pachyderm_dagster.coordination.names import PREPARING_LEASE
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.integration.instance import ensure_dagster_home
from pachyderm_dagster.workspace import open_workspace


def prepare(environ: Mapping[str, str]) -> None:
    """Makes what is missing. Processes that begin at the same moment do it one after the other: Dagster itself makes its tables without a lock.

    Raises:
        ConflictError: `requests-busy`, when others take too long.
        PachydermError: as `open_workspace`.
    """
    with closing(open_workspace(environ)) as workspace, wait_for(workspace.leases, PREPARING_LEASE, workspace.database.clock.new_id()):
        ensure_dagster_home(workspace.settings)


if __name__ == "__main__":
    try:
        prepare(os.environ)
    except PachydermError as error:
        sys.exit(f"error: {error}")
