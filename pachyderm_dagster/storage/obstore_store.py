"""Objects behind obstore: S3 and its kin, and memory."""

import contextlib
import datetime as dt
import time
from collections.abc import Iterator, Sequence

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError

from pachyderm_dagster.clock import Clock, SystemClock
from pachyderm_dagster.codec import Buffer
from pachyderm_dagster.errors import NotFoundError, StorageError, UnreachableError
from pachyderm_dagster.storage.buckets import Bucket, connect_bucket
from pachyderm_dagster.storage.objects import RENEW_AFTER, ObjectInfo, missing_object, parts_of, short_object
from pachyderm_dagster.storage.storage_urls import shown

_ASK_FIRST_BYTES = 1024 * 1024
_NEW_IN_A_ROW, _ASKED_EACH = 3, 64
_DELETED_AT_ONCE = 1000
_RACE_SECONDS, _RACE_PAUSE = 60.0, 0.02
# Where credentials are looked for last of all; a machine outside a cloud has nothing there.
_INSTANCE_METADATA = "169.254.169.254"


def open_bucket(url: str) -> "ObstoreStore":
    """The store in the bucket that a URL names; nothing is asked of it yet. Errors as `connect_bucket`."""
    return ObstoreStore(connect_bucket(url), shown(url), SystemClock())


class ObstoreStore:
    """A store over one of obstore's; `url` is for messages, `clock` tells how old an object is."""

    fork_safe = False  # obstore runs threads of its own, which a forked child does not have
    time_slack = RENEW_AFTER + dt.timedelta(minutes=5)  # the service's clock may go otherwise than ours

    def __init__(self, store: Bucket, url: str, clock: Clock) -> None:
        self._store = store
        self._url = url
        self._clock = clock

    def put_new(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        body = _body(data)
        # A conditional put sends the whole body before it is refused; a chunk that exists is worth a question.
        if len(body) >= _ASK_FIRST_BYTES and self._find_size(key) is not None:
            return False
        deadline = time.monotonic() + _RACE_SECONDS
        while not self.create(key, body):
            if self._find_size(key) is not None:
                return False
            # A service refuses it too while somebody else writes the object, who may fail yet.
            if time.monotonic() > deadline:
                raise UnreachableError("storage-unreachable", f"{self._url} says that '{key}' exists, and does not have it; try again")
            time.sleep(_RACE_PAUSE)
        return True

    def keep(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        body = _body(data)
        found = self._find(key)
        intact = found is not None and found.size == len(body)
        if found is not None and intact and found.modified > self._clock.now() - RENEW_AFTER:
            return False
        with writing(self._url):
            obstore.put(self._store, key, body, mode="overwrite", use_multipart=False)
        return not intact

    def begin_batch(self) -> "_Batch":
        return _Batch(self)

    def get(self, key: str) -> bytes:
        with self._translated(key):
            return obstore.get(self._store, key).bytes().to_bytes()

    def get_range(self, key: str, offset: int, length: int) -> Buffer:
        if length == 0:
            return b""  # stores refuse an empty range
        try:
            with self._translated(key):
                data = memoryview(obstore.get_range(self._store, key, start=offset, length=length))
        except UnreachableError:
            size = self._find_size(key)
            if size is not None and size < offset + length:
                raise short_object(key, size, offset, length) from None
            raise
        if len(data) != length:
            raise short_object(key, offset + len(data), offset, length)
        return data

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        with self._translated(prefix):
            for batch in obstore.list(self._store, prefix or None, offset=after or None):
                for found in batch:
                    yield ObjectInfo(found["path"], found["size"], found["last_modified"].astimezone(dt.UTC))

    def delete(self, *keys: str) -> None:
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            some = list(keys[start : start + _DELETED_AT_ONCE])
            if len(some) > 1:
                # Not every service takes many at once, and not every one takes what is not there.
                with contextlib.suppress(FileNotFoundError, BaseError):
                    obstore.delete(self._store, some)
                    continue
            for key in some:
                with contextlib.suppress(FileNotFoundError), _failing(self._url):
                    obstore.delete(self._store, key)

    def remove_older(self, key: str, before: dt.datetime) -> bool:
        found = self._find(key)
        if found is None or found.modified >= before:
            return False
        self.delete(key)
        return True

    def recover(self) -> None:
        """An object is removed in one request, so that nothing is left half done."""

    def create(self, key: str, body: Buffer) -> bool:
        """Sends the object to where there must be none; false when there is one, or somebody is writing it."""
        with writing(self._url):
            try:
                obstore.put(self._store, key, body, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def _find_size(self, key: str) -> int | None:
        found = self._find(key)
        return None if found is None else found.size

    def _find(self, key: str) -> ObjectInfo | None:
        try:
            with _failing(self._url):
                found = obstore.head(self._store, key)
                return ObjectInfo(key, found["size"], found["last_modified"].astimezone(dt.UTC))
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            with _failing(self._url):
                yield
        except FileNotFoundError:
            raise missing_object(key) from None


class _Batch:
    """Objects of which it is not asked whether they are there, as long as those before them were not: most of what is new comes in a row, and so does what
    is stored already. That an object is there after all is found when it was sent, in vain; with servers that ignore `If-None-Match`, when the next one is
    asked for.
    """

    def __init__(self, store: ObstoreStore) -> None:
        self._store = store
        self._new_in_a_row = 0

    def keep(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        body = _body(data)
        is_asked = self._new_in_a_row < _NEW_IN_A_ROW or self._new_in_a_row % _ASKED_EACH == 0
        if not is_asked and self._store.create(key, body):
            self._new_in_a_row += 1
            return True
        stored = self._store.keep(key, body)
        self._new_in_a_row = self._new_in_a_row + 1 if stored else 0
        return stored

    def flush(self) -> None:
        """All is durable already."""

    def stop(self) -> None:
        """There is nothing to let go of."""


def _body(data: Buffer | Sequence[Buffer]) -> Buffer:
    """What a request sends: a chunk as it is, without a copy of it."""
    parts = parts_of(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)


@contextlib.contextmanager
def writing(url: str) -> Iterator[None]:
    """Turns what obstore raises while something is written below `url` into errors of this package.

    Raises:
        NotFoundError: `bucket-not-found`.
        StorageError: `storage-denied`.
        UnreachableError: `storage-unreachable`.
    """
    try:
        with _failing(url):
            yield
    except FileNotFoundError:
        raise NotFoundError("bucket-not-found", f"the bucket of {url} does not exist; make it, or correct the storage URL") from None


@contextlib.contextmanager
def _failing(url: str) -> Iterator[None]:
    """Turns obstore's errors into ours, but for a missing key: obstore raises the builtin FileNotFoundError for that."""
    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise StorageError("storage-denied", f"{url} refuses access: {_first_line(error)}; check the credentials") from error
    except BaseError as error:
        if _INSTANCE_METADATA in str(error):
            raise StorageError(
                "storage-denied",
                f"no credentials for {url} were found: set the service's variables (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for S3), "
                "or pip install 'pachyderm-dagster[s3]' for the profiles of S3",
            ) from error
        raise UnreachableError("storage-unreachable", f"{url} does not answer: {_first_line(error)}; check the endpoint and try again") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(". ")
