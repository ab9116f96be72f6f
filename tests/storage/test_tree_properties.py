"""Laws of trees, against dictionaries. Nodes are of four rows on average, so that few rows make deep trees."""

import dataclasses
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.rows import FILE_ROWS
from pachyderm_dagster.storage.trees import TreeRoot, Trees
from tests.storage.tree_rows import SMALL_NODES, file_rows, keys_array, sizes_of

# Few letters, so that keys meet again; '\0' and 'é' because a byte order other than UTF-8's would put them elsewhere.
KEYS = st.text("abcdef\0é", min_size=1, max_size=3)
ROWS = st.dictionaries(KEYS, st.integers(0, 3), max_size=60)
LARGE_NODES = dataclasses.replace(FILE_ROWS, rows_per_node=128)
BOUNDS = st.none() | KEYS
EDITS = st.tuples(st.dictionaries(KEYS, st.integers(0, 3), max_size=12), st.lists(KEYS, max_size=12))


def new_trees() -> Trees:
    return Trees(open_store("memory://"), SMALL_NODES)


def between(rows: Mapping[str, int], start: str | None, stop: str | None) -> dict[str, int]:
    return {key: rows[key] for key in sorted(rows) if (start is None or key >= start) and (stop is None or key < stop)}


@given(ROWS)
def test_tree_holds_its_rows_in_key_order(rows: dict[str, int]) -> None:
    trees = new_trees()
    root = trees.build(file_rows(rows))
    assert list(sizes_of(trees.table(root)).items()) == sorted(rows.items())
    assert (root.count, root.size_bytes) == (len(rows), sum(rows.values()))
    assert TreeRoot.decode(root.encode()) == root


@given(ROWS, st.lists(EDITS, max_size=4))
def test_edited_tree_equals_the_tree_built_of_the_result(rows: dict[str, int], edits: list[tuple[dict[str, int], list[str]]]) -> None:
    trees = new_trees()
    root = trees.build(file_rows(rows))
    expected = dict(rows)
    for upserts, deletes in edits:
        root = trees.apply(root, file_rows(upserts), keys_array(deletes))
        expected = {key: size for key, size in expected.items() if key not in deletes} | upserts
    rebuilt = new_trees().build(file_rows(expected))
    assert (root.id, root.count, root.size_bytes) == (rebuilt.id, rebuilt.count, rebuilt.size_bytes)
    assert sizes_of(trees.table(root)) == expected


@given(st.integers(20, 300), st.sets(st.integers(0, 320), max_size=2), st.sets(st.integers(0, 320), max_size=2))
def test_few_edits_of_large_nodes_equal_the_tree_built_of_the_result(count: int, put: set[int], gone: set[int]) -> None:
    trees = Trees(open_store("memory://"), LARGE_NODES)
    rows = {f"{number:03}": number for number in range(count)}
    upserts, deletes = {f"{number:03}": 7 for number in put}, [f"{number:03}" for number in gone]
    root = trees.apply(trees.build(file_rows(rows)), file_rows(upserts), keys_array(deletes))
    expected = {key: size for key, size in rows.items() if key not in deletes} | upserts
    rebuilt = trees.build(file_rows(expected))
    assert (root.id, root.count, root.size_bytes) == (rebuilt.id, rebuilt.count, rebuilt.size_bytes)
    assert sizes_of(trees.table(root)) == expected


@given(st.data(), ROWS)
def test_equal_rows_give_an_equal_root_whatever_the_order_of_edits(data: st.DataObject, rows: dict[str, int]) -> None:
    trees = new_trees()
    root = trees.build(file_rows(data.draw(ROWS, "rows before")))
    left = data.draw(st.permutations(sorted(rows)), "order")
    while left:
        size = data.draw(st.integers(1, len(left)), "edit")
        root = trees.apply(root, file_rows({key: rows[key] for key in left[:size]}))
        left = left[size:]
    root = trees.apply(root, file_rows({}), keys_array([key for key in sizes_of(trees.table(root)) if key not in rows]))
    assert root.id == trees.build(file_rows(rows)).id


@given(ROWS, ROWS)
def test_different_rows_give_different_roots(left: dict[str, int], right: dict[str, int]) -> None:
    trees = new_trees()
    assert (trees.build(file_rows(left)).id == trees.build(file_rows(right)).id) is (left == right)


@given(ROWS, st.integers(1, 200))
def test_where_contents_lie_does_not_change_the_root(rows: dict[str, int], place: int) -> None:
    trees = new_trees()
    assert trees.build(file_rows(rows, place=place)).id == trees.build(file_rows(rows)).id


