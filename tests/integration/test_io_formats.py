"""Values as files, and files as what is asked for."""

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

import hypothesis.strategies as st
import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given

from pachyderm_dagster.client.changes import FileChanges
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration.io_folders import Checkouts, ReadFolder, StoredFolder
from pachyderm_dagster.values.reading import Reading
from pachyderm_dagster.values.writing import _is_json, write_value
from pachyderm_dagster.workspace import Workspace

ROWS = {"name": ["fiat", "opel", "ford"], "speed": [120, 140, 180]}
TABLES: dict[str, Callable[[], Any]] = {
    "pandas": lambda: pd.DataFrame(ROWS),
    "polars": lambda: pl.DataFrame(ROWS),
    "lazy": lambda: pl.LazyFrame(ROWS).filter(pl.col("speed") > 0),
    "arrow": lambda: pa.table(ROWS),
}
SHAPES: dict[Any, Callable[[Any], Any]] = {
    pd.DataFrame: lambda frame: frame.to_dict("list"),
    pl.DataFrame: lambda frame: frame.to_dict(as_series=False),
    pl.LazyFrame: lambda frame: frame.collect().to_dict(as_series=False),
    pa.Table: lambda table: table.to_pydict(),
    ds.Dataset: lambda dataset: dataset.to_table().to_pydict(),
}


@pytest.fixture
def checkouts() -> Iterator[Checkouts]:
    made = Checkouts()
    yield made
    made.close()


class Store:
    """Writes a value as a commit and reads it back."""

    def __init__(self, workspace: Workspace, checkouts: Checkouts) -> None:
        self._workspace, self._checkouts = workspace, checkouts
        workspace.pfs.create_repo("data")

    def write(self, value: object, folder: str = "/", *, allow_pickle: bool = False) -> None:
        with self._workspace.pfs.modify_file("data@master") as files:
            write_value(FileChanges(self._workspace.pfs, files), folder, value, allow_pickle=allow_pickle)

    def put(self, **files: bytes) -> None:
        with self._workspace.pfs.modify_file("data@master") as changes:
            for name, content in files.items():
                changes.put_bytes("/" + name.replace("__", "/").replace("_", "."), content)

    def read(self, asked: Any, folder: str = "/", *, allow_pickle: bool = False) -> Any:
        commit = self._workspace.pfs.inspect_commit("data@master")
        stored = StoredFolder.open(self._workspace.pfs, str(self._workspace.settings.home), commit, folder)
        return Reading(ReadFolder(stored, self._checkouts), asked, allow_pickle).value()


@pytest.fixture
def store(workspace: Workspace, checkouts: Checkouts) -> Store:
    return Store(workspace, checkouts)


@pytest.mark.parametrize("asked", SHAPES, ids=lambda kind: f"{kind.__module__.partition('.')[0]}.{kind.__name__}")
@pytest.mark.parametrize("made", TABLES)
def test_a_table_of_one_library_is_read_by_any_other(store: Store, made: str, asked: Any) -> None:
    store.write(TABLES[made]())
    assert SHAPES[asked](store.read(asked)) == ROWS


@pytest.mark.parametrize(("made", "kind"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame), ("lazy", pl.DataFrame), ("arrow", pa.Table)])
def test_a_table_is_read_as_what_wrote_it_when_nothing_is_asked_for(store: Store, made: str, kind: type) -> None:
    store.write(TABLES[made]())
    assert isinstance(store.read(Any), kind)


@pytest.mark.parametrize(("made", "library"), [("pandas", "pandas"), ("polars", "polars")])
def test_library_that_is_missing_is_named(store: Store, monkeypatch: pytest.MonkeyPatch, made: str, library: str) -> None:
    store.write(TABLES[made]())
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InvalidError, match=f"{library} is not installed.*'data.parquet'"):
        store.read(Any)


def test_index_of_pandas_and_types_of_polars_come_back(store: Store) -> None:
    frame = pd.DataFrame({"speed": [1, 2]}, index=pd.Index(["a", "b"], name="car"))
    store.write(frame, "/pandas")
    assert store.read(pd.DataFrame, "/pandas").equals(frame)
    series = pl.DataFrame({"size": pl.Series(["s", "m", "s"], dtype=pl.Enum(["s", "m"]))})
    store.write(series, "/polars")
    assert store.read(pl.DataFrame, "/polars").schema == series.schema


@pytest.mark.parametrize(
    "value", [b"\x00\xff", "größe\n", {"a": [1, 2.5, None, True, "x"]}, [], {}, 7, 0.1, False, None], ids=lambda value: type(value).__name__
)
def test_plain_values_come_back_as_they_were(store: Store, value: object) -> None:
    store.write(value)
    found = store.read(type(value) if value is not None else Any)
    assert found == value and type(found) is type(value)
    assert store.read(Any) == value
    assert store.read(Optional[type(value)]) == value  # noqa: UP045 - as Dagster has it


