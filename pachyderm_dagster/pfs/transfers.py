"""Downloads many things at once and hands them out in order, in bounded memory; asks again for what broke."""

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pachyderm_dagster.errors import UnreachableError
from pachyderm_dagster.storage.chunks import Readable

DEFAULT_PARALLELISM = 50
MAX_PARALLELISM = 1000
# What is held of things that wait for their turn: of each its beginning, of all no more than this.
_MAX_HEAD_BYTES = 4 * 1024 * 1024
_MAX_BYTES_AHEAD = 256 * 1024 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Transfers:
    """How things are downloaded.

    Attributes:
        parallelism: how many at once.
        tries: how often one is asked for without getting a byte more.
        pause_seconds: how long to wait before the second try; twice as long before each further one.
    """

    parallelism: int = DEFAULT_PARALLELISM
    tries: int = 4
    pause_seconds: float = 0.5

    @property
    def head_bytes(self) -> int:
        """How much of a thing is fetched before its turn."""
        return min(_MAX_HEAD_BYTES, _MAX_BYTES_AHEAD // self.parallelism)

    def keep_trying(self, call: Callable[[], T]) -> T:
        """What `call` gives; called again when it raises `UnreachableError`, until there are no more tries."""
        for number in range(self.tries - 1):
            try:
                return call()
            except UnreachableError:
                time.sleep(self.pause_seconds * 2**number)
        return call()


class Download(Readable, Protocol):
    """Something to read that is far away."""

    def fetch_head(self) -> None:
        """Gets its first bytes, perhaps in another thread, and holds them until they are read. Errors are those of reading."""
        ...

    def close(self) -> None:
        """Lets go of connections."""
        ...


def download_ahead(downloads: Iterable[tuple[T, Download]], parallelism: int) -> Iterator[tuple[T, Download]]:
    """The downloads in their order, so many of them on their way at a time. Each is to be read before the next is asked for."""

    def begin(entry: tuple[T, Download]) -> Callable[[], tuple[T, Download]]:
        def fetch() -> tuple[T, Download]:
            entry[1].fetch_head()
            return entry

        return fetch

    def drop(entry: tuple[T, Download]) -> None:
        entry[1].close()

    for entry in in_order(map(begin, downloads), parallelism, drop=drop):
        with contextlib.closing(entry[1]):
            yield entry


def in_order(calls: Iterable[Callable[[], T]], parallelism: int, *, drop: Callable[[T], None] = lambda _: None) -> Iterator[T]:
    """What calls give, in their order, while the next ones run in other threads. `drop` is called for what nobody took."""
    waiting = iter(calls)
    first = list(itertools.islice(waiting, 2))
    if len(first) == 1:
        yield first[0]()
        return
    under_way: deque[Future[T]] = deque()
    with ThreadPoolExecutor(parallelism, thread_name_prefix="transfers") as pool:
        try:
            for call in itertools.chain(first, waiting):
                under_way.append(pool.submit(call))
                if len(under_way) >= parallelism:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                if not future.cancel() and future.exception() is None:
                    drop(future.result())
