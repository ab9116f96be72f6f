"""Results of datums, written as rows of a tree and loaded again."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.pps import ended_datums, results
from pachyderm_dagster.pps.datums import DatumState
from pachyderm_dagster.pps.ended_datums import EndedDatums
from pachyderm_dagster.pps.results import RESULT_ROWS, Done, find_results, load_results, meta_rows, output_rows, result_rows
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.file_columns import FileColumns
from pachyderm_dagster.storage.objects import Ref
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.sorted_rows import SortedRows
from pachyderm_dagster.storage.trees import Trees
from tests.storage.faulty import CountingStore


def done(number: int, files: int) -> Done:
    """A datum that wrote so many files, each in two places but the first, which is empty."""
    hash = content_digest(b"%d" % number)
    contents = [Content(hash, size, tuple(Ref(hash, size, place) for place in range(min(size, 2)))) for size in range(files)]
    outputs = FileColumns.of((f"/{number}/é{place}", content) for place, content in enumerate(contents))
    details = Content(hash, 5, (Ref(hash, number, 5),))
    return Done(content_digest(b"id %d" % number).hex(), hash, DatumState.PROCESSED, f"job {number % 3}", outputs, details)


def hashes(done: Sequence[Done]) -> pa.FixedSizeBinaryArray:
    return pa.array([one.hash for one in done], pa.binary(32))


@given(st.lists(st.integers(0, 5), max_size=30), st.data())
def test_results_are_loaded_as_they_were_written(sizes: list[int], data: st.DataObject) -> None:
    trees = Trees(open_store("memory://"), RESULT_ROWS)
    all = [done(number, files) for number, files in enumerate(sizes)]
    root = trees.build(result_rows(all))
    wanted = data.draw(st.lists(st.sampled_from(all), unique_by=lambda one: one.id)) if all else []
    loaded = list(load_results(trees, root, hashes(wanted)))
    assert loaded == sorted(wanted, key=lambda one: one.hash)


@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_ended_datums_leave_the_same_rows_however_many_are_in_memory(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ended_datums, "_AT_ONCE", 3)
    all = [done(number, number % 3) for number in range(count)]
    left = EndedDatums(tmp_path)
    assert left.add_all(all, "job 1") == len([one for one in all if one.job == "job 1"])
    assert rows_of(left.meta) == meta_rows(all).sort_by("key").to_pylist()
    assert rows_of(left.output) == output_rows(all).sort_by("key").to_pylist()


def rows_of(rows: SortedRows) -> list[dict[str, object]]:
    return [row for batch in rows.read() for row in batch.to_pylist()]


@given(known=st.sets(st.integers(0, 30)), wanted=st.lists(st.integers(0, 30), unique=True))
def test_results_are_found_by_hashes_in_any_order(known: set[int], wanted: list[int]) -> None:
    trees = Trees(open_store("memory://"), RESULT_ROWS)
    root = trees.build(result_rows([done(number, 1) for number in known]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "_HASHES_AT_ONCE", 4)
        found = find_results(trees, root, pa.array([done(number, 1).hash for number in wanted], pa.binary(32)))
    assert found.to_pylist() == [number in known for number in wanted]


def test_result_that_is_missing_is_no_datum_less() -> None:
    trees = Trees(open_store("memory://"), RESULT_ROWS)
    root = trees.build(result_rows([done(1, 2)]))
    with pytest.raises(ValueError, match="zip"):
        list(load_results(trees, root, hashes([done(1, 2), done(2, 2)])))


def test_many_results_are_loaded_by_reading_few_nodes() -> None:
    store = CountingStore(open_store("memory://"))
    all = [done(number, 1) for number in range(6000)]
    root = Trees(store, RESULT_ROWS).build(result_rows(all))
    before = store.reads
    loaded = load_results(Trees(store, RESULT_ROWS, cache_bytes=0), root, hashes(all))
    assert list(loaded) == sorted(all, key=lambda one: one.hash)
    # A tree of 12,000 rows has about thirteen nodes.
    assert store.reads - before < 60
