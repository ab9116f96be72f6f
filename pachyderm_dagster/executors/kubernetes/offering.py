"""The driver's side of claims in etcd: which datum sets workers may take."""

import time
from collections.abc import Iterable
from urllib.parse import quote, urlsplit, urlunsplit

from pachyderm_dagster.coordination.etcd_address import EtcdAddress
from pachyderm_dagster.coordination.importing import import_open_etcd
from pachyderm_dagster.worker.work_area import WorkArea

_LOOK_SECONDS = 30.0


class Offers:
    """The sets of a job that are offered in etcd, where there is one for pods; otherwise nothing is to do."""

    def __init__(self, area: WorkArea, address: EtcdAddress | None) -> None:
        self._area = area
        self._claims = None if address is None else import_open_etcd().open_claims(address, area.job)
        self._next_look = time.monotonic() + _LOOK_SECONDS

    def add(self, numbers: Iterable[int]) -> None:
        """Offers sets; those that were offered before stay as they are."""
        if self._claims is not None:
            self._claims.offer(numbers)

    def look(self) -> None:
        """Now and then: offers all sets again when etcd does not know of some, as one that was restored from a backup."""
        if self._claims is None or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        total = self._area.sets_written()
        if total is not None and self._claims.progress().offered < total:
            self._claims.offer(range(total))

    def remove(self) -> None:
        """Forgets the job."""
        if self._claims is not None:
            self._claims.remove()


def claims_url(pods_url: str, address: EtcdAddress | None) -> str:
    """What workers are told: the etcd as pods reach it, with the prefix that the driver has; empty when they claim in the store."""
    if not pods_url or address is None:
        return ""
    return urlunsplit(urlsplit(pods_url)._replace(path="/" + quote(address.prefix)))
