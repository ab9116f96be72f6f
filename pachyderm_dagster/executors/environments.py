"""What workers and user code see of the environment of the program."""

from collections.abc import Mapping

from pachyderm_dagster.settings import METADATA_URL, SQL_PASSWORD

# Hold passwords, of the record and of where output is sent; user code could read them from a worker's own environment too.
_KEPT_FROM_WORKERS = (METADATA_URL, SQL_PASSWORD)


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what is nobody's business there."""
    return {name: value for name, value in environment.items() if name not in _KEPT_FROM_WORKERS}
