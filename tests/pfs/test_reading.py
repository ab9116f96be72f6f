"""Reading a tree's files: one, a directory, a subtree, globs, differences; against answers made from plain dictionaries."""

import hashlib
import random
import re
from collections.abc import Mapping

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.pfs.differences import diff_trees
from pachyderm_dagster.pfs.entries import FileInfo, after_prefix, children, file_infos
from pachyderm_dagster.pfs.globs import Glob
from pachyderm_dagster.pfs.paths import directory_range, key_of, path_of
from pachyderm_dagster.pfs.reading import get_content, glob_files, glob_in_parts, inspect_file, list_directory, rows_below, walk
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.trees import FILE_ROWS, TreeRoot, Trees

LABEL = "images@master"


@pytest.fixture(scope="module")
def trees() -> Trees:
    return Trees(open_store("memory://"), FILE_ROWS)


def rows_of(files: Mapping[str, int], datum: bytes = b"") -> pa.Table:
    """A file of so many bytes for each path; the hash follows from path and size."""
    columns = {
        "key": [key_of(path) for path in files],
        "datum": [datum] * len(files),
        "size": list(files.values()),
        "hash": [hashlib.blake2b(f"{path} {size}".encode(), digest_size=32).digest() for path, size in files.items()],
        "refs": [[{"object": bytes(32), "offset": 0, "length": size}] for size in files.values()],
    }
    return pa.table(columns, schema=FILE_ROWS.schema)


def build(trees: Trees, files: Mapping[str, int]) -> TreeRoot:
    return trees.build(rows_of(files))


def expected_entries(files: Mapping[str, int]) -> dict[str, tuple[str, int]]:
    """Type and size of every file and directory, but for the root, in key order."""
    entries: dict[str, tuple[str, int]] = {path: ("file", size) for path, size in files.items()}
    for path, size in files.items():
        directory = path.rpartition("/")[0]
        while directory:
            entries[directory] = ("dir", entries.get(directory, ("dir", 0))[1] + size)
            directory = directory.rpartition("/")[0]
    return dict(sorted(entries.items(), key=lambda entry: key_of(entry[0])))


def check_entries(trees: Trees, root: TreeRoot, found: list[FileInfo], expected: Mapping[str, tuple[str, int]]) -> None:
    assert [(info.path, info.type, info.size_bytes) for info in found] == [(path, *entry) for path, entry in expected.items()]
    for info in found:
        if info.type == "dir":
            assert info.hash == trees.range_hash(root, *directory_range(info.path)).hex()
        else:
            assert info.hash == hashlib.blake2b(f"{info.path} {info.size_bytes}".encode(), digest_size=32).hexdigest()


def direct(entries: Mapping[str, tuple[str, int]], directory: str) -> dict[str, tuple[str, int]]:
    return {path: entry for path, entry in entries.items() if (path.rpartition("/")[0] or "/") == directory}


SMALL = {"/a.txt": 1, "/d/b.txt": 2, "/d/e/c.csv": 3, "/d.txt": 4, "/größe/x y": 5}


def wide_files() -> dict[str, int]:
    """20,000 files: large directories beside small ones, files between them, and depth."""
    files = {f"/large{folder}/{number:06}.bin": number for folder in range(3) for number in range(5000)}
    files |= {f"/small/{number:04}/{part}": part for number in range(1500) for part in range(3)}
    files |= {f"/large1.{number:03}": number for number in range(300)}
    files |= {"/deep" + "".join(f"/{name}" for name in "abcdef"[:depth]) + "/file": depth for depth in range(7)}
    return files


@pytest.fixture(scope="module")
def wide(trees: Trees) -> tuple[TreeRoot, dict[str, tuple[str, int]]]:
    files = wide_files()
    assert len(files) > 15_000  # some twenty leaves
    return build(trees, files), expected_entries(files)


