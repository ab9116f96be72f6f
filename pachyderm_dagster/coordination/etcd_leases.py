"""Leases as keys of etcd, which it removes itself when nobody renews them: no clock but its own counts."""

import datetime as dt
import math
from collections.abc import Collection

from pachyderm_dagster.coordination import etcd_messages as m
from pachyderm_dagster.coordination.etcd import Etcd, LeaseGone

MOST_OPERATIONS = 100
"""In a transaction; etcd takes 128 unless it is told otherwise."""


class EtcdLeases:
    """Leases in an etcd: a key each, its value the owner, under an etcd lease of its own.

    Nothing is kept here: any process that knows an owner's name renews and releases for it.
    """

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd
        self._prefix = f"{etcd.address.prefix}/lease/"

    def acquire(self, name: str, owner: str, ttl: dt.timedelta) -> bool:
        seconds = whole_seconds(ttl)
        while True:
            held = self._etcd.find(self._prefix + name)
            if held is not None and held.value != owner:
                return False
            if held is not None and self._etcd.keep_alive(held.lease) >= seconds:
                return True
            try:
                return self._take(self._prefix + name, owner, self._etcd.grant(seconds))
            except LeaseGone:
                # This process stood still between the two calls.
                continue

    def _take(self, key: str, owner: str, lease: int) -> bool:
        taken = m.put(key, owner, lease=lease, and_previous=True)
        if_own = m.transaction([m.is_value(key, owner)], [taken])
        answer = self._etcd.change(m.transaction([m.is_absent(key)], [taken], [m.within(if_own)]))
        if m.has_succeeded(answer):
            return True
        renewed = m.part(answer, 0, "txn")
        if not m.has_succeeded(renewed):
            self._etcd.revoke(lease)
            return False
        # The key goes with the new lease now. It is the same one when the call was done twice.
        previous = m.key_value(m.part(renewed, 0, "put")["prev_kv"]).lease
        if previous not in (0, lease):
            self._etcd.revoke(previous)
        return True

    def release(self, name: str, owner: str) -> None:
        held = self._etcd.find(self._prefix + name)
        if held is not None and held.value == owner:
            # If somebody else has it by now, then under another lease.
            self._etcd.revoke(held.lease)

    def is_held(self, name: str) -> bool:
        return self.find_owner(name) is not None

    def find_owner(self, name: str) -> str | None:
        return self.find_owners([name]).get(name)

    def find_owners(self, names: Collection[str]) -> dict[str, str]:
        owners: dict[str, str] = {}
        asked = list(names)
        for start in range(0, len(asked), MOST_OPERATIONS):
            some = asked[start : start + MOST_OPERATIONS]
            answer = self._etcd.change(m.transaction([], [m.get(self._prefix + name) for name in some]))
            for place in range(len(some)):
                owners |= {found.key.removeprefix(self._prefix): found.value for found in m.key_values(m.part(answer, place, "range"))}
        return owners


def whole_seconds(ttl: dt.timedelta) -> int:
    """What etcd counts in; never shorter than asked for."""
    return max(1, math.ceil(ttl.total_seconds()))
