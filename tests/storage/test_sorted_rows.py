"""Rows in the order of their keys, whatever order they come in, and trees made of them."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.rows import TreeKind
from pachyderm_dagster.storage.sorted_rows import SortedRows
from pachyderm_dagster.storage.trees import Trees

KIND = TreeKind("sorted-test", pa.schema([("key", pa.string()), ("value", pa.int64())]), logical=("key", "value"), bytes_column=None, rows_per_node=4)
KEYS = st.text(st.sampled_from("ab\x00é\U0001f600"), max_size=3)


def table(rows: list[tuple[str, int]]) -> pa.Table:
    return pa.table([pa.array([key for key, _ in rows], pa.string()), pa.array([value for _, value in rows], pa.int64())], schema=KIND.schema)


def collected(folder: Path, parts: list[list[tuple[str, int]]], most_bytes: int) -> SortedRows:
    rows = SortedRows(KIND, folder, most_bytes=most_bytes)
    for part in parts:
        rows.add(table(part))
    return rows


@given(parts=st.lists(st.lists(st.tuples(KEYS, st.integers(0, 9)), max_size=9)), most_bytes=st.integers(1, 300))
def test_rows_come_in_the_order_of_their_keys_each_once(tmp_path_factory: pytest.TempPathFactory, parts: list[list[tuple[str, int]]], most_bytes: int) -> None:
    rows = collected(tmp_path_factory.getbasetemp(), parts, most_bytes)
    expected = sorted(row for part in parts for row in part)
    for _ in range(2):
        read = [(row["key"], row["value"]) for batch in rows.read() for row in batch.to_pylist()]
        assert [key for key, _ in read] == [key for key, _ in expected]
        assert sorted(read) == expected
    assert len(rows) == len(expected)
    rows.clear()
    assert not len(rows)
    assert not list(rows.read())


@given(before=st.dictionaries(KEYS, st.integers(0, 9)), put=st.dictionaries(KEYS, st.integers(0, 9)), dropped=st.lists(KEYS), most_bytes=st.integers(1, 300))
def test_merged_tree_is_that_of_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, int], put: dict[str, int], dropped: list[str], most_bytes: int
) -> None:
    trees = Trees(open_store("memory://"), KIND)
    rows = collected(tmp_path_factory.getbasetemp(), [[row] for row in put.items()], most_bytes)
    merged = trees.merge(trees.build(table(list(before.items()))), rows.read(), pa.array(dropped, pa.string()))
    after = {key: value for key, value in before.items() if key not in dropped} | put
    assert merged.id == trees.build(table(list(after.items()))).id
    assert trees.table(merged).to_pylist() == [{"key": key, "value": after[key]} for key in sorted(after)]


def test_many_dropped_keys_go_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachyderm_dagster.storage.tree_editing._DROPPED_AT_ONCE", 3)
    trees = Trees(open_store("memory://"), KIND)
    keys = [f"{number:03}" for number in range(100)]
    root = trees.build(table([(key, 1) for key in keys]))
    put = [table([("050", 2), ("0505", 2)]).to_batches()[0], table([("099", 3)]).to_batches()[0]]
    merged = trees.merge(root, put, pa.array(keys[20:], pa.string()))
    assert merged.id == trees.build(table([(key, 1) for key in keys[:20]] + [("050", 2), ("0505", 2), ("099", 3)])).id


def test_keys_that_do_not_ascend_make_no_tree(tmp_path: Path) -> None:
    trees = Trees(open_store("memory://"), KIND)
    for most_bytes in (1, 1000):
        with pytest.raises(ValueError, match="'a'"):
            trees.merge(trees.empty, collected(tmp_path, [[("a", 1)], [("a", 2)]], most_bytes).read())


def test_nothing_is_left_in_the_folder_and_little_in_memory(tmp_path: Path) -> None:
    rows = SortedRows(KIND, tmp_path / "made", most_bytes=1 << 16)
    before = pa.total_allocated_bytes()
    for start in range(0, 200_000, 1000):
        rows.add(table([(f"{number * 7919 % 200_000:08}", number) for number in range(start, start + 1000)]))
    assert not list((tmp_path / "made").iterdir())
    assert pa.total_allocated_bytes() - before < 1 << 18
    biggest = max(batch.nbytes for batch in rows.read())
    assert biggest < 1 << 19


def test_rows_that_found_no_room_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = SortedRows(KIND, tmp_path, most_bytes=1)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", full)
        with pytest.raises(StorageError, match="No space left"):
            rows.add(table([("a", 1)]))
    rows.add(table([("b", 2)]))
    assert [row["key"] for batch in rows.read() for row in batch.to_pylist()] == ["a", "b"]
