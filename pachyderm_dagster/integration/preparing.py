"""Makes the record and Dagster's databases before anything uses them: `python -m pachyderm_dagster.integration.preparing`, first in every pod of a cluster."""

import os
import sys
from collections.abc import Mapping
from contextlib import closing

from pachyderm_dagster.coordination.leases import wait_for
from pachyderm_dagster.coordination.names import PREPARING_LEASE
from pachyderm_dagster.errors import InvalidError, PachydermError
from pachyderm_dagster.integration.instance import ensure_dagster_home
from pachyderm_dagster.workspace import open_workspace

DAGSTER_URL = "DAGSTER_POSTGRES_URL"
"""Where the chart's `dagster.yaml` has Dagster's tables."""
DRIVER = "postgresql+psycopg2://"
"""What dagster-postgres works with; from SQLAlchemy 2.1 on `postgresql://` is another driver, under which its first event fails."""


def prepare(environ: Mapping[str, str]) -> None:
    """Makes what is missing. Processes that begin at the same moment do it one after the other: Dagster itself makes its tables without a lock.

    Raises:
        InvalidError: `config-invalid`, for a URL of Dagster's tables that Dagster cannot work with.
        ConflictError: `requests-busy`, when others take too long.
        PachydermError: as `open_workspace`.
    """
    url = environ.get(DAGSTER_URL, DRIVER)
    if not url.startswith(DRIVER):
        # The rest may be a password.
        raise InvalidError("config-invalid", f"{DAGSTER_URL} begins with {url.partition('://')[0]}://, and Dagster's tables take {DRIVER}")
    with closing(open_workspace(environ)) as workspace, wait_for(workspace.leases, PREPARING_LEASE, workspace.database.clock.new_id()):
        ensure_dagster_home(workspace.settings)


if __name__ == "__main__":
    try:
        prepare(os.environ)
    except PachydermError as error:
        sys.exit(f"error: {error}")