def test_a_file_and_a_directory_are_inspected(trees: Trees) -> None:
    root = build(trees, SMALL)
    for path in ("/a.txt", "d/e/c.csv", "/größe/x y", "/d", "/d/e/"):
        found = inspect_file(trees, root, path, label=LABEL)
        cleaned = "/" + path.strip("/")
        check_entries(trees, root, [found], {cleaned: expected_entries(SMALL)[cleaned]})
    assert inspect_file(trees, root, "/", label=LABEL).size_bytes == 15


def test_the_root_of_an_empty_tree_is_an_empty_directory(trees: Trees) -> None:
    found = inspect_file(trees, trees.empty, "/", label=LABEL)
    assert (found.path, found.type, found.size_bytes) == ("/", "dir", 0)
    assert list_directory(trees, trees.empty, "/", label=LABEL) == []
    assert len(glob_files(trees, trees.empty, "/")) == 0
    assert len(glob_files(trees, trees.empty, "/**")) == 0
    assert walk(trees, trees.empty, "/", label=LABEL).column("path").to_pylist() == ["/"]


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/d/b.tx", "did you mean '/d/b.txt'"),
        ("/a.text", "did you mean '/a.txt'"),
        ("/d/zzzzz", "'/d' has 'b.txt', 'e'"),
        ("/q/w/e", "'/' has 'a.txt', 'd', 'd.txt', ..."),
        ("/a.txt/below", "'/a.txt' is a file"),
    ],
)
def test_a_missing_file_is_told_with_its_neighbours(trees: Trees, path: str, hint: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        inspect_file(trees, build(trees, SMALL), path, label=LABEL)
    assert caught.value.code == "file-not-found"
    assert caught.value.message.startswith(f"file {path!r} does not exist in {LABEL}; ")
    assert hint in caught.value.message


def test_a_missing_file_of_an_empty_tree_says_so(trees: Trees) -> None:
    with pytest.raises(NotFoundError, match="the commit is empty"):
        list_directory(trees, trees.empty, "/x/y", label=LABEL)


@pytest.mark.parametrize("directory", ["/", "/d", "/d/e"])
def test_a_directory_lists_its_children_alone(trees: Trees, directory: str) -> None:
    root = build(trees, SMALL)
    check_entries(trees, root, list_directory(trees, root, directory, label=LABEL), direct(expected_entries(SMALL), directory))


@pytest.mark.parametrize("directory", ["/", "/small", "/small/0007", "/large2", "/deep/a"])
def test_a_wide_directory_lists_its_children_alone(trees: Trees, wide: tuple[TreeRoot, dict[str, tuple[str, int]]], directory: str) -> None:
    root, entries = wide
    check_entries(trees, root, list_directory(trees, root, directory, label=LABEL), direct(entries, directory))


def test_listing_a_file_gives_the_file(trees: Trees) -> None:
    root = build(trees, SMALL)
    assert [info.path for info in list_directory(trees, root, "/d/b.txt", label=LABEL)] == ["/d/b.txt"]


def test_a_listing_is_read_page_by_page(trees: Trees, wide: tuple[TreeRoot, dict[str, tuple[str, int]]]) -> None:
    root, entries = wide
    names: list[str] = []
    while page := list_directory(trees, root, "/", label=LABEL, after=names[-1] if names else None, limit=7):
        assert len(page) <= 7
        names += [info.path for info in page]
    assert names == list(direct(entries, "/"))
    backwards: list[str] = []
    while page := list_directory(trees, root, "/", label=LABEL, after=backwards[-1] if backwards else None, limit=40, reverse=True):
        backwards += [info.path for info in page]
    assert backwards == names[::-1]


def test_a_marker_inside_of_a_child_skips_the_child(trees: Trees) -> None:
    root = build(trees, SMALL)
    assert [info.path for info in list_directory(trees, root, "/", label=LABEL, after="/d/b.txt")] == ["/d.txt", "/größe"]


@pytest.mark.parametrize(("limit", "reverse"), [(0, False), (-1, False), (None, True), (0, True), (100_001, True)])
def test_a_page_of_a_wrong_size_is_refused(trees: Trees, limit: int | None, reverse: bool) -> None:
    with pytest.raises(InvalidError) as caught:
        list_directory(trees, build(trees, SMALL), "/", label=LABEL, limit=limit, reverse=reverse)
    assert caught.value.code == "page-invalid"


@pytest.mark.parametrize("top", ["/", "/small", "/deep/a/b", "/large1", "/large1.007"])
def test_a_walk_gives_everything_below(trees: Trees, wide: tuple[TreeRoot, dict[str, tuple[str, int]]], top: str) -> None:
    root, entries = wide
    if top == "/":
        entries = {"/": ("dir", root.size_bytes)} | entries
    expected = {path: entry for path, entry in entries.items() if path == top or path.startswith(top.rstrip("/") + "/")}
    check_entries(trees, root, file_infos(walk(trees, root, top, label=LABEL)), expected)


@pytest.mark.parametrize(
    "pattern",
    [
        "/",
        "/*",
        "/*/*",
        "/large[02]/*",
        "/large*",
        "/large1*",
        "/small/*",
        "/small/00*/1",
        "/small/*/1",
        "/*/0007",
        "/*/0007/*",
        "/small/0007",
        "/small/0007/2",
        "/deep/*/*/c/*",
        "/deep/a/{b,x}/!(d)",
        "/nothing/*",
        "/nothing",
        "/*/*/*",
        "/**",
        "/**file",
        "/small/12**",
        "/sm**/2",
        "/large1.00?",
        "/small/(*)/(1|2)",
        "//",
        "/a//b",
    ],
)
def test_a_glob_finds_what_it_matches(trees: Trees, wide: tuple[TreeRoot, dict[str, tuple[str, int]]], pattern: str) -> None:
    root, entries = wide
    entries = {"/": ("dir", root.size_bytes)} | entries
    matched = Glob.parse(pattern).match_paths(list(entries)).to_pylist()
    expected = {path: entry for (path, entry), match in zip(entries.items(), matched, strict=True) if match}
    table = glob_files(trees, root, pattern)
    assert table.schema.names == ["path", "type", "size", "hash"]
    check_entries(trees, root, file_infos(table), expected)


NAMES = st.sampled_from(["a", "b", "a.x", "ab", "c d"])
TREES = st.lists(st.lists(NAMES, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names)), max_size=12).map(
    lambda paths: {path: number for number, path in enumerate(paths) if not any(other.startswith(path + "/") for other in paths)}
)
PATTERNS = st.lists(st.sampled_from(["/", "/", "/", "a", "b", "*", "**", "?", "(a|b)", "!(b)", "{a,c}*", "."]), min_size=1, max_size=6).map("".join)


