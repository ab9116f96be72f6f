"""Locks between nodes and workflows: what they are called, and files of a home that hold them for as long as a process lives.

A holder that is killed holds nothing any more. One whose process ends because all that is left is an answer leaves a mark: it holds its locks until it goes on.
"""

import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from pachyderm_dagster.argo.bookkeeping import SemaphoreRef, Synchronization
from pachyderm_dagster.errors import InvalidError, NotFoundError

LOOK_SECONDS = 0.05
MOST_LOOK_SECONDS = 0.5
_MOST_PLACES = 10_000
_MARK = ".holder"


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that so many may hold at once."""

    name: str
    places: int = 1


def locks_of(synchronization: Synchronization | None, namespace: str, config_maps: Mapping[str, Mapping[str, str]]) -> tuple[Lock, ...]:
    """The locks that are wanted, each once, in an order that is the same for everybody.

    Raises:
        NotFoundError: `config-map-not-found`.
        InvalidError: `semaphore-invalid`.
    """
    if synchronization is None:
        return ()
    mutexes = (*synchronization.mutexes, *((synchronization.mutex,) if synchronization.mutex else ()))
    semaphores = (*synchronization.semaphores, *((synchronization.semaphore,) if synchronization.semaphore else ()))
    found = [Lock(f"{one.namespace or namespace}/{'Database' if one.database else 'Mutex'}/{one.name}") for one in mutexes]
    found += [_semaphore(one, namespace, config_maps) for one in semaphores]
    return tuple(sorted(set(found), key=lambda lock: lock.name))


def _semaphore(one: SemaphoreRef, namespace: str, config_maps: Mapping[str, Mapping[str, str]]) -> Lock:
    reference = one.config_map_key_ref
    if reference is None:
        raise InvalidError("semaphore-invalid", "a semaphore has 'configMapKeyRef', whose value is how many hold it at once")
    value = config_maps.get(reference.name, {}).get(reference.key)
    if value is None:
        message = f"{reference.key!r} of the ConfigMap {reference.name!r}, the size of a semaphore, is in none of the files; give the file that it is in too"
        raise NotFoundError("config-map-not-found", message)
    if not value.isdigit() or not 0 < int(value) <= _MOST_PLACES:
        raise InvalidError("semaphore-invalid", f"the size of the semaphore {reference.name}/{reference.key} is {value!r}; it is to be a number, 1 or more")
    return Lock(f"{one.namespace or namespace}/ConfigMap/{reference.name}/{reference.key}", int(value))


class Locks(Protocol):
    """Who keeps locks."""

    def held(self, locks: Sequence[Lock], waiting: Callable[[str], None]) -> contextlib.AbstractAsyncContextManager[None]:
        """Holds all of the locks for a block; `waiting` is told, once, when that takes time."""
        ...


class FileLocks:
    """Locks as files of a folder: a file for each place, locked by the process that holds it.

    Args:
        holder: the run, of whose marks it takes over the locks.
        is_over: whether a run that left a mark holds nothing any more.
        sleep: waits so many seconds.
    """

    def __init__(self, folder: Path, holder: str, is_over: Callable[[str], bool], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._folder, self._holder, self._is_over, self._sleep = folder, holder, is_over, sleep
        self._held: dict[int, Path] = {}

    @contextlib.asynccontextmanager
    async def held(self, locks: Sequence[Lock], waiting: Callable[[str], None]) -> AsyncIterator[None]:
        """As `Locks.held`."""
        files = self._take_all(locks)
        if files is None:
            waiting(", ".join(lock.name for lock in locks))
        pause = LOOK_SECONDS
        while files is None:
            await self._sleep(pause)
            # Each look asks for every place: those of many nodes that wait are not to keep the others from going on.
            pause = min(2 * pause, MOST_LOOK_SECONDS)
            files = self._take_all(locks)
        try:
            yield
        finally:
            self._give_back(files)

    def park(self) -> None:
        """Marks all that is held, for the time in which no process holds it for its run."""
        for place in self._held.values():
            _mark_of(place).write_text(self._holder)

    def _take_all(self, locks: Sequence[Lock]) -> list[int] | None:
        """All or nothing, so that two who want the same locks never wait for each other."""
        taken: list[int] = []
        for lock in locks:
            file = self._take(lock)
            if file is None:
                self._give_back(taken)
                return None
            taken.append(file)
        return taken

    def _take(self, lock: Lock) -> int | None:
        folder = self._folder / sha256(lock.name.encode()).hexdigest()[:32]
        folder.mkdir(parents=True, exist_ok=True)
        for place in self._places(folder, lock):
            file = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_free(place):
                    self._held[file] = place
                    return file
            os.close(file)
        return None

    def _places(self, folder: Path, lock: Lock) -> Iterator[Path]:
        """The places that this process does not hold already; first those that are marked for this run, since they are its own."""
        marks = [name for name in os.listdir(folder) if name.endswith(_MARK)]
        own = {name.removesuffix(_MARK) for name in marks if _read(folder / name) == self._holder}
        held = set(self._held.values())
        for number in sorted(range(lock.places), key=lambda number: str(number) not in own):
            if folder / str(number) not in held:
                yield folder / str(number)

    def _is_free(self, place: Path) -> bool:
        holder = _read(_mark_of(place))
        if holder and holder != self._holder and not self._is_over(holder):
            return False
        _mark_of(place).unlink(missing_ok=True)
        return True

    def _give_back(self, files: Iterable[int]) -> None:
        for file in files:
            del self._held[file]
            os.close(file)


class OpenLocks:
    """Locks for a workflow that nobody shares any with."""

    @contextlib.asynccontextmanager
    async def held(self, locks: Sequence[Lock], waiting: Callable[[str], None]) -> AsyncIterator[None]:
        """As `Locks.held`; nobody is waited for."""
        yield


def _mark_of(place: Path) -> Path:
    return place.with_name(place.name + _MARK)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