def test_array_comes_back(store: Store) -> None:
    array = np.arange(6.0).reshape(2, 3)
    store.write(array)
    for asked in (np.ndarray, Any):
        assert np.array_equal(store.read(asked), array)


def test_folder_and_file_of_this_machine_come_back_as_a_folder(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "a.txt").write_text("a")
    (source / "deep" / "er" / "b.txt").write_text("b")
    store.write(source, "/folder")
    store.write(source / "a.txt", "/file")
    here = store.read(Path, "/folder")
    assert {str(path.relative_to(here)): path.read_text() for path in here.rglob("*") if path.is_file()} == {"a.txt": "a", "deep/er/b.txt": "b"}
    assert (store.read(Path, "/file") / "a.txt").read_text() == "a"
    assert store.read(dict[str, bytes], "/folder") == {"a.txt": b"a", "deep/er/b.txt": b"b"}


def test_dict_of_bytes_is_a_folder_of_files(store: Store) -> None:
    files = {"a.txt": b"a", "deep/b.txt": b"b"}
    store.write(files)
    assert store.read(dict[str, bytes]) == files


def test_folder_of_csv_is_a_table(store: Store) -> None:
    store.put(a_csv=b"name,speed\nfiat,120\n", deep__b_csv=b"name,speed\nopel,140\n")
    assert store.read(pd.DataFrame)["speed"].tolist() == [120, 140]
    assert store.read(pl.LazyFrame).select(pl.col("speed").sum()).collect().item() == 260
    assert store.read(ds.Dataset).count_rows() == 2


def test_checkouts_are_made_once_and_go_when_they_are_closed(store: Store, checkouts: Checkouts) -> None:
    store.put(a_txt=b"a", b_txt=b"b")
    here = store.read(Path)
    assert store.read(Path) == here
    checkouts.close()
    assert not here.exists()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "Duplicate column names.*a name of its own"),
        (pd.DataFrame({"a": [1j]}), "one type, of those that Parquet has"),
        ("\ud800", "cannot be stored as UTF-8"),
    ],
    ids=["columns of one name", "complex numbers", "half of a pair"],
)
def test_value_that_its_form_cannot_hold_is_refused(store: Store, value: object, says: str) -> None:
    with pytest.raises(InvalidError, match=says) as caught:
        store.write(value)
    assert caught.value.code == "output-type"


@dataclasses.dataclass
class Car:
    name: str


@pytest.mark.parametrize(
    "value", [Car("fiat"), {1: "a"}, (1, 2), {"a": (1, 2)}, math.nan, {"a": Car("x")}, {"a": b"1", "b": 2}, pd.Series([1]), np.float64(1.0)], ids=repr
)
def test_value_without_a_form_is_refused_and_can_be_pickled_by_choice(store: Store, value: object) -> None:
    with pytest.raises(InvalidError, match="`allow_pickle: true`") as caught:
        store.write(value)
    assert caught.value.code == "output-type"
    store.write(value, allow_pickle=True)
    with pytest.raises(InvalidError, match="is a pickle"):
        store.read(Any)
    found = store.read(type(value), allow_pickle=True)
    assert type(found) is type(value) and repr(found) == repr(value)


@pytest.mark.parametrize("value", [pd.DataFrame({"a": [1, "x", Car("y")]}), np.array([Car("x")])], ids=["pandas", "numpy"])
def test_objects_in_columns_are_refused(store: Store, value: object) -> None:
    with pytest.raises(InvalidError, match="one type|numbers or texts"):
        store.write(value)


@pytest.mark.parametrize(
    ("asked", "why"),
    [(bytes, "one file"), (str, "one file"), (pd.DataFrame, "a table is read from"), (dict, r"one \.json file"), (np.ndarray, r"one \.npy file")],
    ids=["bytes", "str", "pandas", "dict", "numpy"],
)
def test_files_that_are_no_such_value_are_told_with_what_was_found(store: Store, asked: Any, why: str) -> None:
    store.put(a_txt=b"a", b_png=b"b")
    with pytest.raises(InvalidError, match=rf"{why}.*'a\.txt', 'b\.png'.*annotate the input with `Path`") as caught:
        store.read(asked)
    assert caught.value.code == "input-type"


def test_text_that_is_none_is_refused(store: Store) -> None:
    store.put(
        a_txt=b"\xff",
    )
    with pytest.raises(InvalidError, match="not UTF-8"):
        store.read(str)
    store.put(a_json=b"{")
    with pytest.raises(InvalidError, match="one \\.json file"):
        store.read(dict)


def slow_is_json(value: object) -> bool:
    """By what JSON does with it."""
    try:
        back = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return False
    return repr(back) == repr(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"])) | st.binary(max_size=2),
        lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_json_is_what_json_gives_back(value: object) -> None:
    assert _is_json(value) == slow_is_json(value)