@settings(max_examples=150, deadline=None)
@given(TREES, PATTERNS)
def test_globs_agree_with_matching_every_path(files: dict[str, int], pattern: str) -> None:
    trees = Trees(open_store("memory://"), FILE_ROWS)
    root = build(trees, files)
    entries = expected_entries(files)
    expected = [path for path, match in zip(entries, Glob.parse(pattern).match_paths(list(entries)).to_pylist(), strict=True) if match]
    assert [path for path in glob_files(trees, root, pattern).column("path").to_pylist() if path != "/"] == expected


@pytest.mark.parametrize("pattern", ["/**", "/sm**", "/small/*/1", "/*/*/*"])
def test_matches_come_in_the_order_of_keys_however_few_leaves_are_looked_at(
    trees: Trees, wide: tuple[TreeRoot, dict[str, tuple[str, int]]], pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pachyderm_dagster.pfs.searching._LEAVES_AT_ONCE", 1)
    root, entries = wide
    matched = Glob.parse(pattern).match_paths(list(entries)).to_pylist()
    found = pa.concat_tables(glob_in_parts(trees, root, pattern))
    check_entries(trees, root, file_infos(found), {path: entry for (path, entry), match in zip(entries.items(), matched, strict=True) if match})


def test_a_fixed_depth_is_not_exceeded() -> None:
    counting = CountingTrees(open_store("memory://"), FILE_ROWS)
    root = build(counting, {f"/{folder}/{number:06}": 1 for folder in "ab" for number in range(30_000)})
    assert glob_files(counting, root, "/*").column("size").to_pylist() == [30_000, 30_000]
    assert counting.leaves <= 4


class CountingTrees(Trees):
    """Counts the leaves that were read one after another."""

    leaves = 0

    def read(self, root: TreeRoot, start: str | None = None, stop: str | None = None):  # type: ignore[no-untyped-def]
        for leaf in super().read(root, start, stop):
            self.leaves += 1
            yield leaf


def test_one_file_is_read_by_path_or_by_a_glob_that_matches_it_alone(trees: Trees) -> None:
    root = build(trees, SMALL)
    assert get_content(trees, root, "/d/b.txt", label=LABEL).size == 2
    assert get_content(trees, root, "/d/*.txt", label=LABEL).size == 2


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [
        ("/d", "not-a-file", "-r"),
        ("/", "not-a-file", "-r"),
        ("/d/[e]", "not-a-file", "-r"),
        ("/*.txt", "multiple-matches", "2 files and directories of images@master match '/*.txt'"),
        ("/z*", "file-not-found", "matches '/z*'"),
        ("/d/c", "file-not-found", "does not exist"),
        ("/d[", "glob-invalid", "']'"),
        ("/d/../a.txt", "path-invalid", "'..'"),
    ],
)
def test_what_is_not_one_file_is_refused(trees: Trees, path: str, code: str, says: str) -> None:
    with pytest.raises((InvalidError, NotFoundError)) as caught:
        get_content(trees, build(trees, SMALL), path, label=LABEL)
    assert caught.value.code == code
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("path", "paths"),
    [
        ("/d", ["/d/b.txt", "/d/e/c.csv"]),
        ("/", ["/a.txt", "/d/b.txt", "/d/e/c.csv", "/d.txt", "/größe/x y"]),
        ("/a.txt", ["/a.txt"]),
        ("/**", ["/a.txt", "/d/b.txt", "/d/e/c.csv", "/d.txt", "/größe/x y"]),
        ("/{d,a.txt}", ["/a.txt", "/d/b.txt", "/d/e/c.csv"]),
        ("/d/**", ["/d/b.txt", "/d/e/c.csv"]),
    ],
)
def test_rows_are_those_of_a_file_a_directory_or_all_matches(trees: Trees, path: str, paths: list[str]) -> None:
    rows = rows_below(trees, build(trees, SMALL), path, label=LABEL)
    assert rows.schema == FILE_ROWS.schema
    assert [path_of(key) for key in rows.column("key").to_pylist()] == paths


