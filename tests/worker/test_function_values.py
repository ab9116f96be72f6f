"""What a function gets of a datum by the types of its parameters, and what becomes of the value that it returns."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from pachyderm_dagster.values.kinds import VALUE_NAMES, has_form, library_name
from pachyderm_dagster.values.reading import _READERS
from pachyderm_dagster.values.writing import _WRITERS
from pachyderm_dagster.worker.datum_function import run_function
from pachyderm_dagster.worker.function_datum import Datum
from pachyderm_dagster.worker.function_parameters import read_signature

BOOKS = {"hamlet.txt": b"to be", "more/odes.txt": b"one"}
PRICES = {"a/one.csv": b"price\n1\n2\n", "a/two.csv": b"price\n3\n"}


class Root:
    """A `/pfs` with the files of inputs in it, by input and path."""

    def __init__(self, folder: Path, inputs: Mapping[str, Mapping[str, bytes]]) -> None:
        self.folder = folder
        self.inputs = inputs
        (folder / "out").mkdir()
        for name, files in inputs.items():
            for path, content in files.items():
                (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / name / path).write_bytes(content)

    def datum(self, **environment: str) -> Datum:
        """Args: environment: the matches, by input and below its folder, and other variables."""
        variables = {name: str(self.folder / name / value) if name in self.inputs else value for name, value in environment.items()}
        return Datum({name: self.folder / name for name in self.inputs}, self.folder / "out", variables)

    def output(self) -> dict[str, bytes]:
        out = self.folder / "out"
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def run(function: Callable[..., object], datum: Datum) -> str | None:
    return run_function(function, read_signature(function), datum)


def given(annotation: Any, datum: Datum, **also: Any) -> Any:
    """What a function gets whose parameter `books` is of this type."""
    got: list[Any] = []

    def function(books: Any) -> None:
        got.append(books)

    function.__annotations__["books"] = annotation
    assert run(function, datum) is None
    return got[0]


def returned(annotation: Any, value: object, datum: Datum) -> str | None:
    """Why a function fails that says it returns this type, and returns this value."""

    def function(datum: Datum) -> Any:
        return value

    function.__annotations__["return"] = annotation
    return run(function, datum)


def test_paths_are_what_the_glob_matched(tmp_path: Path) -> None:
    root = Root(tmp_path, {"books": BOOKS})
    every = [tmp_path / "books" / name for name in BOOKS]
    assert given(Path, root.datum(books="")) == tmp_path / "books"
    assert given(list[Path], root.datum(books="")) == every
    assert given(dict[str, bytes], root.datum(books="")) == BOOKS
    # Several matches: the variable holds one of them.
    assert given(Path, root.datum(books="hamlet.txt")) == tmp_path / "books"
    (tmp_path / "books" / "hamlet.txt").unlink()
    folder = root.datum(books="more")
    assert given(Path, folder) == tmp_path / "books" / "more"
    assert given(dict[str, bytes], folder) == {"odes.txt": b"one"}
    file = root.datum(books="more/odes.txt")
    assert given(Path, file) == every[1]
    assert (given(bytes, file), given(str, file), given(Optional[str], file), given("str", file)) == (b"one", "one", "one", "one")  # noqa: UP045


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        (pd.DataFrame, len),
        (pl.DataFrame, lambda frame: frame.height),
        (pl.LazyFrame, lambda frame: frame.collect().height),
        (pa.Table, lambda found: found.num_rows),
        (ds.Dataset, lambda found: found.count_rows()),
    ],
    ids=["pandas", "polars", "lazy", "arrow", "dataset"],
)
def test_tables_of_each_library_come_in(tmp_path: Path, kind: type, rows: Callable[[Any], int]) -> None:
    root = Root(tmp_path, {"books": PRICES})
    found = given(kind, root.datum(books="a"))
    assert isinstance(found, kind) and rows(found) == 3


@pytest.mark.parametrize(
    ("kind", "value", "name"),
    [
        (pd.DataFrame, pd.DataFrame({"a": [1]}), "data.parquet"),
        (pl.DataFrame | None, pl.DataFrame({"a": [1]}), "data.parquet"),
        (pl.LazyFrame, pl.LazyFrame({"a": [1]}), "data.parquet"),
        (pa.Table, pa.table({"a": [1]}), "data.parquet"),
        (np.ndarray, np.zeros(2), "data.npy"),
        (bytes, b"1", "data.bin"),
        (str, "1", "data.txt"),
        (dict[str, bytes], {"x/y": b"1"}, "x/y"),
        (float, 1, "data.json"),
        (dict[str, int], {"a": 1}, "data.json"),
    ],
    ids=["pandas", "polars", "lazy", "arrow", "numpy", "bytes", "str", "folder", "float", "dict"],
)
def test_value_is_written_below_the_path_of_the_match(tmp_path: Path, kind: Any, value: object, name: str) -> None:
    root = Root(tmp_path, {"books": {"hamlet": b""}})
    assert returned(kind, value, root.datum(books="hamlet")) is None
    assert list(root.output()) == [f"hamlet/{name}"]


def test_path_that_is_returned_is_copied_and_none_is_no_output(tmp_path: Path) -> None:
    root = Root(tmp_path, {"books": BOOKS})
    assert returned(Path, tmp_path / "books", root.datum(books="")) is None
    assert root.output() == BOOKS
    assert returned(Optional[Path], None, root.datum(books="")) is None  # noqa: UP045
    assert root.output() == BOOKS


def test_values_of_a_cross_lie_below_all_matches_and_of_a_group_below_its_key(tmp_path: Path) -> None:
    root = Root(tmp_path, {"sizes": {"x/deep": b""}, "books": {"a": b""}})
    assert returned(str, "", root.datum(books="a", sizes="x/deep")) is None
    assert list(root.output()) == ["a/x/deep/data.txt"]
    assert returned(bytes, b"", root.datum(books="a", sizes="x/deep", PACH_DATUM_books_GROUP_BY="mo", PACH_DATUM_sizes_GROUP_BY="mo")) is None
    assert list(root.output()) == ["a/x/deep/data.txt", "mo/data.bin"]


def test_input_that_a_datum_lacks_is_none_or_the_default_or_told(tmp_path: Path) -> None:
    datum = Root(tmp_path, {"books": {"a": b"1"}}).datum(books="a")
    got: list[object] = []

    def lenient(books: str, /, songs: str | None, *, least: int = 3) -> None:
        got.append((books, songs, least))

    def strict(songs: str) -> None:
        raise NotImplementedError

    assert run(lenient, datum) is None
    assert got == [("1", None, 3)]
    said = run(strict, datum)
    assert said is not None and "this datum has no input 'songs'" in said and "`... | None`" in said


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        (str, 7, "the function returned int, and its annotation says str"),
        (str, None, "the function returned NoneType, and its annotation says str"),
        (None, 7, "the function returned int, which goes nowhere; annotate what it returns"),
        (dict, {"a": {1}}, "has no form as files; JSON gives back other values"),
        (dict, {"a": {1}}, "or write it into files of `datum.out` [output-type]"),
        (dict[str, bytes], {"../../x": b""}, "[path-invalid]"),
        (Path, Path("out"), "which is in the output already"),
        (Path, Path("nowhere"), "[source-not-found]"),
        (bytes, b"", "would replace"),
    ],
    ids=["other type", "none", "unsaid", "no form", "way out", "path outside", "path of the output", "path that is not there", "written already"],
)
def test_value_that_cannot_be_written_fails_the_datum(tmp_path: Path, kind: Any, value: object, says: str, capfd: pytest.CaptureFixture[str]) -> None:
    root = Root(tmp_path, {"books": {"hamlet": b""}})
    (tmp_path / "out" / "hamlet").mkdir()
    (tmp_path / "out" / "hamlet" / "data.bin").touch()
    said = returned(kind, tmp_path / value if isinstance(value, Path) else value, root.datum(books="hamlet"))
    assert said is not None and says in said
    assert "Traceback" not in capfd.readouterr().err
    assert list(root.output()) == ["hamlet/data.bin"]


def test_files_that_are_no_such_value_fail_the_datum_with_what_was_found_and_no_trace(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = Root(tmp_path, {"books": {"hamlet": b"\xff"}})

    def function(books: str) -> None:
        raise NotImplementedError

    said = run(function, root.datum(books="hamlet"))
    assert said is not None and said.startswith(f"{tmp_path}/books/hamlet cannot be read as str: it is not UTF-8")
    assert capfd.readouterr().err == f"{said}\n"


def test_names_of_types_are_those_that_are_read_and_written() -> None:
    assert set(_READERS) == VALUE_NAMES
    assert VALUE_NAMES - set(_WRITERS) == {"pyarrow.Dataset"}
    for kind in (pd.DataFrame, pl.DataFrame, pl.LazyFrame, pa.Table, ds.Dataset, np.ndarray, bytes, str):
        assert library_name(kind) in VALUE_NAMES and has_form(kind) and has_form(kind | None)
    assert not has_form(complex) and not has_form(str | bytes) and not has_form(type(None)) and not has_form(Any)
