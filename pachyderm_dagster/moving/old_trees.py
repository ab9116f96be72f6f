"""The trees of commits of Pachyderm 1.x: which files there were, and what each was put together from.

There are three forms: of 1.7, one message; from 1.8 on, of what users wrote, buckets of keys and nodes, of what pipelines wrote several trees of them.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

from pachyderm_dagster.moving.wire import Fields, bytes_of, fields_of, is_snappy, message_of, messages_of, number_of, read_framed, text_of, unsnapped

# Field numbers of hashtree.proto.
_NODES, _KEY, _NODE = 2, 1, 2  # HashTreeProto: a map
_FILE = 4  # NodeProto
_OBJECTS, _HEADED = 4, 6  # FileNodeProto; the references to blocks beside them are known by their form
_HASH = 1
_FILES_BUCKET = b"\x0a\x02fs"
_SENTINEL = b"*"
_SEPARATOR = b"\0"


@dataclass(frozen=True, slots=True)
class BlockRange:
    """A range of a block."""

    block: str
    lower: int
    upper: int


@dataclass(frozen=True, slots=True)
class OldFile:
    """A file: its path, and the objects (by hash) or ranges of blocks that it is made of, one behind another.

    Attributes:
        headed: a header or footer of its directory belonged to it too, which is not here.
    """

    path: str
    objects: tuple[str, ...]
    blocks: tuple[BlockRange, ...]
    headed: bool


def files_of_tree(data: bytes) -> Iterator[OldFile]:
    """The files of a serialized tree of a commit that has one."""
    if is_snappy(data):
        data = b"".join(unsnapped(io.BytesIO(data)))
    if data[8 : 8 + len(_FILES_BUCKET)] == _FILES_BUCKET:
        yield from _files_of_buckets(data)
        return
    for entry in messages_of(fields_of(data), _NODES):
        yield from _file(text_of(entry, _KEY), message_of(entry, _NODE) or {})


def files_of_shard(data: bytes) -> Iterator[OldFile]:
    """The files of one of the several trees of an output commit."""
    frames = read_framed(io.BytesIO(data))
    for key in frames:
        yield from _file(_path(key), fields_of(next(frames, b"")))


def _files_of_buckets(data: bytes) -> Iterator[OldFile]:
    frames = read_framed(io.BytesIO(data))
    for header in frames:
        is_files = bytes_of(fields_of(header), 1) == b"fs"
        for key in frames:
            if key == _SENTINEL:
                break
            value = next(frames, b"")
            if is_files:
                yield from _file(_path(key), fields_of(value))


def _path(key: bytes) -> str:
    return key.replace(_SEPARATOR, b"/").decode()


def _file(path: str, node: Fields) -> Iterator[OldFile]:
    found = message_of(node, _FILE)
    if found is None:
        return  # a directory
    objects = tuple(text_of(each, _HASH) for each in messages_of(found, _OBJECTS))
    numbers = sorted(number for number in found if number not in (_OBJECTS, _HEADED))
    blocks = tuple(_block_range(each) for number in numbers for each in messages_of(found, number))
    yield OldFile(path, objects, blocks, headed=bool(number_of(found, _HEADED)))


def _block_range(reference: Fields) -> BlockRange:
    within = message_of(reference, 2) or {}
    return BlockRange(text_of(message_of(reference, 1) or {}, _HASH), number_of(within, 1), number_of(within, 2))
