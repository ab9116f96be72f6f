"""The content of one file: written as chunks, read back verified.

A chunk of 1 MiB or more is an object of its own, named by its id, so that storing it again stores nothing; a smaller one goes into a pack.
Only the last chunk of a content can be smaller. The hash of a content is that of its bytes when it is one chunk, else a digest of the chunks' ids.
"""

import io
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

import msgspec

from pachyderm_dagster.codec import Buffer, content_digest, digest
from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.storage.chunks import MIN_CHUNK_BYTES, Readable, chunk_buffer, chunk_stream
from pachyderm_dagster.storage.objects import ObjectBatch, ObjectStore, Ref, StoredRanges, corrupt_object, get_ref, object_key
from pachyderm_dagster.storage.own_process import OwnProcess
from pachyderm_dagster.storage.packs import PackWriter, PendingRanges
from pachyderm_dagster.storage.ranges import read_ranges

_THREADS = 8  # most of the time they wait for the disk or the network
_CHUNKS_UNDER_WAY = 8
_READ_AHEAD = 2

T = TypeVar("T")


class Content(msgspec.Struct, frozen=True):
    """Where the bytes of a file are.

    Args:
        hash: equal for equal bytes and the other way round, 32 bytes.
        size: in bytes.
        refs: a reference a chunk, in order; none for an empty content.
    """

    hash: bytes
    size: int
    refs: tuple[Ref, ...]


EMPTY_CONTENT = Content(content_digest(b""), 0, ())


def hash_of_chunks(chunk_ids: Sequence[bytes]) -> bytes:
    """The hash of a content from the ids of its chunks."""
    match chunk_ids:
        case []:
            return EMPTY_CONTENT.hash
        case [only]:
            return only
    return digest("file", chunk_ids)


