"""Batches: how large they are, and what a change of the files moves."""

import itertools

import pyarrow as pa
import pytest
from blake3 import blake3
from hypothesis import event, given
from hypothesis import strategies as st

from pachyderm_dagster.pps.batches import batch_ends
from pachyderm_dagster.pps.datums import datum_table
from pachyderm_dagster.pps.inputs import Batch, CrossInput, Input, UnionInput, leaf_key, leaves
from tests.pps.builders import branch, matches

Cuts = list[tuple[str, ...]]


def batches(sizes: dict[str, int], batch: Batch) -> Cuts:
    """The paths of each batch of files with these sizes."""
    paths = sorted(sizes)
    ends = batch_ends(pa.table({"path": pa.array(paths, pa.string()), "size": pa.array([sizes[path] for path in paths], pa.int64())}), batch).tolist()
    return [tuple(paths[start:end]) for start, end in itertools.pairwise([0, *ends])]


def numbered(count: int, size: int = 1) -> dict[str, int]:
    return {f"/{number:06}": size for number in range(count)}


SIZES = st.dictionaries(st.text("abc", min_size=1, max_size=6).map("/".__add__), st.integers(0, 30), max_size=60)
LIMITS = st.builds(Batch, files=st.integers(0, 9), bytes=st.integers(0, 60)).filter(lambda batch: bool(batch.files or batch.bytes))


@given(SIZES, LIMITS)
def test_batches_are_all_files_in_order_and_none_is_larger_than_allowed(sizes: dict[str, int], batch: Batch) -> None:
    found = batches(sizes, batch)
    assert [path for files in found for path in files] == sorted(sizes)
    for files in found:
        assert not batch.files or len(files) <= batch.files
        assert not batch.bytes or len(files) == 1 or sum(sizes[path] for path in files) <= batch.bytes


@given(SIZES, LIMITS)
def test_batch_before_the_last_is_at_least_half_full_unless_the_next_file_is_large(sizes: dict[str, int], batch: Batch) -> None:
    found = batches(sizes, batch)
    for files, following in itertools.pairwise(found):
        is_long = bool(batch.files) and 2 * len(files) >= batch.files
        is_heavy = bool(batch.bytes) and 2 * sum(sizes[path] for path in files) >= batch.bytes
        has_no_room = bool(batch.bytes) and sum(sizes[path] for path in files) + sizes[following[0]] > batch.bytes
        assert is_long or is_heavy or has_no_room


@given(st.integers(0, 3999), st.integers(2, 60))
def test_new_file_makes_few_new_batches(place: int, most: int) -> None:
    files = numbered(4000)
    before, after = batches(files, Batch(files=most)), batches(files | {f"/{place:06}x": 1}, Batch(files=most))
    new = len(set(after) - set(before))
    event(f"{new} new batches")
    assert 1 <= new <= 25


def test_new_or_deleted_file_makes_hardly_more_than_its_own_batch_new() -> None:
    files = numbered(20_000)
    before = set(batches(files, Batch(files=100)))
    places = range(50, 19_000, 190)
    added = [len(set(batches(files | {f"/{place:06}x": 1}, Batch(files=100))) - before) for place in places]
    deleted = [len(set(batches({path: 1 for path in files if path != f"/{place:06}"}, Batch(files=100))) - before) for place in places]
    assert sum(added) / len(added) < 1.3
    assert sum(deleted) / len(deleted) < 1.3


def test_batches_have_three_quarters_of_the_limit_on_average() -> None:
    found = batches(numbered(20_000), Batch(files=100))
    assert 70 < 20_000 / len(found) < 80


def test_last_batch_alone_changes_when_a_file_is_appended() -> None:
    before, after = batches(numbered(1000), Batch(files=10)), batches(numbered(1001), Batch(files=10))
    assert before[:-1] == after[: len(before) - 1]


def test_content_moves_no_boundary_of_batches_by_number() -> None:
    assert batches(numbered(500, 1), Batch(files=20)) == batches(numbered(500, 10**6), Batch(files=20))


def test_one_file_a_batch_is_a_datum_for_each_file() -> None:
    assert batches(numbered(5), Batch(files=1)) == [(path,) for path in numbered(5)]


def test_boundaries_stay_where_they_are() -> None:
    # Another hash or another window makes every batched pipeline run everything again.
    left, expected = list(numbered(100)), []
    while len(left) > 8:
        length = min(range(4, 9), key=lambda count: blake3(left[count - 1].encode()).digest(8))
        expected.append(tuple(left[:length]))
        del left[:length]
    assert batches(numbered(100), Batch(files=8)) == [*expected, tuple(left)]


@pytest.mark.parametrize(
    ("input", "expected"),
    [
        (branch("in", batch=Batch(files=2)), [2, 2, 1]),
        (CrossInput((branch("in", batch=Batch(files=2)), branch("out", repo="in", glob="/*"))), [3] * 10 + [2] * 5),
        (UnionInput((branch("in", batch=Batch(files=2)), branch("more", repo="in"))), [2, 2, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_batches_are_members_of_sets(input: Input, expected: list[int]) -> None:
    contents = {f"/{letter}": "x" for letter in "abcde"}
    datums = datum_table(input, {leaf_key(leaf): matches(contents) for leaf in leaves(input)}, "salt")
    assert sorted(datums.lengths(range(len(datums))).tolist(), reverse=True) == sorted(expected, reverse=True)


def test_changed_content_makes_one_batch_new_and_keeps_its_id() -> None:
    def hashes(changed: str) -> dict[str, bytes]:
        input = branch("in", batch=Batch(files=4))
        table = datum_table(input, {leaf_key(input): matches({path: "new" if path == changed else "old" for path in numbered(100)})}, "salt").table
        return dict(zip(table["id"].to_pylist(), table["hash"].to_pylist(), strict=True))

    before, after = hashes(""), hashes("/000050")
    assert before.keys() == after.keys()
    assert sum(before[id] != after[id] for id in before) == 1
