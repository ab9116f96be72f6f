"""Cutting by content."""

import io
import random

import pytest

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.storage.chunks import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, Readable, chunk_buffer, chunk_stream

MIB = 1024 * 1024
RANDOM = random.Random(20).randbytes(60 * MIB)


class Dribble:
    """A stream that gives less than it is asked for, as pipes and sockets do."""

    def __init__(self, data: bytes, most: int) -> None:
        self._stream = io.BytesIO(data)
        self._most = most

    def read(self, size: int, /) -> bytes:
        return self._stream.read(min(size, self._most))


class DribbleInto(Dribble):
    def readinto(self, target: memoryview) -> int:
        return self._stream.readinto(target[: self._most])


def lengths(data: bytes) -> list[int]:
    return [len(chunk) for chunk in chunk_buffer(data)]


def streamed(head: bytes, stream: Readable) -> list[bytes]:
    """The digests of a stream's chunks, each taken as late as it may be."""
    digests: list[bytes] = []
    held: list[memoryview] = []

    def let_go(remaining: int) -> None:
        while len(held) > remaining:
            digests.append(content_digest(held.pop(0)))

    for chunk in chunk_stream(head, stream, let_go):
        held.append(chunk)
    let_go(0)
    return digests


def test_chunks_joined_are_the_data() -> None:
    assert b"".join(chunk_buffer(RANDOM)) == RANDOM


def test_chunks_are_between_one_and_eight_mib_but_for_the_last() -> None:
    sizes = lengths(RANDOM + bytes(40 * MIB))
    assert all(MIN_CHUNK_BYTES <= size <= MAX_CHUNK_BYTES for size in sizes[:-1])
    assert 0 < sizes[-1] <= MAX_CHUNK_BYTES
    assert MAX_CHUNK_BYTES in sizes  # zeros have no boundary of their own


def test_boundaries_are_those_of_format_1() -> None:
    # The lengths that FastCDC 2020 gives with our parameters: with others, what is put again has another hash and is stored again.
    assert lengths(RANDOM[: 12 * MIB]) == [2127133, 2347077, 2371326, 2169842, 2492701, 1074833]


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 8 * MIB, 23 * MIB, 24 * MIB, 24 * MIB + 1, 60 * MIB])
def test_stream_is_cut_as_the_same_bytes_in_memory(size: int) -> None:
    data = RANDOM[:size]
    expected = [content_digest(chunk) for chunk in chunk_buffer(data)]
    assert streamed(b"", io.BytesIO(data)) == expected
    assert streamed(data[: size // 3], io.BytesIO(data[size // 3 :])) == expected


def test_stream_without_boundaries_is_cut_at_the_most() -> None:
    assert streamed(b"", io.BytesIO(bytes(30 * MIB))) == [content_digest(bytes(8 * MIB))] * 3 + [content_digest(bytes(6 * MIB))]


@pytest.mark.parametrize("stream", [Dribble(RANDOM[: 20 * MIB], 65_537), DribbleInto(RANDOM[: 20 * MIB], 100_003)])
def test_stream_that_dribbles_is_cut_the_same(stream: Dribble) -> None:
    assert streamed(b"", stream) == [content_digest(chunk) for chunk in chunk_buffer(RANDOM[: 20 * MIB])]


def test_cut_does_not_depend_on_what_follows() -> None:
    (whole, *_) = lengths(RANDOM)
    assert all(lengths(RANDOM[: whole + more])[0] == whole for more in [0, 2, 3, 255, 65_537, MIB + 1, 9 * MIB])


def test_cutting_resumes_at_any_boundary() -> None:
    sizes = lengths(RANDOM)
    assert lengths(RANDOM[sum(sizes[:3]) :]) == sizes[3:]


def test_insert_changes_few_chunks() -> None:
    middle = len(RANDOM) // 2
    before = {content_digest(chunk) for chunk in chunk_buffer(RANDOM)}
    after = {content_digest(chunk) for chunk in chunk_buffer(RANDOM[:middle] + b"!" + RANDOM[middle:])}
    assert len(before) > 8
    assert len(after - before) <= 2
