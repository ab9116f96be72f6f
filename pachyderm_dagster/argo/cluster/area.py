"""How the engine and the containers of ours in a pod talk: objects below `workflows/UID/` in the store of the home (docs/design/0034).

| object | written by | holds |
| --- | --- | --- |
| `in/ID/PART` | engine | a file that pods are given |
| `pods/POD/TRY/order` | engine | what goes into the pod, and what is wanted of it |
| `pods/POD/TRY/out/ID/NUMBER/PART` | `save` | an artifact that it gave |
| `pods/POD/TRY/answer` | `save`, `put_new` | what it gave |

Nothing is overwritten, and what was written twice is read once.
"""

import os
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from pachyderm_dagster.argo.parameters import Artifact
from pachyderm_dagster.errors import NotFoundError
from pachyderm_dagster.storage.objects import ObjectStore

FOLDER = "workflows"
PART_BYTES = 32 << 20
_AT_ONCE = 8


class File(msgspec.Struct, frozen=True):
    """A file in the area, in parts."""

    place: str
    parts: int


class Given(msgspec.Struct, frozen=True, omit_defaults=True):
    """An input artifact: where it goes, and how it is kept.

    Attributes:
        name: of the entry below `in/` in the pod's volume; where `target` is given, that path is filled instead.
        raw: it is the content itself.
        folder: it is a folder as a tar archive, kept without one.
    """

    name: str
    artifact: Artifact
    file: File
    target: str = ""
    raw: bool = False
    folder: bool = False


class Wanted(msgspec.Struct, frozen=True):
    """An output: a parameter's file, or an artifact."""

    path: str
    name: str
    artifact: Artifact | None = None


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """What goes into a pod, and what is wanted of it."""

    given: tuple[Given, ...] = ()
    wanted: tuple[Wanted, ...] = ()
    script: str | None = None
    keeps_result: bool = False


class Gave(msgspec.Struct, frozen=True, omit_defaults=True):
    """An artifact that a pod gave; `folder`: as `Given.folder`."""

    file: File
    folder: bool = False


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a pod gave: outputs that are not there were not written."""

    code: int
    parameters: dict[str, str] = {}
    artifacts: dict[str, Gave] = {}
    result: str | None = None


class RunArea:
    """Of one run of a workflow."""

    def __init__(self, store: ObjectStore, uid: str) -> None:
        self.store, self._folder = store, f"{FOLDER}/{uid}"
        self._given: dict[str, File] = {}
        self._giving: dict[str, threading.Lock] = {}

    def give(self, id: str, make: Callable[[], Path]) -> File:
        """Puts a file there for pods, once for each id, however many ask for it at once; `make` makes it, the same whenever the id is the same."""
        with self._giving.setdefault(id, threading.Lock()):
            if id not in self._given:
                self._given[id] = put_file(self.store, f"{self._folder}/in/{id}", make())
            return self._given[id]

    def pod(self, name: str, number: int) -> "PodArea":
        """Of one of its pods, in a try."""
        return PodArea(self.store, f"{self._folder}/pods/{name}/{number}")

    def remove(self) -> None:
        """Removes all of it."""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for _ in threads.map(self.store.delete, [found.key for found in self.store.list(self._folder)]):
                pass


class PodArea:
    """Of one pod."""

    def __init__(self, store: ObjectStore, folder: str) -> None:
        self.store, self.folder = store, folder

    def write_order(self, order: Order) -> None:
        """Keeps the order; of one that goes on with the pod it is the same."""
        self.store.put_new(f"{self.folder}/order", msgspec.json.encode(order))

    def order(self) -> Order:
        """The order."""
        return msgspec.json.decode(self.store.get(f"{self.folder}/order"), type=Order)

    def put_output(self, number: int, path: Path, *, id: str) -> File:
        """Puts an artifact there; `id` is another one for each process."""
        return put_file(self.store, f"{self.folder}/out/{id}/{number}", path)

    def write_answer(self, answer: Answer) -> None:
        """Says what the pod gave; the first counts."""
        self.store.put_new(f"{self.folder}/answer", msgspec.json.encode(answer))

    def find_answer(self) -> Answer | None:
        """What the pod gave, once that is there."""
        try:
            return msgspec.json.decode(self.store.get(f"{self.folder}/answer"), type=Answer)
        except NotFoundError:
            return None


def put_file(store: ObjectStore, place: str, path: Path) -> File:
    """Stores a file in parts."""
    parts = 0
    with open(path, "rb") as file:
        while (data := file.read(PART_BYTES)) or not parts:
            store.put_new(f"{place}/{parts}", data)
            parts += 1
    return File(place, parts)


def get_file(store: ObjectStore, file: File, target: Path) -> None:
    """Writes a stored file; nobody sees a part of it under its name.

    Raises:
        NotFoundError: `object-not-found`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".{secrets.token_hex(8)}.new")
    try:
        with open(new, "wb") as written:
            for part in range(file.parts):
                written.write(store.get(f"{file.place}/{part}"))
        os.replace(new, target)
    finally:
        new.unlink(missing_ok=True)
