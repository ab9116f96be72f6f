"""What was downloaded from a bucket is kept for a day: a put that was killed goes on where it was, and one that is repeated reads what is new.

The objects below a prefix are downloaded in batches. What came of a batch becomes a file set whose id follows from the URL and from the name, size and tag of
each object, so that nothing else has to be remembered: whoever lists the same objects again finds it.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from xxhash import xxh3_64_intdigest

from pachyderm_dagster.codec import digest
from pachyderm_dagster.errors import NotFoundError, PachydermError
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs.file_sets import get_file_set, replace_file_set
from pachyderm_dagster.pfs.filesets import FileSet
from pachyderm_dagster.pfs.horizon import check_not_collected
from pachyderm_dagster.pfs.object_sources import RemoteObject
from pachyderm_dagster.pfs.staging import add_layer, load_layer
from pachyderm_dagster.storage.content import Content, ContentWriter
from pachyderm_dagster.storage.objects import ObjectStore, is_damage

KEPT = dt.timedelta(days=1)
BATCH_OBJECTS = 1000
BATCH_BYTES = 64 * 1024 * 1024
# A batch ends after one name in so many, so that a new object changes the batch that it falls into and none behind it.
_NAMES_PER_BATCH = 256
_ID_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Batch:
    """Objects below a URL that are downloaded and kept together.

    Attributes:
        id: of their file set; None when the store gives no tags, so that nobody could tell whether an object changed.
    """

    objects: Sequence[RemoteObject]
    id: str | None

    @property
    def size_bytes(self) -> int:
        """Of all objects."""
        return sum(one.size for one in self.objects)


def cut_into_batches(url: str, objects: Sequence[RemoteObject]) -> Iterator[Batch]:
    """The objects of a listing in its order, at most `BATCH_OBJECTS` of them and about `BATCH_BYTES` together."""
    batch: list[RemoteObject] = []
    size = 0
    for one in objects:
        batch.append(one)
        size += one.size
        if len(batch) == BATCH_OBJECTS or size >= BATCH_BYTES or not xxh3_64_intdigest(one.name.encode()) % _NAMES_PER_BATCH:
            yield Batch(batch, _id_of(url, batch))
            batch, size = [], 0
    if batch:
        yield Batch(batch, _id_of(url, batch))


class KeptDownloads:
    """Finds and keeps what came of batches. Make it before the write begins that it is for."""

    def __init__(self, database: Database, store: ObjectStore) -> None:
        self._database = database
        self._store = store
        self._since = database.clock.now()

    def find(self, batch: Batch) -> pa.Table | None:
        """The contents of a batch that was kept, in its order: columns size, hash, refs. None when it has to be downloaded."""
        if batch.id is None:
            return None
        try:
            with self._database.read() as txn:
                (staged,) = get_file_set(txn, batch.id).layers
            return load_layer(self._store, staged).puts.sort_by("key").select(["size", "hash", "refs"])
        except NotFoundError:
            return None
        except PachydermError as error:
            if not is_damage(error):
                raise
            return None

    def keep(self, batch: Batch, contents: Sequence[Content], writer: ContentWriter) -> None:
        """Keeps the contents of a batch, in its order; `writer` holds those that are not stored yet.

        Raises:
            ConflictError: `write-collected`.
        """
        if batch.id is None:
            return
        own_id = batch.id
        files = FileSet(writer)
        for number, content in enumerate(contents):
            files.put_content(f"/{number:08}", content)
        (layer,) = files.layers(durable=False)
        staged = add_layer(writer.packs, layer)
        writer.flush()

        def change(txn: Transaction) -> None:
            check_not_collected(txn, self._since)
            replace_file_set(txn, own_id, [staged], KEPT)

        self._database.write(change)


def _id_of(url: str, objects: Sequence[RemoteObject]) -> str | None:
    if any(one.tag is None for one in objects):
        return None
    parts = (part for one in objects for part in (one.name, str(one.size), one.tag or ""))
    return digest("download", [url.encode(), *(part.encode() for part in parts)]).hex()[:_ID_DIGITS]
