"""Staged writes and their merge: one stream, several streams, conflicts, and a machine against dictionaries."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pachyderm_dagster.errors import InvalidError, StorageError
from pachyderm_dagster.pfs.filesets import FileSet, Layer
from pachyderm_dagster.pfs.merging import merge
from pachyderm_dagster.pfs.paths import key_of, path_of
from pachyderm_dagster.storage.content import ContentReader, ContentWriter
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.rows import contents_of
from pachyderm_dagster.storage.trees import FILE_ROWS, TreeRoot, Trees


@dataclass(frozen=True)
class Place:
    """A store in memory and what works on it."""

    store: ObjectStore
    trees: Trees
    reader: ContentReader
    writer: ContentWriter

    def merge(self, base: TreeRoot, layers: Sequence[Layer]) -> TreeRoot:
        root = merge(self.trees, self.reader, self.writer, base, layers)
        self.writer.flush()
        return root

    def files(self, root: TreeRoot) -> dict[str, bytes]:
        rows = self.trees.table(root)
        return {path_of(key): self.reader.read(content) for key, content in zip(rows.column("key").to_pylist(), contents_of(rows), strict=True)}

    def staged(self, puts: Sequence[str], deletes: Sequence[str], directories: Sequence[str]) -> FileSet:
        found = FileSet(self.writer)
        for directory in directories:
            found.delete_directory(directory)
        for path in deletes:
            found.delete(path)
        for path in puts:
            found.put_bytes(path, b"")
        return found

    def tree(self, files: dict[str, bytes]) -> TreeRoot:
        staged = FileSet(self.writer)
        for path, data in files.items():
            staged.put_bytes(path, data)
        return self.merge(self.trees.empty, staged.layers())


def new_place() -> Place:
    store = open_store("memory://")
    return Place(store, Trees(store, FILE_ROWS), ContentReader(store), ContentWriter(store))


@pytest.fixture
def place() -> Place:
    return new_place()


def test_a_put_replaces_and_an_append_adds(place: Place) -> None:
    base = place.tree({"/a": b"1", "/b": b"2", "/c": b"3"})
    staged = FileSet(place.writer)
    staged.put_bytes("/a", b"new")
    staged.put_bytes("b", b"more", append=True)
    staged.put_stream("/d", io.BytesIO(b"stream"))
    staged.put_stream("/d", io.BytesIO(b"ing"), append=True)
    staged.put_bytes("/e", b"first", append=True)
    assert place.files(place.merge(base, staged.layers())) == {"/a": b"new", "/b": b"2more", "/c": b"3", "/d": b"streaming", "/e": b"first"}


def test_the_order_of_a_stream_counts(place: Place) -> None:
    base = place.tree({"/kept": b"0", "/gone": b"1", "/again": b"2", "/d/x": b"3", "/d/y": b"4"})
    staged = FileSet(place.writer)
    staged.put_bytes("/gone", b"new")
    staged.delete("/gone")
    staged.delete("/again")
    staged.put_bytes("/again", b"after", append=True)
    staged.put_bytes("/d/z", b"too early")
    staged.delete_directory("/d")
    staged.put_bytes("/d/y", b"after", append=True)
    assert place.files(place.merge(base, staged.layers())) == {"/kept": b"0", "/again": b"after", "/d/y": b"after"}


def test_a_delete_of_a_file_leaves_a_directory_and_of_nothing_is_no_error(place: Place) -> None:
    base = place.tree({"/d/x": b"1", "/d.txt": b"2"})
    staged = FileSet(place.writer)
    staged.delete("/d")
    staged.delete("/missing")
    staged.delete_directory("/none")
    staged.delete_directory("/d.txt")
    assert place.merge(base, staged.layers()) == base


def test_deleting_the_root_directory_empties(place: Place) -> None:
    base = place.tree({"/a": b"1", "/d/x": b"2"})
    staged = FileSet(place.writer)
    staged.delete_directory("/")
    assert place.merge(base, staged.layers()) == place.trees.empty


def test_a_directory_goes_without_its_neighbours(place: Place) -> None:
    base = place.tree({"/d/a": b"1", "/d/e/b": b"2", "/d.txt": b"3", "/d0/a": b"4", "/c/a": b"5"})
    staged = FileSet(place.writer)
    staged.delete_directory("/d/")
    assert sorted(place.files(place.merge(base, staged.layers()))) == ["/c/a", "/d.txt", "/d0/a"]


def test_appends_of_several_streams_are_all_kept(place: Place) -> None:
    base = place.tree({"/log": b"0"})
    streams = []
    for text in (b"1", b"2", b"3"):
        staged = FileSet(place.writer)
        staged.put_bytes("/log", text, append=True)
        staged.put_bytes("/new", text, append=True)
        streams += staged.layers()
    assert place.files(place.merge(base, streams)) == {"/log": b"0123", "/new": b"123"}


def test_an_append_equals_one_write_of_all(place: Place) -> None:
    first, second = bytes(range(256)) * 9000, bytes(reversed(range(256))) * 5000
    staged = FileSet(place.writer)
    staged.put_bytes("/big", second, append=True)
    appended = place.merge(place.tree({"/big": first}), staged.layers())
    assert appended.id == place.tree({"/big": first + second}).id
    assert place.files(appended) == {"/big": first + second}


def test_the_order_of_paths_does_not_change_the_tree(place: Place) -> None:
    files = {f"/d{number % 3}/f{number}": str(number).encode() for number in range(50)}
    assert place.tree(files).id == place.tree(dict(reversed(files.items()))).id


def rows_of(place: Place, files: Sequence[tuple[str, bytes]]) -> pa.Table:
    contents = [place.writer.write(data) for _, data in files]
    staged = FileSet(place.writer)
    for number, content in enumerate(contents):
        staged.put_content(f"/{number:06}", content)
    return staged.layers()[0].puts.select(["size", "hash", "refs"]).add_column(0, "path", pa.array([path for path, _ in files], pa.string()))


def test_many_stored_files_are_put_at_once(place: Place) -> None:
    base = place.tree({"/d/0": b"old", "/other": b"kept"})
    staged = FileSet(place.writer)
    staged.put_rows(rows_of(place, [(f"d/{number}", b"%d" % number) for number in range(2000)]))
    found = place.files(place.merge(base, staged.layers()))
    assert found == {"/other": b"kept"} | {f"/d/{number}": b"%d" % number for number in range(2000)}


def test_rows_of_one_path_count_in_order(place: Place) -> None:
    rows = rows_of(place, [("/a", b"1"), ("/b", b"2"), ("a", b"3")])
    replaced, appended = FileSet(place.writer), FileSet(place.writer)
    replaced.put_rows(rows)
    appended.put_rows(rows, append=True)
    base = place.tree({"/a": b"0"})
    assert place.files(place.merge(base, replaced.layers())) == {"/a": b"3", "/b": b"2"}
    assert place.files(place.merge(base, appended.layers())) == {"/a": b"013", "/b": b"2"}


@pytest.mark.parametrize(
    ("source", "target", "copies"),
    [
        ("/d", "/x/y", {"/x/y/a": b"1", "/x/y/e/b": b"2"}),
        ("/d", "/", {"/a": b"1", "/e/b": b"2"}),
        ("/d/a", "/x", {"/x": b"1"}),
        ("/", "/all", {"/all/d/a": b"1", "/all/d/e/b": b"2", "/all/z": b"3"}),
    ],
)
def test_a_copy_takes_a_file_or_what_is_below_a_directory(place: Place, source: str, target: str, copies: dict[str, bytes]) -> None:
    files = {"/d/a": b"1", "/d/e/b": b"2", "/z": b"3"}
    root = place.tree(files)
    key = key_of(source)
    rows = (
        place.trees.table(root)
        if source == "/"
        else pa.concat_tables([place.trees.find(root, pa.array([key])), place.trees.table(root, key + "\0", key + "\1")])
    )
    staged = FileSet(place.writer)
    staged.copy_rows(rows, source, target)
    assert place.files(place.merge(root, staged.layers())) == files | copies


@pytest.mark.parametrize(
    ("base", "puts", "deletes", "directories", "names"),
    [
        ({}, ["/a", "/a/b"], [], [], ("/a", "/a/b")),
        ({}, ["/a/b/c/d", "/a.x", "/a/b"], [], [], ("/a/b", "/a/b/c/d")),
        ({"/a": b""}, ["/a/b"], [], [], ("/a", "/a/b")),
        ({"/a/b/c": b""}, ["/a"], [], [], ("/a", "/a/b/c")),
        ({"/a/b/c": b"", "/a/d": b""}, ["/a"], ["/a/d"], [], ("/a", "/a/b/c")),
        ({"/a/b": b"", "/a/c/d": b""}, ["/a"], [], ["/a/c"], ("/a", "/a/b")),
        ({"/a": b"", "/b": b""}, ["/a/b"], ["/b"], [], ("/a", "/a/b")),
        ({f"/f{n}/x": b"" for n in range(3000)}, ["/f2999"], [], [], ("/f2999", "/f2999/x")),
        ({f"/f{n}/x": b"" for n in range(30)}, [f"/f{n}" for n in range(29, 40)], [], [], ("/f29", "/f29/x")),
    ],
)
def test_a_path_is_not_both_file_and_directory(
    place: Place, base: dict[str, bytes], puts: list[str], deletes: list[str], directories: list[str], names: tuple[str, str]
) -> None:
    root = place.tree(base)
    staged = place.staged(puts, deletes, directories)
    with pytest.raises(InvalidError) as caught:
        place.merge(root, staged.layers())
    assert caught.value.code == "path-conflict"
    assert all(repr(name) in caught.value.message for name in names)


@pytest.mark.parametrize(
    ("base", "puts", "deletes", "directories"),
    [
        ({"/a": b""}, ["/a/b"], ["/a"], []),
        ({"/a/b": b"", "/a/c/d": b""}, ["/a"], [], ["/a"]),
        ({"/a/b": b"", "/a/c": b""}, ["/a"], ["/a/b", "/a/c"], []),
        ({"/a.txt": b"", "/a b/c": b""}, ["/a"], [], []),
        ({f"/f{n}": b"" for n in range(3000)}, ["/f", "/f1.x", "/g/f1"], [], []),
    ],
)
def test_a_file_may_take_the_place_of_a_directory_that_goes(
    place: Place, base: dict[str, bytes], puts: list[str], deletes: list[str], directories: list[str]
) -> None:
    root = place.tree(base)
    staged = place.staged(puts, deletes, directories)
    assert set(puts) <= set(place.files(place.merge(root, staged.layers())))


def test_a_bad_path_is_refused_when_it_is_staged(place: Place) -> None:
    staged = FileSet(place.writer)
    with pytest.raises(InvalidError, match="'..'"):
        staged.put_bytes("/a/../b", b"")
    with pytest.raises(InvalidError, match="root directory"):
        staged.delete("/")
    with pytest.raises(InvalidError, match="glob"):
        staged.delete_directory("/a*")
    assert staged.layers() == []


def test_a_layer_survives_being_stored(place: Place) -> None:
    staged = FileSet(place.writer)
    staged.delete("/x")
    staged.delete_directory("/d")
    staged.put_bytes("/größe", b"1")
    staged.put_bytes("/b", b"2" * 100, append=True)
    (layer,) = staged.layers()
    again = Layer.decode(layer.encode())
    assert again.puts.equals(layer.puts)
    assert (again.deleted_keys, again.deleted_directories) == (("x",), ("d",))


def test_a_layer_of_another_version_is_refused(place: Place) -> None:
    staged = FileSet(place.writer)
    staged.delete("/x")
    data = bytearray(staged.layers()[0].encode())
    assert data[1] == 1
    data[1] = 2
    with pytest.raises(StorageError) as caught:
        Layer.decode(bytes(data))
    assert caught.value.code == "layer-format"


NAMES = st.sampled_from(["/a", "/b", "/a/x", "/a/y", "/b/x", "/a/x/1", "/c d/é"])
DIRECTORIES = st.sampled_from(["/", "/a", "/b", "/a/x", "/none"])
DATA = st.binary(max_size=3)


class FileSetMachine(RuleBasedStateMachine):
    """Streams of writes against a dictionary of what each file holds."""

    @initialize()
    def start(self) -> None:
        self.place = new_place()
        self.base = self.place.trees.empty
        self.layers: list[Layer] = []
        self.staged = FileSet(self.place.writer)
        self.committed: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}

    @rule(path=NAMES, data=DATA, append=st.booleans(), stream=st.booleans())
    def put(self, path: str, data: bytes, append: bool, stream: bool) -> None:
        if stream:
            self.staged.put_stream(path, io.BytesIO(data), append=append)
        else:
            self.staged.put_bytes(path, data, append=append)
        self.files[path] = self.files.get(path, b"") + data if append else data

    @rule(files=st.lists(st.tuples(NAMES, DATA), max_size=4), append=st.booleans())
    def put_rows(self, files: list[tuple[str, bytes]], append: bool) -> None:
        if not files:
            return
        self.staged.put_rows(rows_of(self.place, files), append=append)
        for path, data in files:
            self.files[path] = self.files.get(path, b"") + data if append else data

    @rule(path=NAMES)
    def delete(self, path: str) -> None:
        self.staged.delete(path)
        self.files.pop(path, None)

    @rule(path=DIRECTORIES)
    def delete_directory(self, path: str) -> None:
        self.staged.delete_directory(path)
        self.files = {name: data for name, data in self.files.items() if not name.startswith(path.rstrip("/") + "/")}

    @rule(store=st.booleans())
    def end_stream(self, store: bool) -> None:
        layers = self.staged.layers()
        self.layers += [Layer.decode(layer.encode()) for layer in layers] if store else layers
        self.staged = FileSet(self.place.writer)

    @rule()
    def commit(self) -> None:
        self.end_stream(store=True)
        if self.has_conflict():
            with pytest.raises(InvalidError) as caught:
                self.place.merge(self.base, self.layers)
            assert caught.value.code == "path-conflict"
            self.files = dict(self.committed)
        else:
            self.base = self.place.merge(self.base, self.layers)
            self.committed = dict(self.files)
            assert self.place.files(self.base) == self.files
            assert self.base.id == self.place.tree(self.files).id
        self.layers = []

    def has_conflict(self) -> bool:
        return any(other.startswith(path + "/") for path in self.files for other in self.files)

    @invariant()
    def a_commit_never_changes(self) -> None:
        if hasattr(self, "base"):
            assert self.place.files(self.base) == self.committed


TestFileSetMachine = FileSetMachine.TestCase
TestFileSetMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
