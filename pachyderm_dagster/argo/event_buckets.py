"""What was put into a bucket since somebody looked, found by listing it."""

import datetime as dt
import fnmatch
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from pachyderm_dagster.argo.event_feeds import FeedEvent
from pachyderm_dagster.argo.event_sources import BucketSource, KeyFilter
from pachyderm_dagster.argo.events import Event, Origin, PutObject, bucket_event
from pachyderm_dagster.argo.s3_buckets import bucket_failures, failure_line, open_bucket
from pachyderm_dagster.argo.secret_keys import Secrets
from pachyderm_dagster.errors import UnreachableError

ALL = "s3:ObjectCreated:*"
LATE = dt.timedelta(days=1)
"""An upload in parts is listed when it ends, with the time at which it began: so long after it is found still."""
List = Callable[[str], Iterable[PutObject]]
"""The objects whose keys begin with a text."""


class _Seen(msgspec.Struct, frozen=True):
    """What was seen of a bucket.

    Attributes:
        since: nothing that was put before it counts.
        ids: of what was put after it and was seen, the beginnings.
    """

    since: dt.datetime
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BucketFeed:
    """Objects that were put into a bucket, also over others of their keys."""

    origin: Origin
    source: BucketSource
    list_objects: List

    def begin(self) -> str:
        there = list(self._there())
        since = max((one.time for one in there), default=dt.datetime.fromtimestamp(0, dt.UTC) + LATE) - LATE
        return _encoded(since, [one for one in there if one.time >= since])

    def after(self, position: str, most: int) -> tuple[list[FeedEvent], str]:
        seen = msgspec.json.decode(position, type=_Seen)
        there = [one for one in self._there() if one.time >= seen.since]
        known = set(seen.ids)
        news = sorted((one for one in there if _short(one) not in known), key=lambda one: (one.time, one.key))[:most]
        taken = known | {_short(one) for one in news}
        # Only so far as all is taken: what is left of a burst is not to be too old the next time.
        newest = max((one.time for one in there if _short(one) in taken), default=seen.since)
        since = max(seen.since, newest - LATE)
        found = [FeedEvent(msgspec.json.encode(one).decode(), self._event(one)) for one in news if self._is_wanted(one)]
        return found, _encoded(since, [one for one in there if _short(one) in taken and one.time >= since])

    def find(self, reference: str) -> Event | None:
        return self._event(msgspec.json.decode(reference, type=PutObject))

    def _there(self) -> Iterable[PutObject]:
        wanted = self.source.filter or KeyFilter()
        return (one for one in self.list_objects(wanted.prefix) if one.key.startswith(wanted.prefix) and one.key.endswith(wanted.suffix))

    def _is_wanted(self, put: PutObject) -> bool:
        return any(fnmatch.fnmatchcase(put.event_name, wanted) for wanted in self.source.events or (ALL,))

    def _event(self, put: PutObject) -> Event:
        return bucket_event(self.origin, self.source.bucket.name, self.source.region, put, self.source.metadata)


def _short(put: PutObject) -> str:
    return put.id[:12]


def _encoded(since: dt.datetime, seen: Iterable[PutObject]) -> str:
    return msgspec.json.encode(_Seen(since, tuple(sorted(map(_short, seen))))).decode()


def lister_of(source: BucketSource, secrets: Secrets) -> List:
    """What lists the bucket of a source.

    Raises:
        NotFoundError: `workflow-secret-not-found`; when it lists, UnreachableError `event-bucket-unreachable`.
    """
    module, store = open_bucket(
        source.bucket.name,
        endpoint=source.endpoint,
        region=source.region,
        insecure=source.insecure,
        access_key=source.access_key,
        secret_key=source.secret_key,
        secrets=secrets,
    )

    def listed(prefix: str) -> Iterable[PutObject]:
        # The library takes prefixes that are folders.
        folder = prefix.rpartition("/")[0]
        try:
            for page in module.list(store, prefix=folder or None):
                for one in page:
                    yield PutObject(key=one["path"], etag=(one["e_tag"] or "").strip('"'), size=one["size"], time=one["last_modified"])
        except bucket_failures() as error:
            problem = f"the bucket {source.bucket.name!r} cannot be listed: {failure_line(error)}"
            raise UnreachableError("event-bucket-unreachable", f"{problem}; check 'endpoint', 'insecure' and the keys of its EventSource") from error

    return listed
