"""Extracts as bytes: what is written is read, and nothing that differs from it is."""

import io
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.errors import PachydermError, StateError, StorageError
from pachyderm_dagster.moving.frames import Frame, FrameEncoder, FrameKind, read_frames

BODIES = st.lists(st.tuples(st.sampled_from([FrameKind.OBJECT, FrameKind.ROWS]), st.binary(max_size=40), st.binary(max_size=200)), max_size=6)
Content = Sequence[tuple[FrameKind, bytes, bytes]]


def written(content: Content) -> bytes:
    encoder = FrameEncoder()
    parts = [encoder.begin()]
    for kind, name, body in [*content, (FrameKind.END, b"", b"")]:
        parts += map(bytes, encoder.encode(kind, name, body))
    return b"".join(parts)


def read(data: bytes) -> list[Frame]:
    return list(read_frames(io.BytesIO(data), "here"))


@given(BODIES)
def test_frames_are_read_as_they_were_written(content: Content) -> None:
    assert [(frame.kind, frame.name, frame.body) for frame in read(written(content))] == [*content, (FrameKind.END, b"", b"")]


@given(BODIES, st.data())
def test_extract_that_ends_early_is_refused(content: Content, data: st.DataObject) -> None:
    whole = written(content)
    length = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(PachydermError) as refused:
        read(whole[:length])
    assert refused.value.code in ("extract-torn", "extract-format")


@given(BODIES, st.data())
def test_no_byte_may_differ(content: Content, data: st.DataObject) -> None:
    whole = bytearray(written(content))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(PachydermError) as refused:
        read(bytes(whole))
    assert refused.value.code in ("extract-corrupt", "extract-torn", "extract-format")


def test_frames_cannot_change_places() -> None:
    one, two = (FrameKind.OBJECT, b"a" * 32, b"alpha"), (FrameKind.OBJECT, b"b" * 32, b"beta!")
    size = (len(written([one, two])) - len(written([]))) // 2
    begin = len(FrameEncoder().begin())
    data = written([one, two])
    swapped = data[:begin] + data[begin + size : begin + 2 * size] + data[begin : begin + size] + data[begin + 2 * size :]
    with pytest.raises(StorageError, match=r"frame 1, which begins at byte 28 \(object 6262"):
        read(swapped)


def test_what_repeats_is_compressed_and_what_does_not_is_kept() -> None:
    assert len(written([(FrameKind.ROWS, b"", b"again " * 10_000)])) < 1_000
    noise = bytes((at * at * 31 + at // 7) % 251 for at in range(5_000))
    assert read(written([(FrameKind.ROWS, b"", noise)]))[0].body == noise


def test_torn_extract_is_told_by_name_and_place() -> None:
    with pytest.raises(StorageError, match="here ends after 100 bytes, in frame 1, which begins at byte 28"):
        read(written([(FrameKind.OBJECT, b"a" * 32, bytes(range(256)) * 2)])[:100])


def test_nothing_is_no_extract() -> None:
    with pytest.raises(StorageError, match="here holds nothing"):
        read(b"")


def test_other_files_and_later_versions_are_refused() -> None:
    with pytest.raises(StateError, match="is no extract"):
        read(b"PK\x03\x04 something else")
    with pytest.raises(StateError, match="extract of version 2, and this version reads 1"):
        read(b"pachyderm-dagster extract 2\n")
