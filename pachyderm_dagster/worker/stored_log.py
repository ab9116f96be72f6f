"""What a process that stays in a pod prints, in the store: for people who look while it runs, and after it was ended in any way (docs/design/0033).

Each process is a writer, with a folder of its own. A part is named by the places of its text in all that the writer added, so that one is told from another
that has the same text and more, which takes its place.
"""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import msgspec

from pachyderm_dagster.clock import Clock
from pachyderm_dagster.errors import NotFoundError, PachydermError
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.worker.kept_log import KEPT_BYTES, KeptLine
from pachyderm_dagster.worker.work_area import WORK

FLUSH_SECONDS = 2.0
"""At most so much later than it was printed a line is in the store."""
PART_BYTES = 1 << 20
MOST_EARLIER_PARTS = 200
"""Of writers before this one, as where code ends again and again."""
_CLOSE_SECONDS = 5.0

_log = logging.getLogger(__name__)


def log_area(maker: str) -> str:
    """The name of the work area that has the log of the code of a Deployment, whatever areas that had."""
    return f"{maker}.log"


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of what a writer added: the place of its first byte, and that behind its last."""

    writer: str
    first: int
    end: int

    @classmethod
    def of(cls, key: str) -> "_Part":
        _, writer, places = key.rsplit("/", 2)
        first, _, end = places.partition("-")
        return cls(writer, int(first), int(end))

    @property
    def size(self) -> int:
        return self.end - self.first

    def key(self, area: str) -> str:
        return f"{WORK}/{area}/{self.writer}/{self.first:015}-{self.end:015}"


class StoredLog:
    """Keeps the text of one writer, as a context manager that stores what came every two seconds, and at its end.

    A small part is stored anew together with the next ones, so that there are few, and each byte is stored a few times.

    Args:
        area: as `log_area` gives it.
        pod: the uid of the pod in which it is written.
    """

    def __init__(self, store: ObjectStore, area: str, pod: str, *, clock: Clock, most_bytes: int = 2 * KEPT_BYTES, part_bytes: int = PART_BYTES) -> None:
        self._store, self._area, self._most, self._part_bytes = store, area, most_bytes, part_bytes
        self._writer = f"{int(clock.now().timestamp() * 1000):015}-{pod}"
        self._new, self._end = bytearray(), 0
        self._whole: list[_Part] = []
        self._growing: list[tuple[_Part, bytes]] = []
        # The handler of a signal runs between any two steps of `add`.
        self._lock, self._storing = threading.RLock(), threading.Lock()
        self._over = threading.Event()
        self._is_away = False

    def add(self, text: bytes) -> None:
        """Adds whole lines. What the store does not take for so long that there is no room for more is left out."""
        with self._lock:
            if len(self._new) + len(text) <= self._most:
                self._new += text

    def __enter__(self) -> Self:
        threading.Thread(target=self._run, name="log", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stores what is not stored yet, in some seconds or not at all. From any thread, also from the handler of a signal."""
        self._over.set()
        if self._storing.acquire(timeout=_CLOSE_SECONDS):
            try:
                self._try_to_store()
            finally:
                self._storing.release()

    def store(self) -> None:
        """Stores what came. Raises what the store raises; then it is there for the next call."""
        with self._lock:
            text = bytes(self._new)
        if not text:
            return
        part, replaced = _Part(self._writer, self._end, self._end + len(text)), []
        data, growing = text, list(self._growing)
        while growing and growing[-1][0].size <= part.size and growing[-1][0].size + part.size <= self._part_bytes:
            before, its_data = growing.pop()
            part, data = _Part(self._writer, before.first, part.end), its_data + data
            replaced.append(before)
        self._store.put_new(part.key(self._area), data)
        with self._lock:
            del self._new[: len(text)]
        self._end += len(text)
        self._growing = [*growing, (part, data)]
        if part.size >= self._part_bytes // 2:
            self._whole += [one for one, _ in self._growing]
            self._growing = []
        for one in replaced:
            self._store.delete(one.key(self._area))
        self._leave_out()

    def _run(self) -> None:
        while not self._over.wait(FLUSH_SECONDS):
            with self._storing:
                self._try_to_store()

    def _try_to_store(self) -> None:
        is_first = not self._end
        try:
            self.store()
            if is_first and self._end:
                self._remove_earlier()
            self._is_away = False
        except PachydermError as error:
            if not self._is_away:
                _log.warning("what the code prints is not stored now: %s", error)
            self._is_away = True

    def _leave_out(self) -> None:
        """Removes the oldest parts of this writer where there is too much."""
        total = sum(one.size for one in self._whole)
        while self._whole and total > self._most:
            oldest = self._whole.pop(0)
            total -= oldest.size
            self._store.delete(oldest.key(self._area))

    def _remove_earlier(self) -> None:
        """Removes the oldest parts of the writers before this one where there is too much."""
        earlier = [part for part in _list_parts(self._store, self._area) if part.writer < self._writer]
        total = 0
        for number, part in enumerate(reversed(earlier)):
            total += part.size
            if total > self._most or number >= MOST_EARLIER_PARTS:
                self._store.delete(part.key(self._area))


class StoredLines:
    """Reads the lines that are stored, each once, writer by writer. `area`: as `log_area` gives it."""

    def __init__(self, store: ObjectStore, area: str) -> None:
        self._store, self._area = store, area
        self._told: dict[str, int] = {}
        """By writer, up to which place."""

    def more(self) -> Iterator[KeptLine]:
        """The lines that came since the call before, the oldest first."""
        is_all = False
        while not is_all:
            is_all = True
            for part in _list_parts(self._store, self._area):
                told = self._told.get(part.writer, 0)
                if part.end <= told:
                    continue
                try:
                    data = self._store.get(part.key(self._area))
                except NotFoundError:
                    # One that has its text and more has taken its place, or it was too old. What is behind it is not told before it.
                    is_all = False
                    break
                self._told[part.writer] = part.end
                for line in bytes(data)[max(0, told - part.first) :].splitlines():
                    yield msgspec.json.decode(line, type=KeptLine)


def _list_parts(store: ObjectStore, area: str) -> list[_Part]:
    """By writer, and by place; of two with the same first place the longer one first."""
    found = [_Part.of(one.key) for one in store.list(f"{WORK}/{area}") if one.key.count("/") == 3]
    return sorted(found, key=lambda part: (part.writer, part.first, -part.end))
