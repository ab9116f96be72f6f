"""Makes the record and Dagster's databases before anything uses them: `python -m pachyderm_dagster.integration.preparing`, first in every pod of a cluster."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing

from pachyderm_dagster.coordination.leases import wait_for
from pachyderm_dagster.coordination.names import PREPARING_LEASE
from pachyderm_dagster.errors import InvalidError, PachydermError, UnreachableError
from pachyderm_dagster.integration.instance import ensure_dagster_home
from pachyderm_dagster.log_lines import process_log, set_up
from pachyderm_dagster.settings import load_settings
from pachyderm_dagster.workspace import open_workspace

DAGSTER_URL = "DAGSTER_POSTGRES_URL"
"""Where the chart's `dagster.yaml` has Dagster's tables."""
DRIVER = "postgresql+psycopg2://"
"""What dagster-postgres works with; from SQLAlchemy 2.1 on `postgresql://` is another driver, under which its first event fails."""
PATIENCE_SECONDS = 300.0
LOOK_SECONDS = 1.0


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


def wait_for_servers(act: Callable[[], None], tell: Callable[[str], None], *, seconds: float = PATIENCE_SECONDS, pause: float = LOOK_SECONDS) -> None:
    """Does it as soon as record and store answer; what keeps it waiting is told once.

    They may be starting too, and a container that ends is started again after 10, 20 and 40 seconds only.

    Raises:
        UnreachableError: when they did not answer for so long.
        PachydermError: whatever else `act` raises, at once.
    """
    deadline = time.monotonic() + seconds
    told = ""
    while True:
        try:
            return act()
        except UnreachableError as error:
            if time.monotonic() >= deadline:
                raise
            # Not by its words: they say how long it took.
            if told != error.code:
                told = error.code
                tell(f"waiting: {error}")
        time.sleep(pause)


def main() -> None:
    """The process in front of each server."""
    try:
        set_up(load_settings(os.environ).log_format)
        wait_for_servers(lambda: prepare(os.environ), process_log.info)
    except PachydermError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
