"""What coordinates through one etcd."""

from pachyderm_dagster.coordination.etcd import Etcd
from pachyderm_dagster.coordination.etcd_address import EtcdAddress
from pachyderm_dagster.coordination.etcd_changes import EtcdChanges
from pachyderm_dagster.coordination.etcd_claims import EtcdClaims
from pachyderm_dagster.coordination.etcd_leases import EtcdLeases


def open_etcd(address: EtcdAddress) -> tuple[EtcdLeases, EtcdChanges]:
    """Leases and word of changes below the prefix of an address; nothing is asked of etcd yet."""
    etcd = Etcd(address)
    return EtcdLeases(etcd), EtcdChanges(etcd)


def open_claims(address: EtcdAddress, job: str) -> EtcdClaims:
    """The claims of a job's datum sets below the prefix of an address: that of a record, as its driver has it and tells its workers."""
    return EtcdClaims(Etcd(address), job)
