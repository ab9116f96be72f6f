"""A store that goes wrong at one call of its life."""

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
            case Fault.UNREACHABLE:
                raise UnreachableError("storage-unreachable", f"no answer for {key}")
        return call()

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
        return self._change(key, lambda: super(FailingStore, self).put_new(key, data))

    def keep(self, key: str, data: Buffer | Sequence[Buffer]) -> bool:
        return self._change(key, lambda: super(FailingStore, self).keep(key, data))

    def get(self, key: str) -> bytes:
        return self._read(key, lambda: super(FailingStore, self).get(key))

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        # A range that is short is what no store gives: the contract is exactly `length` bytes, or an error.
        cut = self._fault is Fault.CUT
        return super().get_range(key, offset, length) if cut else self._read(key, lambda: super(FailingStore, self).get_range(key, offset, length))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._change(prefix, lambda: super(FailingStore, self).list(prefix))

    def delete(self, key: str) -> None:
        return self._change(key, lambda: super(FailingStore, self).delete(key))
