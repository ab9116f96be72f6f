"""Hashes of directories by their files: what they depend on, and what they do not."""

import dataclasses

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.pfs.entries import DIRECTORY
from pachyderm_dagster.pfs.paths import key_of
from pachyderm_dagster.pfs.reading import glob_files
from pachyderm_dagster.pps.directory_hashes import hash_by_files
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.rows import FILE_ROWS
from pachyderm_dagster.storage.trees import Trees

Files = dict[str, tuple[int, int]]
"""By path: which content, and which datum wrote it."""
names = st.sampled_from(["a", "a.b", "b", "c d", "é"])
paths = st.tuples(names, names, st.sampled_from([f"{number}.txt" for number in range(20)])).map(lambda parts: f"/dir-{parts[0]}/dir-{parts[1]}/{parts[2]}")
contents = st.dictionaries(paths, st.integers(0, 2), min_size=1, max_size=60)


def hashes(files: Files, *, by_files: bool = True, shuffled: bool = False) -> dict[str, bytes]:
    """Of every directory in a tree whose leaves are small."""
    trees = Trees(open_store("memory://"), dataclasses.replace(FILE_ROWS, rows_per_node=4))
    rows = sorted((key_of(path), bytes([datum] if datum else []), content_digest(bytes([content]))) for path, (content, datum) in files.items())
    columns = [*zip(*rows, strict=True)]
    none = pa.array([[]] * len(rows), FILE_ROWS.schema.field("refs").type)
    table = pa.table(
        [pa.array(columns[0]), pa.array(columns[1]), pa.array([1] * len(rows)), pa.array(columns[2], pa.binary(32)), none], schema=FILE_ROWS.schema
    )
    root = trees.build(table)
    entries = pa.concat_tables([glob_files(trees, root, "/"), glob_files(trees, root, "/**")])
    entries = entries.sort_by([("path", "descending")]) if shuffled else entries
    found = hash_by_files(trees, root, entries) if by_files else entries
    directories = found.filter(pa.compute.equal(found.column("type"), DIRECTORY))
    assert found.select(["path", "type", "size"]).equals(entries.select(["path", "type", "size"]))
    return dict(zip(directories.column("path").to_pylist(), directories.column("hash").to_pylist(), strict=True))


@given(contents=contents, data=st.data())
def test_it_does_not_matter_which_datums_wrote_the_files(contents: dict[str, int], data: st.DataObject) -> None:
    by_some, by_others = ({path: (content, data.draw(st.integers(0, 3))) for path, content in contents.items()} for _ in range(2))
    assert hashes(by_some) == hashes(by_others) == hashes(by_some, shuffled=True)


@given(contents=contents, data=st.data())
def test_what_is_below_decides_and_nothing_else(contents: dict[str, int], data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(contents)))
    before, now = ({**{path: (content, 1) for path, content in contents.items()}, path: (content, 1)} for content in (contents[path], 3))
    old, new = hashes(before), hashes(now)
    assert {found for found in old if old[found] != new[found]} == {"/", *(path.rsplit("/", count)[0] for count in (1, 2))}


def test_small_directories_of_users_files_keep_the_hash_that_the_tree_gives() -> None:
    files = {f"/dir-a/{number}.txt": (number, 0) for number in range(2)} | {"/z": (0, 0)}
    assert hashes(files)["/dir-a"] == hashes(files, by_files=False)["/dir-a"]