class ContentWriter:
    """Writes contents; nothing may refer to them before `flush` or `close` made them durable.

    As a context manager it closes at the end, and drops what is pending if the block raised. For one thread at a time, and for the process that made it:
    a forked child that writes or closes gets StateError `writer-forked`, and nothing is stored or dropped on its behalf.

    Attributes:
        packs: where small chunks go; what belongs to the same write may go there too.
        process: the one that may write.
    """

    def __init__(self, store: ObjectStore) -> None:
        self.packs = PackWriter(store)
        self.process = OwnProcess()
        self._store = store
        self._stored_bytes = 0
        self._pool: ThreadPoolExecutor | None = None
        self._batch: ObjectBatch | None = None
        self._under_way: deque[Future[_Stored]] = deque()

    @property
    def stored_bytes(self) -> int:
        """What everything written so far adds to the store: chunks that it did not have, and what went into packs. Exact behind `flush`."""
        return self._stored_bytes + self.packs.added_bytes

    def count_stored(self, size: int) -> None:
        """Adds to `stored_bytes` what was stored on behalf of this writer by other means."""
        self._stored_bytes += size

    def write(self, data: Buffer) -> Content:
        """Stores `data`, which must not change before `flush`.

        Raises:
            StorageError: `storage-full` and whatever else `ObjectStore.put_new` raises, here or at `flush`; so do the other methods.
        """
        self.process.check()
        if len(data) < MIN_CHUNK_BYTES:
            return self._pack(data)
        return self._write_chunks(chunk_buffer(data), ())

    def write_stream(self, stream: Readable) -> Content:
        """Stores what `stream` gives until its end, in bounded memory (about 100 MiB)."""
        return self.begin_stream(stream).result()

    def begin_stream(self, stream: Readable) -> "PendingContent":
        """As `write_stream`, but its last chunks may still be on their way when all of it is read, so that those of another follow them without a pause."""
        return self._begin_chunks(chunk_stream(b"", stream, self._finish_chunks), ())

    def append(self, old: Content, data: Buffer | Readable) -> Content:
        """Stores `data` behind the bytes of `old`; the result equals one write of both.

        Raises:
            NotFoundError: `object-not-found`, when the last chunk of `old` is gone.
            StorageError: `object-corrupt`, when that chunk is not what was written.
        """
        stream = io.BytesIO(data) if isinstance(data, bytes | bytearray | memoryview) else data
        last = self._read_last_chunk(old) if old.refs else b""
        return self._write_chunks(chunk_stream(last, stream, self._finish_chunks), old.refs[:-1])

    def flush(self) -> None:
        """Makes everything written so far durable. When it raises, the next call tries again, and raises too if a chunk could not be made durable that the
        store had already taken.
        """
        self.flush_chunks()
        self.packs.flush()

    def flush_chunks(self) -> None:
        """Makes those chunks durable that are objects of their own."""
        self.process.check()
        # A chunk that could not be stored belongs to a write that raised, so that no later flush needs it.
        under_way, self._under_way = self._under_way, deque()
        wait(under_way)
        for future in under_way:
            self._finish_chunk(future)
        if self._batch is not None:
            self._batch.flush()

    def close(self) -> None:
        """Makes everything durable and lets go of threads."""
        try:
            self.flush()
        finally:
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self._stop()

    def _stop(self) -> None:
        if not self.process.is_ours:
            return  # the threads did not come along, and what is under way is the parent's
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        if self._batch is not None:
            self._batch.stop()
        self._under_way.clear()
        self.packs.stop()

    def _pack(self, data: Buffer) -> Content:
        if not len(data):
            return EMPTY_CONTENT
        chunk_id = content_digest(data)
        return Content(chunk_id, len(data), (self.packs.add(data, chunk_id),))

    def _write_chunks(self, chunks: Iterable[Buffer], before: tuple[Ref, ...]) -> Content:
        """Stores `chunks`, which follow `before` (chunks that are objects of their own)."""
        return self._begin_chunks(chunks, before).result()

    def _begin_chunks(self, chunks: Iterable[Buffer], before: tuple[Ref, ...]) -> "PendingContent":
        self.process.check()
        large: list[tuple[int, Future[_Stored]]] = []
        tail = EMPTY_CONTENT
        for chunk in chunks:
            if len(chunk) >= MIN_CHUNK_BYTES:
                large.append((len(chunk), self._put_chunk(chunk)))
            else:
                tail = self._pack(bytes(chunk))  # a copy: a view would keep the whole content in memory until the pack is full
        return PendingContent(before, large, tail)

    def _put_chunk(self, chunk: Buffer) -> "Future[_Stored]":
        """Stores a chunk as its own object in another thread; it is durable behind `flush_chunks`."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="chunks")
        if self._batch is None:
            self._batch = self._store.begin_batch()
        self._finish_chunks(_CHUNKS_UNDER_WAY - 1)
        future = self._pool.submit(_put_chunk, self._batch, chunk)
        self._under_way.append(future)
        return future

    def _finish_chunks(self, remaining: int) -> None:
        """Waits until only so many chunks, the last ones, are still read from."""
        while len(self._under_way) > remaining:
            self._finish_chunk(self._under_way.popleft())

    def _finish_chunk(self, future: "Future[_Stored]") -> None:
        self._stored_bytes += future.result().bytes

    def _read_last_chunk(self, content: Content) -> Buffer:
        """The last chunk, verified: what is made of it gets a hash of its own, which would hide that it was damaged."""
        *earlier, last = content.refs
        pending = self.packs.find_pending(last)
        if pending is None:
            self.flush_chunks()  # what was kept just now cannot be read before
        chunk = get_ref(self._store, last) if pending is None else pending
        if hash_of_chunks([*(ref.object for ref in earlier), content_digest(chunk)]) != content.hash:
            raise corrupt_content(last)
        return chunk


class PendingContent:
    """A content of which chunks are on their way into the store."""

    def __init__(self, before: tuple[Ref, ...], large: "Sequence[tuple[int, Future[_Stored]]]", tail: Content) -> None:
        self._before, self._large, self._tail = before, large, tail

    def result(self) -> Content:
        """The content, when they are there; raises as `ContentWriter.write_stream`."""
        own = (*self._before, *(Ref(future.result().id, 0, length) for length, future in self._large))
        ids = [ref.object for ref in own] + ([self._tail.hash] if self._tail.refs else [])
        refs = own + self._tail.refs
        return Content(hash_of_chunks(ids), sum(ref.length for ref in refs), refs)


class _Stored(NamedTuple):
    """A chunk's id, and what it added to the store."""

    id: bytes
    bytes: int


