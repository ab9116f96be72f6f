"""Objects that are put into buckets, as events."""

import datetime as dt
import os
import secrets
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

import obstore
import obstore.store
import pytest

from pachyderm_dagster.argo.event_buckets import BucketFeed, lister_of
from pachyderm_dagster.argo.event_paths import value_at
from pachyderm_dagster.argo.event_sources import BucketSource
from pachyderm_dagster.argo.events import Origin, PutObject
from pachyderm_dagster.errors import NotFoundError, UnreachableError
from tests.argo.event_files import read, source

# Read here because tests run without the caller's settings.
S3_URL, S3_SETTINGS = os.environ.get("TEST_STORAGE_S3_URL"), {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


class Bucket:
    """Objects by key; a clock that moves with each writing, unless a time is given."""

    def __init__(self) -> None:
        self.objects: dict[str, PutObject] = {}
        self.now, self.writings = NOON, 0

    def put(self, key: str, *, at: dt.datetime | None = None, etag: str = "") -> None:
        self.writings += 1
        self.now += dt.timedelta(seconds=1)
        self.objects[key] = PutObject(key=key, etag=etag or f"e{self.writings}", size=1, time=at or self.now)

    def list(self, prefix: str) -> Iterable[PutObject]:
        # As the library: prefixes are folders.
        folder = prefix.rpartition("/")[0]
        return [one for key, one in sorted(self.objects.items()) if not folder or key.startswith(f"{folder}/")]


class Looking:
    """A feed over a bucket, and how far it has come."""

    def __init__(self, bucket: Bucket, more: str = "") -> None:
        self.feed = BucketFeed(Origin("source", "put"), source_of(more), bucket.list)
        self.position = self.feed.begin()

    def look(self, most: int = 100) -> list[str]:
        """The keys of what is new."""
        found, self.position = self.feed.after(self.position, most)
        assert all(self.feed.find(one.reference) == one.event for one in found)
        return [str(value_at(one.event.data, "notification.0.s3.object.key")) for one in found]


def source_of(more: str, bucket: str = "data") -> BucketSource:
    _, library = read(source(f"minio: {{put: {{bucket: {{name: {bucket}}}{more}}}}}"))
    return library.event_sources["source"].minio["put"]


def test_what_is_new_or_written_again_is_an_event_once() -> None:
    bucket = Bucket()
    bucket.put("old")
    looking = Looking(bucket)
    assert looking.look() == []
    bucket.put("b")
    bucket.put("a")
    bucket.put("old", etag="e1")
    assert looking.look() == ["b", "a", "old"]
    del bucket.objects["a"]
    assert looking.look() == []


def test_only_what_the_filter_means_counts() -> None:
    bucket = Bucket()
    looking = Looking(bucket, ", filter: {prefix: in/day-, suffix: .csv}")
    for key in ("in/day-1.csv", "in/day-1.txt", "in/other.csv", "day-1.csv"):
        bucket.put(key)
    assert looking.look() == ["in%2Fday-1.csv"]


def test_only_the_events_that_are_named_count() -> None:
    bucket = Bucket()
    looking = Looking(bucket, ", events: ['s3:ObjectCreated:CompleteMultipartUpload']")
    bucket.put("small")
    bucket.put("large", etag="abc-2")
    assert looking.look() == ["large"]


def test_an_upload_that_took_hours_is_found_when_it_is_there() -> None:
    bucket = Bucket()
    looking = Looking(bucket)
    bucket.put("first", at=NOON)
    assert looking.look() == ["first"]
    bucket.put("late", at=NOON - 20 * HOUR)
    assert looking.look() == ["late"]
    assert looking.look() == []


def test_a_burst_is_taken_bit_by_bit_and_nothing_twice() -> None:
    bucket = Bucket()
    looking = Looking(bucket)
    # More than a day between the first and the last, seen by one look.
    for number in range(7):
        bucket.put(str(number), at=NOON + 10 * HOUR * number)
    seen = [key for _ in range(5) for key in looking.look(most=2)]
    assert seen == ["0", "1", "2", "3", "4", "5", "6"]


def test_what_is_remembered_stays_as_short_as_a_day() -> None:
    bucket = Bucket()
    looking = Looking(bucket)
    for number in range(100):
        bucket.put(str(number), at=NOON + HOUR * number)
        assert looking.look() == [str(number)]
    assert looking.position.count(",") < 30


def test_a_secret_that_is_in_no_file_is_told() -> None:
    keys = ", accessKey: {name: keys, key: access}, secretKey: {name: keys, key: secret}"
    with pytest.raises(NotFoundError) as missing:
        lister_of(source_of(keys), {})
    assert missing.value.code == "workflow-secret-not-found"


def s3_source(bucket: str, more: str = "") -> BucketSource:
    endpoint = urlsplit(S3_SETTINGS["AWS_ENDPOINT_URL"]).netloc
    place = f", endpoint: '{endpoint}', insecure: true, region: us-east-1"
    return source_of(f"{place}, accessKey: {{name: keys, key: access}}, secretKey: {{name: keys, key: secret}}{more}", bucket)


def s3_secrets() -> dict[str, dict[str, str]]:
    return {"keys": {"access": S3_SETTINGS["AWS_ACCESS_KEY_ID"], "secret": S3_SETTINGS["AWS_SECRET_ACCESS_KEY"]}}


@pytest.fixture
def s3_store() -> Iterator[obstore.store.S3Store]:
    """The bucket of a real server, in which nothing is left."""
    assert S3_URL is not None
    settings = {
        "endpoint": S3_SETTINGS["AWS_ENDPOINT_URL"],
        "region": "us-east-1",
        "access_key_id": S3_SETTINGS["AWS_ACCESS_KEY_ID"],
        "secret_access_key": S3_SETTINGS["AWS_SECRET_ACCESS_KEY"],
    }
    store = obstore.store.S3Store(urlsplit(S3_URL).netloc, client_options={"allow_http": True}, **settings)  # type: ignore[arg-type]
    yield store
    for page in obstore.list(store, prefix="events"):
        obstore.delete(store, [one["path"] for one in page])


@pytest.mark.skipif(S3_URL is None, reason="TEST_STORAGE_S3_URL names no bucket")
def test_a_bucket_of_s3_is_looked_at(s3_store: obstore.store.S3Store) -> None:
    assert S3_URL is not None
    folder, bucket = f"events/{secrets.token_hex(8)}", urlsplit(S3_URL).netloc
    found = s3_source(bucket, f", filter: {{prefix: {folder}/in, suffix: .csv}}")
    feed = BucketFeed(Origin("source", "put"), found, lister_of(found, s3_secrets()))
    obstore.put(s3_store, f"{folder}/in-0.csv", b"before")
    position = feed.begin()
    for name in ("in-1.csv", "in-1.txt", "out.csv"):
        obstore.put(s3_store, f"{folder}/{name}", b"after")
    # In parts of 5 MiB, the least that S3 takes.
    obstore.put(s3_store, f"{folder}/in-2.csv", b"a" * 2**20 * 6, use_multipart=True, chunk_size=2**20 * 5)
    news, position = feed.after(position, 100)
    records = {value_at(one.event.data, "notification.0.s3.object.key"): value_at(one.event.data, "notification.0") for one in news}
    start = folder.replace("/", "%2F")
    assert sorted(records) == [f"{start}%2Fin-1.csv", f"{start}%2Fin-2.csv"]
    assert [records[key]["eventName"].rpartition(":")[2] for key in sorted(records)] == ["Put", "CompleteMultipartUpload"]
    assert records[f"{start}%2Fin-1.csv"]["s3"]["object"]["size"] == 5
    assert feed.after(position, 100) == ([], position)
    obstore.put(s3_store, f"{folder}/in-1.csv", b"again")
    assert len(feed.after(position, 100)[0]) == 1


@pytest.mark.skipif(S3_URL is None, reason="TEST_STORAGE_S3_URL names no bucket")
def test_a_bucket_of_s3_that_is_not_there_fails_the_look() -> None:
    found = s3_source("no-such-bucket")
    with pytest.raises(UnreachableError) as raised:
        list(lister_of(found, s3_secrets())(""))
    assert raised.value.code == "event-bucket-unreachable" and "no-such-bucket" in raised.value.message
