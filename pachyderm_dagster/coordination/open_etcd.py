"""What coordinates through one etcd."""

from pachyderm_dagster.coordination.etcd import Etcd
from pachyderm_dagster.coordination.etcd_address import EtcdAddress
from pachyderm_dagster.coordination.etcd_leases import EtcdLeases
from pachyderm_dagster.coordination.leases import Leases


def open_etcd_leases(address: EtcdAddress) -> Leases:
    """Leases below the prefix of an address; nothing is asked of etcd yet."""
    return EtcdLeases(Etcd(address))
