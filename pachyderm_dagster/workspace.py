"""Opens everything of a home: record, objects, files, pipelines. The one place that chooses backends."""

import datetime as dt
import importlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pachyderm_dagster.clock import Clock
from pachyderm_dagster.coordination.changes import Changes
from pachyderm_dagster.coordination.etcd_address import EtcdAddress
from pachyderm_dagster.coordination.leases import Leases
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.metadata.database import Database
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.collecting import DEFAULT_GRACE, Collected, collect
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT
from pachyderm_dagster.pps.client import Pps, read_meta
from pachyderm_dagster.pps.reachable_details import PIPELINE_TREES
from pachyderm_dagster.pps.secret_store import SecretStore
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.record import open_record
from pachyderm_dagster.settings import Settings
from pachyderm_dagster.storage.objects import ObjectStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Workspace:
    """One home, ready for use."""

    settings: Settings
    database: Database
    leases: Leases
    changes: Changes
    etcd: EtcdAddress | None
    store: ObjectStore
    pfs: Pfs
    pps: Pps
    secrets: SecretStore

    @property
    def scratch(self) -> Path:
        """The folder for what work in progress has that does not fit into memory."""
        return _scratch(self.settings)

    def collect_garbage(self, *, grace: dt.timedelta = DEFAULT_GRACE, dry_run: bool = False) -> Collected:
        """Removes what nothing refers to and was stored more than `grace` ago; `dry_run` only says what would go. Errors as `collecting.collect`."""
        return collect(self.database, self.store, self.leases, PIPELINE_TREES, grace=grace, dry_run=dry_run)

    def close(self) -> None:
        """Releases the connections to the record."""
        self.database.close()


def open_workspace(environ: Mapping[str, str], *, project: str = DEFAULT_PROJECT, clock: Clock | None = None, rebuilding: bool = False) -> Workspace:
    """Opens the home that `environ` names (PACHYDERM_HOME and its kin), and makes it when there is none. `rebuilding` as in `open_record`.

    Raises:
        InvalidError: `config-invalid`.
        InvalidError: `storage-url-invalid`.
        StateError: `home-version`, when another version of this package wrote it.
        StorageError: `storage-format`, and whatever else `open_store` raises.
        UnreachableError: `record-unreachable`, `storage-unreachable`.
    """
    record = open_record(environ, clock=clock, rebuilding=rebuilding)
    try:
        store = record.store.open()
    except PachydermError:
        record.database.close()
        raise
    pfs = Pfs(record.database, store, project=project, read_meta=read_meta, changes=record.changes)
    secrets = SecretStore(record.settings.home, beside_cluster=record.settings.kubernetes is not None)
    pps = Pps(record.database, pfs, secrets=secrets, scratch=_scratch(record.settings), project=project, check_pods=_pods_check(record.settings))
    return Workspace(record.settings, record.database, record.leases, record.changes, record.etcd, store, pfs, pps, secrets)


def _pods_check(settings: Settings) -> Callable[[PipelineSpec, str], None]:
    """What looks whether the pods of a pipeline that is to be made can be; the project is that of a pipeline which names none."""

    def check(spec: PipelineSpec, project: str) -> None:
        if settings.kubernetes is not None:
            # By name: what runs datums is above this, and takes long to import.
            importlib.import_module("pachyderm_dagster.executors.choosing").check_pods(settings, [spec], project, tell=_log.warning)

    return check


def _scratch(settings: Settings) -> Path:
    return settings.home / "scratch"
