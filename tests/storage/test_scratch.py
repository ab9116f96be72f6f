"""Tables on disk are those in memory."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.storage.scratch import Scratch

SCHEMA = pa.schema([("text", pa.string()), ("hash", pa.binary(2)), ("number", pa.int64()), ("small", pa.uint8())])
ROWS = st.lists(st.tuples(st.text(max_size=3), st.binary(min_size=2, max_size=2), st.integers(-(2**63), 2**63 - 1), st.integers(0, 255)), max_size=9)


def table(rows: list[tuple[str, bytes, int, int]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)


@given(parts=st.lists(st.tuples(ROWS, st.integers(0, 3))), most_bytes=st.integers(0, 300), most_text=st.integers(1, 50))
def test_table_has_the_rows_that_came(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[list[tuple[str, bytes, int, int]], int]], most_bytes: int, most_text: int
) -> None:
    scratch = Scratch(tmp_path_factory.getbasetemp(), most_bytes=most_bytes, most_text=most_text)
    kept = scratch.keep(SCHEMA, (table(rows).slice(start) for rows, start in parts))
    expected = [dict(zip(SCHEMA.names, row, strict=True)) for rows, start in parts for row in rows[start:]]
    for _ in range(2):
        assert kept.schema == SCHEMA
        assert kept.to_pylist() == expected
        kept.validate(full=True)
        scratch.let_go()


def test_rows_are_neither_in_memory_nor_seen_in_the_folder(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "made")
    parts = (table([(f"{number:08}", b"ab", number, 1) for number in range(start, start + 1000)]) for start in range(0, 300_000, 1000))
    before = pa.total_allocated_bytes()
    kept = scratch.keep(SCHEMA, parts)
    assert kept.nbytes > 300_000 * 20
    assert pa.total_allocated_bytes() - before < 1 << 18
    assert [column.num_chunks for column in kept.columns] == [1, 1, 1, 1]
    assert not list((tmp_path / "made").iterdir())


def test_small_table_makes_no_file(tmp_path: Path) -> None:
    kept = Scratch(tmp_path / "never").keep(SCHEMA, [table([("a", b"ab", 1, 2)]), table([("b", b"cd", 3, 4)])])
    assert kept.column("text").to_pylist() == ["a", "b"]
    assert not (tmp_path / "never").exists()


def test_strings_that_one_array_cannot_hold_are_in_several(tmp_path: Path) -> None:
    kept = Scratch(tmp_path, most_bytes=1, most_text=30).keep(SCHEMA, [table([(text, b"ab", 1, 2)]) for text in ("a" * 9, "b" * 9, "c" * 9, "d" * 9)])
    assert kept.column("text").to_pylist() == ["a" * 9, "b" * 9, "c" * 9, "d" * 9]
    assert all(len(chunk.buffers()[2]) <= 30 for chunk in kept.column("text").chunks)
    assert kept.column("text").num_chunks > 1


def test_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(StorageError, match="free some space") as caught:
        Scratch(tmp_path, most_bytes=1).keep(SCHEMA, [table([("a", b"ab", 1, 2)])])
    assert caught.value.code == "storage-full"


def test_nulls_are_refused(tmp_path: Path) -> None:
    rows = pa.table([pa.array([None], field.type) for field in SCHEMA], schema=SCHEMA)
    with pytest.raises(ValueError, match="nulls"):
        Scratch(tmp_path, most_bytes=1).keep(SCHEMA, [rows])
