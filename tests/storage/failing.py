"""Stores that go wrong at one call of their life, and one whose calls take as long as a test wants."""

import datetime as dt
import enum
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from pachyderm_dagster.codec import Buffer
from pachyderm_dagster.errors import StorageError, UnreachableError
from pachyderm_dagster.storage.objects import ObjectInfo, ObjectStore
from tests.storage.faulty import CountingStore

T = TypeVar("T")


class Fault(enum.Enum):
    """What goes wrong."""

    UNREACHABLE = "no answer, and nothing was done"
    ANSWER_LOST = "the service did what it was asked, and its answer never came"
    FULL = "no room"
    DENIED = "access refused"
    FLIPPED = "a read gives one wrong bit"
    CUT = "a whole object is read short"
    TORN = "the power went: of what was being stored the first half is there, under its name, and nobody was told anything"


class FailingStore(CountingStore):
    """Passes calls on and goes wrong at the one with number `at`, from 1 on.

    Attributes:
        calls: how many there were.
    """

    def __init__(self, store: ObjectStore, fault: Fault, at: int) -> None:
        super().__init__(store)
        self._fault, self._at = fault, at
        self._lock = threading.Lock()
        self.calls = 0

    def _is_due(self) -> bool:
        with self._lock:
            self.calls += 1
            return self.calls == self._at

    def _change(self, key: str, call: Callable[[], T]) -> T:
        if not self._is_due():
            return call()
        match self._fault:
            case Fault.ANSWER_LOST:
                call()
                raise UnreachableError("storage-unreachable", f"no answer for {key}")
            case Fault.FULL:
                raise StorageError("storage-full", f"no room for {key}")
            case Fault.DENIED:
                raise StorageError("storage-denied", f"{key} is refused")
            case Fault.UNREACHABLE | Fault.TORN:
                raise UnreachableError("storage-unreachable", f"no answer for {key}")
        return call()

    def _store_torn(self, key: str, data: Buffer | Sequence[Buffer]) -> None:
        """What a write that is about to fail leaves, when it is the one that is torn."""
        with self._lock:
            is_torn = self._fault is Fault.TORN and self.calls + 1 == self._at
        if is_torn:
            whole = data if isinstance(data, bytes | bytearray | memoryview) else b"".join(data)
            self._store.put_new(key, whole[: len(whole) // 2])

    def _read(self, key: str, call: Callable[[], bytes]) -> bytes:
        if not self._is_due():
            return call()
        match self._fault:
            case Fault.UNREACHABLE | Fault.ANSWER_LOST:
                raise UnreachableError("storage-unreachable", f"no answer for {key}")
            case Fault.DENIED:
                raise StorageError("storage-denied", f"{key} is refused")
        data = bytearray(call())
        if self._fault is Fault.FLIPPED and data:
            data[len(data) // 2] ^= 0x10
        if self._fault is Fault.CUT:
            del data[len(data) // 2 :]
        return bytes(data)

    def put_new(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        self._store_torn(key, data)
        return self._change(key, lambda: super(FailingStore, self).put_new(key, data))

    def keep(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        self._store_torn(key, data)
        return self._change(key, lambda: super(FailingStore, self).keep(key, data))

    def get(self, key: str) -> bytes:
        return self._read(key, lambda: super(FailingStore, self).get(key))

    def get_range(self, key: str, offset: int, length: int) -> Buffer:
        # A range that is short is what no store gives: the contract is exactly `length` bytes, or an error.
        cut = self._fault is Fault.CUT
        return super().get_range(key, offset, length) if cut else self._read(key, lambda: bytes(super(FailingStore, self).get_range(key, offset, length)))

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        return self._change(prefix, lambda: super(FailingStore, self).list(prefix, after=after))

    def delete(self, *keys: str) -> None:
        for key in keys:
            self._delete(key)

    def _delete(self, key: str) -> None:
        self._change(key, lambda: super(FailingStore, self).delete(key))


class TearingStore(CountingStore):
    """Says of every write that it is durable, and of the one with number `at` only a part is there: the disk had not told the truth when the power went.

    Attributes:
        torn: the key of that one, once it was written.
    """

    def __init__(self, store: ObjectStore, at: int, *, part: float) -> None:
        super().__init__(store)
        self._at, self._part = at, part
        self._lock = threading.Lock()
        self._calls = 0
        self.torn: str | None = None

    def put_new(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        return super().put_new(key, self._torn(key, data))

    def keep(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        return super().keep(key, self._torn(key, data))

    def _torn(self, key: str, data: Buffer | Sequence[Buffer]) -> Buffer:
        whole = bytes(data) if isinstance(data, bytes | bytearray | memoryview) else b"".join(data)
        with self._lock:
            self._calls += 1
            if self._calls != self._at:
                return whole
            self.torn = key
            return whole[: int(len(whole) * self._part)]


class SlowStore(CountingStore):
    """From `hold` to `release` every call takes as long as the time between them; `reached` is set when the first of them has begun."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(store)
        self._free = threading.Event()
        self._free.set()
        self.reached = threading.Event()

    def hold(self) -> None:
        """Lets no call go on from now."""
        self.reached.clear()
        self._free.clear()

    def release(self) -> None:
        """Lets every call go on."""
        self._free.set()

    def _wait(self) -> None:
        if self._free.is_set():
            return
        self.reached.set()
        # In small parts, because a signal that comes just before a wait is only looked at behind it.
        for _ in range(1200):
            if self._free.wait(0.05):
                return
        raise AssertionError("a slow call was never let go on")

    def put_new(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        self._wait()
        return super().put_new(key, data)

    def keep(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        self._wait()
        return super().keep(key, data)

    def get(self, key: str) -> bytes:
        self._wait()
        return super().get(key)

    def get_range(self, key: str, offset: int, length: int) -> Buffer:
        self._wait()
        return super().get_range(key, offset, length)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        self._wait()
        return super().list(prefix, after=after)

    def delete(self, *keys: str) -> None:
        self._wait()
        super().delete(*keys)

    def remove_older(self, key: str, before: dt.datetime) -> bool:
        self._wait()
        return super().remove_older(key, before)
