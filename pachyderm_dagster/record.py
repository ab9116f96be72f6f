"""Opens the record of a home with what must happen at the end of its transactions; light, for commands that only look."""

from collections.abc import Mapping
from dataclasses import dataclass

from pachyderm_dagster.clock import Clock, SystemClock
from pachyderm_dagster.coordination.leases import DatabaseLeases, Leases
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.metadata.database import Database, open_engine
from pachyderm_dagster.pfs.propagation import propagate
from pachyderm_dagster.pps.jobs import create_jobs
from pachyderm_dagster.settings import COORDINATION_URL, EXECUTOR, Settings, load_settings


@dataclass(frozen=True, slots=True)
class Record:
    """The record and the leases of one home."""

    settings: Settings
    database: Database
    leases: Leases


def open_record(environ: Mapping[str, str], *, clock: Clock | None = None) -> Record:
    """Opens the record that the settings in `environ` name, and makes it when there is none.

    Raises:
        InvalidError: `config-invalid`, for settings that cannot be used.
        StateError: `home-version`.
        UnreachableError, StorageError: as `open_engine`.
    """
    settings = load_settings(environ)
    if settings.coordination_url != "database://":
        raise InvalidError("config-invalid", f"{COORDINATION_URL} is {settings.coordination_url!r}; this version takes database:// only")
    if settings.executor != "local":
        raise InvalidError("config-invalid", f"{EXECUTOR} is {settings.executor!r}; this version runs datums as local processes only: set it to 'local'")
    database = Database(open_engine(settings.metadata_url), clock or SystemClock(), finishers=(propagate, create_jobs))
    return Record(settings, database, DatabaseLeases(database))
