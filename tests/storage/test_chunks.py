"""Cutting by content."""

import io
import random

import pytest

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.storage.chunks import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, chunk_buffer, chunk_stream

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


def test_chunks_joined_are_the_data() -> None:
    assert b"".join(chunk_buffer(RANDOM)) == RANDOM


def test_chunks_are_between_one_and_sixteen_mib_but_for_the_last() -> None:
    sizes = lengths(RANDOM + bytes(40 * MIB))
    assert all(MIN_CHUNK_BYTES <= size <= MAX_CHUNK_BYTES for size in sizes[:-1])
    assert 0 < sizes[-1] <= MAX_CHUNK_BYTES
    assert MAX_CHUNK_BYTES in sizes  # zeros have no boundary of their own


def test_boundaries_are_those_of_format_1() -> None:
    # The lengths that FastCDC 2020 gives with our parameters: another result is another storage format.
    assert lengths(RANDOM[: 12 * MIB]) == [7307602, 5275310]


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 16 * MIB, 47 * MIB, 48 * MIB, 48 * MIB + 1, 60 * MIB])
def test_stream_is_cut_as_the_same_bytes_in_memory(size: int) -> None:
    data = RANDOM[:size]
    expected = [content_digest(chunk) for chunk in chunk_buffer(data)]
    assert [content_digest(chunk) for chunk in chunk_stream(b"", io.BytesIO(data))] == expected
    assert [content_digest(chunk) for chunk in chunk_stream(data[: size // 3], io.BytesIO(data[size // 3 :]))] == expected


@pytest.mark.parametrize("stream", [Dribble(RANDOM[: 20 * MIB], 65_537), DribbleInto(RANDOM[: 20 * MIB], 100_003)])
def test_stream_that_dribbles_is_cut_the_same(stream: Dribble) -> None:
    assert [len(chunk) for chunk in chunk_stream(b"", stream)] == lengths(RANDOM[: 20 * MIB])


def test_cutting_resumes_at_any_boundary() -> None:
    sizes = lengths(RANDOM)
    assert lengths(RANDOM[sum(sizes[:3]) :]) == sizes[3:]


def test_insert_changes_few_chunks() -> None:
    middle = len(RANDOM) // 2
    before = {content_digest(chunk) for chunk in chunk_buffer(RANDOM)}
    after = {content_digest(chunk) for chunk in chunk_buffer(RANDOM[:middle] + b"!" + RANDOM[middle:])}
    assert len(before) > 8
    assert len(after - before) <= 2
