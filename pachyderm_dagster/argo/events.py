"""Events as Argo Events gives them: a context as of CloudEvents, and data whose paths are those that Sensors name."""

import base64
import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus

import msgspec

from pachyderm_dagster.argo.go_times import rfc3339
from pachyderm_dagster.pfs.model import Commit

CALENDAR, WEBHOOK, BUCKET, GENERIC = "calendar", "webhook", "minio", "generic"
PUT, UPLOADED = "s3:ObjectCreated:Put", "s3:ObjectCreated:CompleteMultipartUpload"


class Origin(msgspec.Struct, frozen=True):
    """Where events come from: the name of an EventSource, and that of an event in it."""

    source: str
    name: str


class EventContext(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same of all events.

    Attributes:
        id: of the event, which it has whoever tells of it, and however often.
        source: the EventSource.
        subject: the name of the event in it.
        type: what made it.
        time: in RFC 3339.
    """

    id: str
    source: str
    subject: str
    type: str
    time: str
    specversion: str = "1.0"
    datacontenttype: str = "application/json"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """An event; its data are plain."""

    context: EventContext
    data: Any

    @property
    def plain_context(self) -> dict[str, Any]:
        """The context, plain."""
        found: dict[str, Any] = msgspec.to_builtins(self.context)
        return found

    @property
    def whole(self) -> dict[str, Any]:
        """All of it, plain; the data in base64, as Argo Events has them there."""
        return {"context": self.plain_context, "data": base64.b64encode(msgspec.json.encode(self.data)).decode()}


def event_id(*words: str) -> str:
    """An id, 32 digits, that is the same for the same words."""
    told = hashlib.sha256()
    for word in words:
        told.update(f"{len(word)}:{word}".encode())
    return told.hexdigest()[:32]


def _event(origin: Origin, kind: str, id: str, time: dt.datetime, data: dict[str, Any], metadata: Mapping[str, str]) -> Event:
    context = EventContext(id=id, source=origin.source, subject=origin.name, type=kind, time=rfc3339(time))
    return Event(context=context, data={**data, "metadata": dict(metadata)} if metadata else data)


def calendar_event(origin: Origin, time: dt.datetime, zone: dt.tzinfo, metadata: Mapping[str, str]) -> Event:
    """A time that came."""
    data = {"eventTime": time.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %z %Z")}
    return _event(origin, CALENDAR, event_id(origin.source, origin.name, str(int(time.timestamp()))), time, data, metadata)


def webhook_event(origin: Origin, id: str, time: dt.datetime, header: Mapping[str, list[str]], body: Any, metadata: Mapping[str, str]) -> Event:
    """A request that came."""
    return _event(origin, WEBHOOK, id, time, {"header": dict(header), "body": body}, metadata)


class PutObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object that was put into a bucket."""

    key: str
    etag: str
    size: int
    time: dt.datetime

    @property
    def event_name(self) -> str:
        """What S3 calls it. An ETag with a dash is that of an upload in parts."""
        return UPLOADED if "-" in self.etag else PUT

    @property
    def id(self) -> str:
        """The same for one and the same writing of the object."""
        return event_id(self.key, self.etag, self.time.isoformat())


def bucket_event(origin: Origin, bucket: str, region: str, put: PutObject, metadata: Mapping[str, str]) -> Event:
    """An object that was put. Its key is encoded as in an address, as S3 does."""
    stored = {"key": quote_plus(put.key), "size": put.size, "eTag": put.etag, "contentType": "", "sequencer": put.id[:16].upper()}
    record = {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "awsRegion": region,
        "eventTime": rfc3339(put.time),
        "eventName": put.event_name,
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"}, "object": stored},
    }
    return _event(origin, BUCKET, event_id(origin.source, origin.name, bucket, put.id), put.time, {"notification": [record]}, metadata)


def commit_event(origin: Origin, commit: Commit, metadata: Mapping[str, str]) -> Event:
    """A commit that finished."""
    assert commit.finished is not None
    body = {
        "project": commit.repo.project,
        "repo": commit.repo.name,
        "branch": commit.branch,
        "commit": commit.id,
        "description": commit.description,
        "finished": rfc3339(commit.finished),
    }
    return _event(origin, GENERIC, event_id(origin.source, origin.name, str(commit)), commit.finished, {"body": body}, metadata)
