"""A store that remembers how much was read from it."""

from typing import Any, cast

from pachyderm_dagster.storage.objects import ObjectStore


class CountingStore:
    """Hands everything on to another store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.reads: list[int] = []
        """The number of bytes that each read gave, in order."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get(self, key: str) -> bytes:
        data = self._store.get(key)
        self.reads.append(len(data))
        return data

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        self.reads.append(length)
        return self._store.get_range(key, offset, length)

    def as_store(self) -> ObjectStore:
        """This store, as what it is for type checkers."""
        return cast(ObjectStore, self)
