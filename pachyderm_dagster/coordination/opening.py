"""Chooses what coordinates the processes of a home: the record itself, or etcd."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pachyderm_dagster.coordination.changes import Changes, Polling
from pachyderm_dagster.coordination.database_leases import DatabaseLeases
from pachyderm_dagster.coordination.etcd_address import EtcdAddress, parse_etcd_url
from pachyderm_dagster.coordination.importing import import_open_etcd
from pachyderm_dagster.coordination.leases import Leases
from pachyderm_dagster.metadata.database import Database

DATABASE_URL = "database://"


@dataclass(frozen=True, slots=True)
class Coordination:
    """How the processes of a home agree, and tell each other of changes. `etcd`: the place of this record in an etcd; None without one."""

    leases: Leases
    changes: Changes
    etcd: EtcdAddress | None = None


def check_coordination_url(url: str, environ: Mapping[str, str]) -> None:
    """Does nothing for a URL that can be used; nothing is asked of a service.

    Raises:
        InvalidError: `config-invalid`.
    """
    _parse(url, environ)


def open_coordination(url: str, environ: Mapping[str, str], database: Database, find_id: Callable[[], str]) -> Coordination:
    """What a URL names, for one record: several in one etcd are told apart by their ids.

    Args:
        environ: variables as `parse_etcd_url` takes them.
        database: the record, for what is kept in it.
        find_id: tells the record's id.

    Raises:
        InvalidError: `config-invalid`; `extra-missing`, when etcd's client is not installed.
    """
    address = _parse(url, environ)
    if address is None:
        return Coordination(DatabaseLeases(database), Polling())
    own = dataclasses.replace(address, prefix=f"{address.prefix}/{find_id()}")
    leases, changes = import_open_etcd().open_etcd(own)
    return Coordination(leases, changes, own)


def _parse(url: str, environ: Mapping[str, str]) -> EtcdAddress | None:
    return None if url == DATABASE_URL else parse_etcd_url(url, environ)
