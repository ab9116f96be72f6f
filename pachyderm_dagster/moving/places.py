"""Where an extract is: a file or stream, which holds everything, or a folder or bucket with the objects beside a small stream in parts.

In a folder or bucket what is there of an extract that was interrupted, or of the last one, is not copied again.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from pachyderm_dagster.codec import Buffer
from pachyderm_dagster.errors import InvalidError, NotFoundError, StateError, StorageError
from pachyderm_dagster.moving.copying import copy_objects, is_empty, without_present
from pachyderm_dagster.moving.extracting import Extraction
from pachyderm_dagster.moving.frames import Frame, FrameEncoder, read_frames
from pachyderm_dagster.pfs.store_ids import find_store_id
from pachyderm_dagster.pfs.streams import Pieces
from pachyderm_dagster.pfs.structure import PREFIX as STRUCTURES
from pachyderm_dagster.storage.chunks import Readable
from pachyderm_dagster.storage.objects import OBJECTS, ObjectStore, find_object_id
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.storage_urls import shown
from pachyderm_dagster.storage.system_errors import storage_errors

EXTRACTS = "extracts"
COMPLETE = "complete"
PART_BYTES = 16 << 20
_URL = re.compile("[A-Za-z][A-Za-z0-9+.-]*://")


def url_of(place: str) -> str | None:
    """The storage URL of a place that is a folder or bucket: a URL, a folder that exists, a name that ends in `/`. None of a file."""
    if _URL.match(place):
        return place
    return Path(place).absolute().as_uri() if place.endswith("/") or os.path.isdir(place) else None


def write_file(extraction: Extraction, path: str, progress: Callable[[int], None]) -> None:
    """Writes an extract to a file, which has its name only when it is whole.

    Raises:
        StorageError: `storage-full`, `storage-denied`, `storage-failed`. Other errors as `Extraction.frames`.
    """
    partial = f"{path}.partial"
    with storage_errors("write", path):
        with open(partial, "wb") as file:
            write_stream(extraction, file, progress)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)


def write_stream(extraction: Extraction, out: IO[bytes], progress: Callable[[int], None]) -> None:
    """Writes an extract to a stream. Errors as `Extraction.frames`, and those of the stream."""
    for part in _encoded(extraction.frames(objects_inside=True, progress=progress)):
        out.write(part)


def write_store(extraction: Extraction, url: str, progress: Callable[[int], None]) -> None:
    """Brings the extract in a folder or bucket up to date: what it has of the objects stays, what is no longer needed goes at the end.

    Raises:
        StateError: `target-in-use`, when it is the store of a home.
        StorageError, UnreachableError, NotFoundError, InvalidError: as `open_store`. Other errors as `Extraction.frames`.
    """
    target = open_store(url)
    if find_store_id(target) is not None or not is_empty(target, STRUCTURES):
        raise StateError("target-in-use", f"{shown(url)} is the store of a home; extract to a place of its own")
    missing = without_present(target, extraction.ids, extraction.sizes)
    progress(sum(extraction.sizes) - _sum_of(extraction, missing))
    batch = target.begin_batch()
    try:
        for size in copy_objects(extraction.workspace.store, batch.keep, missing):
            extraction.check()
            progress(size)
        batch.flush()
    finally:
        batch.stop()
    own = f"{EXTRACTS}/{extraction.header.id}"
    for number, part in enumerate(_parts(_encoded(extraction.frames(objects_inside=False, progress=progress)))):
        target.put_new(f"{own}/{number:08d}", part)
    target.put_new(f"{own}/{COMPLETE}", b"")
    _sweep(target, own, extraction.ids)


@contextlib.contextmanager
def open_frames(place: str, stdin: Readable) -> Iterator[tuple[Iterator[Frame], ObjectStore | None]]:
    """The frames of the extract at a place (`-` is standard input), and the store with its objects where they lie beside it.

    Raises:
        NotFoundError: `extract-not-found`.
        InvalidError, StorageError, UnreachableError: as `open_store`; reading the frames as `read_frames`.
    """
    if place == "-":
        yield read_frames(stdin, "standard input"), None
    elif (url := url_of(place)) is not None:
        store = open_store(url)
        yield read_frames(Pieces(store.get(key) for key in _newest(store, shown(url))), shown(url)), store
    else:
        try:
            file = open(place, "rb")  # noqa: SIM115 - the error is that of opening, not of what is done with the file
        except FileNotFoundError as error:
            raise NotFoundError("extract-not-found", f"{place} does not exist; give the file, folder or URL that `pachctl extract` wrote") from error
        except OSError as error:
            raise InvalidError("source-unreadable", f"{place} cannot be read: {error.strerror}") from error
        with file, storage_errors("read", place):
            yield read_frames(file, place), None


def _encoded(frames: Iterator[Frame]) -> Iterator[Buffer]:
    encoder = FrameEncoder()
    yield encoder.begin()
    for frame in frames:
        yield from encoder.encode(frame.kind, frame.name, frame.body)


def _parts(pieces: Iterator[Buffer]) -> Iterator[Sequence[Buffer]]:
    """Pieces in groups of about `PART_BYTES`."""
    group: list[Buffer] = []
    size = 0
    for piece in pieces:
        group.append(piece)
        size += len(piece)
        if size >= PART_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _sum_of(extraction: Extraction, ids: list[bytes]) -> int:
    wanted = set(ids)
    return sum(size for object_id, size in zip(extraction.ids, extraction.sizes, strict=True) if object_id in wanted)


def _sweep(target: ObjectStore, own: str, ids: list[bytes]) -> None:
    """Removes earlier extracts, and then the objects that only they needed."""
    for found in list(target.list(EXTRACTS)):
        if not found.key.startswith(f"{own}/"):
            target.delete(found.key)
    needed = set(ids)
    for found in list(target.list(OBJECTS)):
        object_id = find_object_id(found.key)
        if object_id is not None and object_id not in needed:
            target.delete(found.key)


def _newest(store: ObjectStore, where: str) -> list[str]:
    """The keys of the parts of an extract: of several, which a killed one left, that which was complete last."""
    found = list(store.list(EXTRACTS))
    complete = [info for info in found if info.key.endswith(f"/{COMPLETE}")]
    if not found:
        raise NotFoundError("extract-not-found", f"{where} holds no extract; give the file, folder or URL that `pachctl extract` wrote")
    if not complete:
        raise StorageError("extract-torn", f"the extract at {where} was interrupted; `pachctl extract -o {where}` goes on with it")
    folder = max(complete, key=lambda info: info.modified).key.removesuffix(COMPLETE)
    return sorted(info.key for info in found if info.key.startswith(folder) and not info.key.endswith(f"/{COMPLETE}"))