@given(ROWS, ROWS)
def test_difference_is_that_of_the_dictionaries(old: dict[str, int], new: dict[str, int]) -> None:
    trees = new_trees()
    check_difference(trees, trees.build(file_rows(old)), old, trees.build(file_rows(new, place=1)), new)


@given(ROWS, EDITS)
def test_difference_of_neighbours_is_that_of_the_dictionaries(old: dict[str, int], edits: tuple[dict[str, int], list[str]]) -> None:
    trees = new_trees()
    before = trees.build(file_rows(old))
    upserts, deletes = edits
    after = trees.apply(before, file_rows(upserts, place=1), keys_array(deletes))
    new = {key: size for key, size in old.items() if key not in deletes} | upserts
    check_difference(trees, before, old, after, new)


def check_difference(trees: Trees, before: TreeRoot, old: Mapping[str, int], after: TreeRoot, new: Mapping[str, int]) -> None:
    difference = trees.diff(before, after)
    assert list(sizes_of(difference.old_rows).items()) == [(key, old[key]) for key in sorted(old) if new.get(key) != old[key]]
    assert list(sizes_of(difference.new_rows).items()) == [(key, new[key]) for key in sorted(new) if old.get(key) != new[key]]


@given(ROWS, BOUNDS, BOUNDS)
def test_range_is_read_and_summed_like_the_dictionary(rows: dict[str, int], start: str | None, stop: str | None) -> None:
    trees = new_trees()
    root = trees.build(file_rows(rows))
    expected = between(rows, start, stop)
    assert list(sizes_of(trees.table(root, start, stop)).items()) == list(expected.items())
    assert trees.sums(root, start, stop) == (len(expected), sum(expected.values()))


@given(ROWS, st.sets(KEYS, max_size=12))
def test_several_ranges_are_read_like_the_dictionary(rows: dict[str, int], bounds: set[str]) -> None:
    trees = new_trees()
    limits = sorted(bounds)
    ranges = list(zip(limits[::2], limits[1::2], strict=False))
    expected = [row for start, stop in ranges for row in between(rows, start, stop).items()]
    assert list(sizes_of(trees.ranges(trees.build(file_rows(rows)), ranges)).items()) == expected


@given(ROWS, BOUNDS, BOUNDS)
def test_range_hash_is_the_root_of_a_tree_of_just_the_range(rows: dict[str, int], start: str | None, stop: str | None) -> None:
    trees = new_trees()
    root = trees.build(file_rows(rows))
    assert trees.range_hash(root, start, stop) == trees.build(file_rows(between(rows, start, stop))).id


@given(ROWS, ROWS, KEYS, KEYS)
def test_range_hash_depends_only_on_rows_in_the_range(rows: dict[str, int], others: dict[str, int], start: str, stop: str) -> None:
    trees = new_trees()
    outside = {key: size for key, size in others.items() if not start <= key < stop}
    changed = outside | between(rows, start, stop)
    assert trees.range_hash(trees.build(file_rows(rows)), start, stop) == trees.range_hash(trees.build(file_rows(changed)), start, stop)


@given(ROWS, KEYS)
def test_seek_finds_the_first_key_not_below(rows: dict[str, int], key: str) -> None:
    trees = new_trees()
    assert trees.seek(trees.build(file_rows(rows)), key) == min((each for each in rows if each >= key), default=None)


@given(ROWS, st.lists(KEYS, max_size=20))
def test_find_gives_the_rows_that_exist(rows: dict[str, int], keys: list[str]) -> None:
    trees = new_trees()
    found = trees.find(trees.build(file_rows(rows)), keys_array(keys))
    assert list(sizes_of(found).items()) == sorted((key, rows[key]) for key in {*keys} & rows.keys())


@given(ROWS, ROWS, st.integers(0, 60))
def test_bounded_difference_is_the_whole_one_or_none(old: dict[str, int], new: dict[str, int], most: int) -> None:
    trees = new_trees()
    before, after = trees.build(file_rows(old)), trees.build(file_rows(new))
    found = trees.find_diff(before, after, most_rows=most)
    differing = sum(old.get(key) != new.get(key) for key in old.keys() | new.keys())
    if found is None:
        assert len(old) + len(new) > most
    else:
        check_difference(trees, before, old, after, new)
        assert sizes_of(found.new_rows) == sizes_of(trees.diff(before, after).new_rows)
        assert sizes_of(found.old_rows) == sizes_of(trees.diff(before, after).old_rows)
        assert differing <= most