def _put_chunk(batch: ObjectBatch, chunk: Buffer) -> _Stored:
    chunk_id = content_digest(chunk)
    return _Stored(chunk_id, len(chunk) * batch.keep(object_key(chunk_id), chunk))


class ContentReader:
    """Reads contents back.

    All methods raise `NotFoundError` `object-not-found` and `StorageError` `object-corrupt`; bytes that fail the check are not given out.
    """

    def __init__(self, store: StoredRanges) -> None:
        self._store = store
        self._open_pool()

    def _open_pool(self) -> None:
        # Not one a stream: that would have to be waited for when a stream is left in the middle, which may happen in the garbage collector.
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="chunks")
        self._process = OwnProcess()

    def submit(self, work: Callable[[StoredRanges], T]) -> Future[T]:
        """Has `work` done with the store in one of this reader's threads."""
        if not self._process.is_ours:
            self._open_pool()  # the parent's threads did not come along, and would be waited for in vain
        return self._pool.submit(work, self._store)

    def pending(self, packs: PackWriter) -> "ContentReader":
        """A reader, for one thread, of those contents too that are in `packs` and not stored yet."""
        return ContentReader(PendingRanges(self._store, packs))

    def read(self, content: Content) -> bytes:
        """All bytes of `content`, verified."""
        return b"".join(self.stream(content))

    def stream(self, content: Content, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes from `offset`, at most `length`, a chunk a piece.

        A whole content is verified, of a part only the chunks that are objects of their own and read whole.
        """
        end = content.size if length is None else min(content.size, offset + length)
        if offset <= 0 and end == content.size:
            yield from _verified(content, self._read_ahead(content.refs))
            return
        position = 0
        for ref in content.refs:
            start, stop = max(offset - position, 0), min(end - position, ref.length)
            position += ref.length
            if start < stop:
                piece = get_ref(self._store, Ref(ref.object, ref.offset + start, stop - start))
                if stop - start == ref.length:
                    check_own_object(ref, content_digest(piece))
                yield bytes(piece)

    def _read_ahead(self, refs: Sequence[Ref]) -> Iterator[tuple[bytes, bytes]]:
        """Each chunk and its id; the next ones are read and hashed meanwhile."""
        if len(refs) == 1:
            yield _get_chunk(refs[0], self._store)
            return
        under_way: deque[Future[tuple[bytes, bytes]]] = deque()
        for ref in refs:
            under_way.append(self.submit(partial(_get_chunk, ref)))
            if len(under_way) > _READ_AHEAD:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()

    def read_many(self, contents: Sequence[Content]) -> Iterator[bytes]:
        """All bytes of each content in turn, verified. Contents that lie one after another in a pack are read together, 8 MiB at a time."""
        pieces = read_ranges(self._store, (ref for content in contents for ref in content.refs))
        for content in contents:
            chunks = ((bytes(piece), content_digest(piece)) for piece in itertools.islice(pieces, len(content.refs)))
            yield b"".join(_verified(content, chunks))


def _get_chunk(ref: Ref, store: StoredRanges) -> tuple[bytes, bytes]:
    data = get_ref(store, ref)
    return bytes(data), content_digest(data)


def _verified(content: Content, chunks: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """The chunks (given with their ids) of a whole content, the last only if the hash of all is right."""
    ids: list[bytes] = []
    for ref, (data, chunk_id) in zip(content.refs, chunks, strict=True):
        ids.append(chunk_id)
        check_own_object(ref, chunk_id)
        if len(ids) == len(content.refs) and hash_of_chunks(ids) != content.hash:
            raise corrupt_content(ref)
        yield data


def check_own_object(ref: Ref, chunk_id: bytes) -> None:
    """Raises StorageError `object-corrupt` when a chunk that is an object of its own, of which `chunk_id` is what was read, is not what was written."""
    if ref.length >= MIN_CHUNK_BYTES and chunk_id != ref.object:
        raise corrupt_content(ref)


def corrupt_content(ref: Ref) -> StorageError:
    """The error for a piece of a content that is not what was written."""
    return corrupt_object(object_key(ref.object), f"the {ref.length} bytes from {ref.offset} are not what was written")
