"""Writes contents into files: several chunks on their way at once, each verified before it is written, those of the next file right behind."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from functools import partial

from pachyderm_dagster.codec import Buffer, content_digest
from pachyderm_dagster.storage.content import Content, ContentReader, check_own_object, corrupt_content, hash_of_chunks
from pachyderm_dagster.storage.objects import Ref, StoredRanges, get_ref

_UNDER_WAY = 8  # chunks, of at most 8 MiB


@dataclass(slots=True, eq=False)
class _File:
    content: Content
    descriptor: int
    chunk_ids: list[bytes] = field(default_factory=list)

    def is_complete(self) -> bool:
        return len(self.chunk_ids) == len(self.content.refs)


def fill_files(reader: ContentReader, files: Iterable[tuple[Content, int]]) -> Iterator[int]:
    """Writes each content to its descriptor, that of an empty file, from the beginning.

    Args:
        files: asked for one after another. The descriptors belong to this function until it gives them back; when it raises, or is left, it closes those that
            it has, and their files may hold anything.

    Returns:
        The descriptors, in the same order, each when all of its content is in the file and verified.

    Raises:
        NotFoundError: `object-not-found`.
        StorageError: `object-corrupt`; bytes of a chunk that fails its check are not written.
        OSError: a file cannot be written.
    """
    begun: deque[_File] = deque()
    under_way: deque[tuple[_File, Future[bytes]]] = deque()
    try:
        for content, descriptor in files:
            file = _File(content, descriptor)
            begun.append(file)
            position = 0
            for ref in content.refs:
                if len(under_way) == _UNDER_WAY:
                    _await_chunk(under_way)
                under_way.append((file, reader.submit(partial(_fill_chunk, descriptor, ref, position))))
                position += ref.length
            yield from _complete(begun)
        while begun:
            yield from _complete(begun)
            if begun:
                _await_chunk(under_way)
    finally:
        # A number that is free again is that of the next file that anybody opens.
        wait([future for _, future in under_way])
        for file in begun:
            os.close(file.descriptor)


def _complete(begun: deque[_File]) -> Iterator[int]:
    """The first files, as far as they are complete."""
    while begun and begun[0].is_complete():
        content = begun[0].content
        if hash_of_chunks(begun[0].chunk_ids) != content.hash:
            raise corrupt_content(content.refs[-1])
        yield begun.popleft().descriptor


def _await_chunk(under_way: deque[tuple[_File, Future[bytes]]]) -> None:
    file, future = under_way.popleft()
    file.chunk_ids.append(future.result())


def _fill_chunk(descriptor: int, ref: Ref, position: int, store: StoredRanges) -> bytes:
    """Its id."""
    data = get_ref(store, ref)
    chunk_id = content_digest(data)
    check_own_object(ref, chunk_id)
    _write_at(descriptor, data, position)
    return chunk_id


def _write_at(descriptor: int, data: Buffer, position: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, position)
        view, position = view[written:], position + written