def test_rows_of_nothing_are_refused(trees: Trees) -> None:
    for path in ("/none", "/none*"):
        with pytest.raises(NotFoundError, match="none"):
            rows_below(trees, build(trees, SMALL), path, label=LABEL)


def ops(trees: Trees, old: TreeRoot, new: TreeRoot, path: str = "/", *, shallow: bool = False) -> list[tuple[str, str]]:
    found = diff_trees(trees, old, new, path, label=LABEL, shallow=shallow)
    for one in found:
        assert (one.old is None) == (one.op == "added")
        assert (one.new is None) == (one.op == "deleted")
    return [(str(one.op), (one.new or one.old).path) for one in found if one.new or one.old]  # type: ignore[union-attr]


def test_a_difference_names_files_and_the_directories_above(trees: Trees) -> None:
    old = build(trees, {"/a": 1, "/d/b": 2, "/d/c": 3, "/e/f/g": 4, "/same/x": 5})
    new = build(trees, {"/a": 1, "/d/b": 20, "/d/n": 3, "/h/i": 4, "/same/x": 5})
    everything = [
        ("changed", "/"),
        ("changed", "/d"),
        ("changed", "/d/b"),
        ("deleted", "/d/c"),
        ("added", "/d/n"),
        ("deleted", "/e"),
        ("deleted", "/e/f"),
        ("deleted", "/e/f/g"),
        ("added", "/h"),
        ("added", "/h/i"),
    ]
    assert ops(trees, old, new) == everything
    assert ops(trees, old, new, shallow=True) == [("changed", "/"), ("changed", "/d"), ("deleted", "/e"), ("added", "/h")]
    assert ops(trees, old, new, "/d") == everything[1:5]
    assert ops(trees, old, new, "/d/b") == [("changed", "/d/b")]
    assert ops(trees, old, new, "/e", shallow=True) == [("deleted", "/e"), ("deleted", "/e/f")]
    assert ops(trees, old, new, "/same") == []
    changed = diff_trees(trees, old, new, "/d/b", label=LABEL)[0]
    assert changed.old is not None and changed.new is not None
    assert (changed.old.size_bytes, changed.new.size_bytes) == (2, 20)


