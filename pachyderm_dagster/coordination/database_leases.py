"""Leases as rows of the record: the embedded form."""

import datetime as dt
from collections.abc import Collection

import sqlalchemy as sa

from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database, Transaction


class DatabaseLeases:
    """Leases in a record. Their times are those of its clock, so that the clocks of the machines that share it have to agree."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, name: str, owner: str, ttl: dt.timedelta) -> bool:
        def change(txn: Transaction) -> bool:
            now = txn.clock.now()
            row = txn.first(sa.select(t.lease).where(t.lease.c.name == name))
            if row is None:
                txn.run(sa.insert(t.lease).values(name=name, owner=owner, expires=now + ttl))
                return True
            if row.owner != owner and row.expires > now:
                return False
            txn.run(sa.update(t.lease).where(t.lease.c.name == name).values(owner=owner, expires=now + ttl))
            return True

        return self._database.write(change)

    def release(self, name: str, owner: str) -> None:
        self._database.write(lambda txn: txn.run(sa.delete(t.lease).where(t.lease.c.name == name, t.lease.c.owner == owner)))

    def is_held(self, name: str) -> bool:
        return self.find_owner(name) is not None

    def find_owner(self, name: str) -> str | None:
        return self.find_owners([name]).get(name)

    def find_owners(self, names: Collection[str]) -> dict[str, str]:
        if not names:
            return {}
        with self._database.read() as txn:
            held = sa.select(t.lease.c.name, t.lease.c.owner).where(t.lease.c.name.in_(names), t.lease.c.expires > txn.clock.now())
            return {row.name: row.owner for row in txn.all(held)}
