"""The structs of an EventSource: what makes events."""

from typing import TypeAlias

import msgspec

from pachyderm_dagster.argo.parameters import KeyRef, Text
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.model import DEFAULT_BRANCH, BranchName
from pachyderm_dagster.pfs.reference_texts import parse_reference

MOST_BYTES = 1024 * 1024
COMMITS = "pfs://"
"""What the address of commits begins with."""


class EventFilter(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Which events there are at all."""

    expression: str = ""
    """An expression over the data of the event; there is none where it is not true."""


class CalendarSource(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Events that the clock makes. Their data: `eventTime`, and `metadata` where there is some."""

    schedule: str = ""
    """When, as cron has it."""
    interval: str = ""
    """How long after the event before, as `10m`; without a `schedule`."""
    timezone: str = ""
    """The timezone of the schedule; UTC without it."""
    exclusion_dates: tuple[str, ...] = ()
    """Days without an event: `EXDATE:20260101T000000Z`, several with commas between them."""
    metadata: dict[str, Text] = {}
    """Goes with the data of each event."""
    filter: EventFilter | None = None
    """Which events there are at all."""


class WebhookSource(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Events that are requests, which `argo listen` takes. Their data: `header`, `body`, and `metadata` where there is some."""

    endpoint: str
    """The path of the address, as `/example`."""
    method: str
    """`POST` or `GET`; the body of a `GET` is its query."""
    port: Text = ""
    """Where `argo listen` takes them, unless it is told otherwise."""
    metadata: dict[str, Text] = {}
    """Goes with the data of each event."""
    auth_secret: KeyRef | None = None
    """A key of a Secret: the token that a request has to bring, as `Authorization: Bearer TOKEN`."""
    max_payload_size: int | None = None
    """How many bytes a body may have; 1 MiB without it."""
    filter: EventFilter | None = None
    """Which events there are at all."""


class EventBucket(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The bucket that is looked at."""

    name: str
    """The name of the bucket."""


class KeyFilter(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Which objects of a bucket count."""

    prefix: str = ""
    """What their keys begin with; only those are listed."""
    suffix: str = ""
    """What their keys end with."""


class BucketSource(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Events that are objects put into a bucket, found by listing it. Their data: `notification`, as S3 tells of one, and `metadata` where there is some."""

    bucket: EventBucket
    """The bucket."""
    endpoint: str = ""
    """The host of the service, with its port; that of Amazon without it."""
    region: str = ""
    """The region of the bucket."""
    insecure: bool = False
    """The service is asked without TLS."""
    access_key: KeyRef | None = None
    """A key of a Secret; the variables of the environment count without it."""
    secret_key: KeyRef | None = None
    """A key of a Secret; the variables of the environment count without it."""
    events: tuple[str, ...] = ()
    """`s3:ObjectCreated:*`, `s3:ObjectCreated:Put`, `s3:ObjectCreated:CompleteMultipartUpload`; the first without it."""
    filter: KeyFilter | None = None
    """Which objects count."""
    metadata: dict[str, Text] = {}
    """Goes with the data of each event."""


class GenericSource(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Events that are commits of a branch, finished without an error; `body` has `project`, `repo`, `branch`, `commit`, `description`, `finished`."""

    url: str
    """Which branch: `pfs://REPO@BRANCH` or `pfs://PROJECT/REPO@BRANCH`; `master` without `@BRANCH`."""
    metadata: dict[str, Text] = {}
    """Goes with the data of each event."""
    filter: EventFilter | None = None
    """Which events there are at all."""


class EventSourceSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What makes events, each under a name that dependencies give as `eventName`."""

    calendar: dict[str, CalendarSource] = {}
    """The clock."""
    webhook: dict[str, WebhookSource] = {}
    """Requests."""
    minio: dict[str, BucketSource] = {}
    """Objects that are put into a bucket of S3 or its kin."""
    generic: dict[str, GenericSource] = {}
    """Commits."""

    def find(self, name: str) -> "AnySource | None":
        """What makes the events of a name."""
        return self.calendar.get(name) or self.webhook.get(name) or self.minio.get(name) or self.generic.get(name)

    @property
    def names(self) -> list[str]:
        """The names of all events."""
        return [*self.calendar, *self.webhook, *self.minio, *self.generic]


AnySource: TypeAlias = CalendarSource | WebhookSource | BucketSource | GenericSource


def branch_of(generic: GenericSource) -> BranchName:
    """The branch whose commits are events.

    Raises:
        InvalidError: `reference-invalid`, `name-invalid`.
    """
    text = generic.url.removeprefix(COMMITS)
    found = parse_reference(text if "@" in text else f"{text}@{DEFAULT_BRANCH}")
    if found.path is not None:
        raise InvalidError("reference-invalid", f"{generic.url!r} names a file; write pfs://REPO@BRANCH")
    return found.branch()