def test_a_file_in_the_place_of_a_directory_is_one_change(trees: Trees) -> None:
    old, new = build(trees, {"/d/x": 1}), build(trees, {"/d": 2})
    found = diff_trees(trees, old, new, label=LABEL)
    assert [(one.old and one.old.type, one.new and one.new.type) for one in found] == [("dir", "dir"), ("dir", "file"), ("file", None)]


def test_another_datum_with_the_same_bytes_is_no_difference(trees: Trees) -> None:
    old, new = trees.build(rows_of({"/d/x": 1}, b"1")), trees.build(rows_of({"/d/x": 1}, b"2"))
    assert diff_trees(trees, old, new, label=LABEL) == []


def test_a_difference_of_a_path_that_nobody_has_is_refused(trees: Trees) -> None:
    with pytest.raises(NotFoundError) as caught:
        diff_trees(trees, build(trees, SMALL), trees.empty, "/none", label=LABEL)
    assert caught.value.code == "file-not-found"


@settings(max_examples=60, deadline=None)
@given(TREES, TREES)
def test_a_difference_is_what_two_listings_differ_in(before: dict[str, int], after: dict[str, int]) -> None:
    trees = Trees(open_store("memory://"), FILE_ROWS)
    old, new = build(trees, before), build(trees, after)
    old_infos, new_infos = ({info.path: info for info in file_infos(walk(trees, root, "/", label=LABEL))} for root in (old, new))
    expected = {path for path in old_infos.keys() | new_infos.keys() if old_infos.get(path) != new_infos.get(path)}
    found = diff_trees(trees, old, new, label=LABEL)
    assert [(one.old, one.new) for one in found] == [(old_infos.get(path), new_infos.get(path)) for path in sorted(expected, key=key_of)]


@pytest.mark.parametrize(
    ("text", "bound"),
    [("", None), ("a", "b"), ("a\x00b", "a\x00c"), ("\ud7ff", "\ue000"), ("x\U0010ffff", "y"), ("\U0010ffff", None)],
)
def test_a_prefix_has_a_smallest_string_above_it(text: str, bound: str | None) -> None:
    assert after_prefix(text) == bound


def test_children_may_come_from_many_leaves_in_any_mixture(trees: Trees) -> None:
    rng = random.Random(1)
    names = [f"/d/{name:06}" for name in rng.sample(range(10**6), 6000)]
    files = {path + below: 1 for path in names for below in rng.choice([("",), ("",), ("/1",), ("/1", "/2/3", "/4")])}
    root = build(trees, files)
    found = [info for table in children(trees, root, "/d") for info in file_infos(table)]
    check_entries(trees, root, found, direct(expected_entries(files), "/d"))
    assert all(re.fullmatch(r"/d/\d{6}", info.path) for info in found)
