"""Many files as columns: names, and where their bytes are, without an object for each."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Self

import msgspec

from pachyderm_dagster.codec import DIGEST_BYTES, content_digest
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.objects import OBJECT_ID_BYTES, Ref
from pachyderm_dagster.storage.packs import PackWriter

_BETWEEN = "\x01"  # no path holds it, and no key of one in a tree
_INTEGER_BYTES = 8


class ContentColumns(msgspec.Struct, frozen=True, array_like=True):
    """Contents, one behind another in each column.

    Args:
        sizes: in bytes, as integers of 8 bytes, little endian as all here.
        hashes: 32 bytes each.
        counts: how many references each has, as integers of 8 bytes.
        objects: 32 bytes a reference.
        offsets, lengths: in bytes, as integers of 8 bytes, a reference each.
    """

    sizes: bytes = b""
    hashes: bytes = b""
    counts: bytes = b""
    objects: bytes = b""
    offsets: bytes = b""
    lengths: bytes = b""

    @classmethod
    def of(cls, contents: Sequence[Content]) -> Self:
        """These contents, in their order."""
        refs = [ref for content in contents for ref in content.refs]
        return cls(
            _pack([content.size for content in contents]),
            b"".join([content.hash for content in contents]),
            _pack([len(content.refs) for content in contents]),
            b"".join([ref.object for ref in refs]),
            _pack([ref.offset for ref in refs]),
            _pack([ref.length for ref in refs]),
        )

    def __len__(self) -> int:
        return len(self.sizes) // _INTEGER_BYTES

    def split_sizes(self) -> Sequence[int]:
        """The size of each, in bytes."""
        return _unpack(self.sizes)

    def __iter__(self) -> Iterator[Content]:
        refs = list(map(Ref, _cut(self.objects, OBJECT_ID_BYTES), _unpack(self.offsets), _unpack(self.lengths)))
        places = pairwise(accumulate(_unpack(self.counts), initial=0))
        for size, own_hash, (start, end) in zip(_unpack(self.sizes), _cut(self.hashes, DIGEST_BYTES), places, strict=True):
            yield Content(own_hash, size, tuple(refs[start:end]))


class FileColumns(msgspec.Struct, frozen=True, array_like=True):
    """Files with a name each, none of them empty.

    Args:
        names: in one piece; `split_names` gives each.
        contents: in the same order.
    """

    names: str = ""
    contents: ContentColumns = ContentColumns()

    @classmethod
    def of(cls, files: Iterable[tuple[str, Content]]) -> Self:
        """These files, in their order."""
        pairs = list(files)
        return cls.named([name for name, _ in pairs], ContentColumns.of([content for _, content in pairs]))

    @classmethod
    def named(cls, names: Iterable[str], contents: ContentColumns) -> Self:
        """A name for each content, in the same order; keys or paths, which hold no byte 1."""
        return cls(_BETWEEN.join(names), contents)

    def __len__(self) -> int:
        return len(self.contents)

    def __iter__(self) -> Iterator[tuple[str, Content]]:
        return zip(self.split_names(), self.contents, strict=True)

    def split_names(self) -> list[str]:
        """The name of each."""
        return self.names.split(_BETWEEN) if self.names else []

    def prefixed(self, prefix: str) -> Self:
        """The same files with `prefix` before each name."""
        return type(self)(prefix + self.names.replace(_BETWEEN, _BETWEEN + prefix), self.contents) if self.names else self


def join_contents(parts: Iterable[ContentColumns]) -> ContentColumns:
    """The contents of all, in their order."""
    return ContentColumns(*(b"".join(column) for column in zip(*map(msgspec.structs.astuple, parts), strict=True)))


def join_files(parts: Iterable[FileColumns]) -> FileColumns:
    """The files of all, in their order."""
    filled = [part for part in parts if part.names]
    return FileColumns.named([part.names for part in filled], join_contents(part.contents for part in filled))


def pack_small(packs: PackWriter, contents: Sequence[bytes]) -> ContentColumns:
    """Takes contents, each smaller than `MIN_CHUNK_BYTES`, into packs, where they lie one behind another; durable when `packs` was flushed.

    Raises:
        StorageError: as `PackWriter.add`.
    """
    ids = [content_digest(data) for data in contents]
    filled = [data for data in contents if data]
    ref = packs.add_many(filled, [own_id for own_id, data in zip(ids, contents, strict=True) if data])
    lengths = list(map(len, filled))
    return ContentColumns(
        sizes=_pack([len(data) for data in contents]),
        hashes=b"".join(ids),
        counts=_pack([1 if data else 0 for data in contents]),
        objects=ref.object * len(filled),
        offsets=_pack(list(accumulate(lengths[:-1], initial=ref.offset)) if filled else []),
        lengths=_pack(lengths),
    )


def _pack(numbers: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}q", *numbers)


def _unpack(column: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(column) // _INTEGER_BYTES}q", column)


def _cut(column: bytes, length: int) -> list[bytes]:
    return [column[start : start + length] for start in range(0, len(column), length)]
