"""Functions of datums whose parameters are their inputs, as the types say: what they get, what becomes of their values, and what is refused."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration import Datum, datum_asset, pfs
from tests.integration.function_project import Project

HEAD = """
from pathlib import Path
from typing import Optional
import json

from pachyderm_dagster.integration import Datum, datum_asset, pfs

"""
TRIED_ONCE = 'spec={"datum_tries": 1}'


def one_input(code: str, glob: str = "/*") -> str:
    return f'{HEAD}@datum_asset(input=pfs("books", glob="{glob}"), {TRIED_ONCE})\n{code}'


def files(project: Project) -> dict[str, bytes]:
    listed = project.home.workspace.pfs.glob_file("count@master", "**/data.*")
    return {path: project.read(path) for path in listed.column("path").to_pylist()}


def test_text_bytes_and_json_come_in_and_values_go_below_the_path_of_the_match(project: Project) -> None:
    project.home.commit("books@master", {"/hamlet": "to be", "/faust": "habe nun ach"})
    module = project.write(one_input("def count(books: str) -> dict[str, int]:\n    return {'words': len(books.split())}\n"))
    project.run(module)
    assert files(project) == {"/hamlet/data.json": b'{"words": 2}', "/faust/data.json": b'{"words": 3}'}
    # As in any test of a function.
    assert module.count(books="one two three four") == {"words": 4}
    project.home.commit("books@master", {"/odes": "one"})
    project.run(module)
    assert project.counters() == [(1, 2), (2, 0)]


def test_table_of_a_group_comes_in_and_goes_into_the_folder_of_its_key(project: Project) -> None:
    project.home.commit("days@master", {"/mo-1.csv": "price\n1\n", "/mo-2.csv": "price\n2\n", "/tu-1.csv": "price\n3\n"})
    code = f"""{HEAD}
import pandas as pd

@datum_asset(input={{"group": [pfs("days", glob="/(*)-(*)", group_by="$1")]}}, {TRIED_ONCE})
def count(days: pd.DataFrame) -> pd.DataFrame:
    return days.sum().to_frame()
"""
    project.run(project.write(code))
    assert list(files(project)) == ["/mo/data.parquet", "/tu/data.parquet"]
    assert [pd.read_parquet(io.BytesIO(content))[0].tolist() for content in files(project).values()] == [[3], [3]]


def test_a_worker_imports_the_module_once_for_all_its_sets(project: Project, tmp_path: Path) -> None:
    project.home.commit("books@master", {f"/{number}": "x" for number in range(6)})
    seen = tmp_path / "imports"
    line = f"\nimport os\nif 'PACH_IN_WORKER' in os.environ: open({str(seen)!r}, 'a').write('imported ')\n"
    code = one_input("def count(books: Path) -> None:\n    pass\n").replace(TRIED_ONCE, 'spec={"datum_set_spec": {"number": 1}}') + line
    project.run(project.write(code))
    assert project.counters() == [(6, 0)]
    assert seen.read_text() == "imported "


def test_error_of_a_function_is_told_with_its_file_and_line_in_the_failure_of_the_step(project: Project) -> None:
    project.home.commit("books@master", {"/hamlet": "to be"})
    code = one_input("def count(books: str) -> int:\n    return int(books)\n")
    result = project.try_run(project.write(code))
    (failed,) = result.get_step_failure_events()
    data = failed.step_failure_data
    line = 1 + code.splitlines().index("    return int(books)")
    said = f"the function raised ValueError: invalid literal for int() with base 10: 'to be' (line {line} of {project.file})"
    assert data.user_failure_data is not None and said in str(data.user_failure_data.description)


def plain(datum, books):  # type: ignore[no-untyped-def]
    raise NotImplementedError


def of_paths(books: Path) -> None:
    raise NotImplementedError


def misspelt(boks: Path) -> None:
    raise NotImplementedError


def of_what_has_no_form(books: complex) -> None:
    raise NotImplementedError


def of_a_union(books: str | int) -> None:
    raise NotImplementedError


def of_many(*books: str) -> None:
    raise NotImplementedError


def of_a_table(books: pd.DataFrame) -> None:
    raise NotImplementedError


def of_a_text(books: "Optional[str]") -> None:  # type: ignore[name-defined]  # noqa: F821
    raise NotImplementedError


def returns_a_set(datum: Datum) -> set[str]:
    raise NotImplementedError


def returns_a_dataset(datum: Datum) -> ds.Dataset:
    raise NotImplementedError


def returns_a_table(datum: Datum) -> pa.Table:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("function", "input", "says"),
    [
        (misspelt, {}, "has the parameter 'boks', and no input has that name; name it as one of 'books'"),
        (plain, {}, "has the parameter 'books' without a type"),
        (of_what_has_no_form, {}, "of type complex, as which no files can be read; known are `Datum`"),
        (of_a_union, {}, "as which no files can be read"),
        (of_many, {}, "which inputs are meant cannot be told"),
        (of_a_text, {}, "cannot be understood: name 'Optional' is not defined; import what it names"),
        (of_a_table, {"lazy": True}, "the input is lazy"),
        (of_a_table, {"empty_files": True}, "the input has empty_files"),
        (returns_a_set, {}, "returns set[str], which has no form as files"),
        (returns_a_dataset, {}, "returns pyarrow.Dataset, which has no form as files"),
        (returns_a_table, {"batch": {"files": 2}}, "input 'books' has a batch of them"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_signature_that_inputs_cannot_fill_in_is_refused_when_it_is_defined(function: Callable[..., Any], input: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        datum_asset(input=pfs("books", glob="/*", **input))(function)
    assert caught.value.code == "parameter-invalid"
    assert says in caught.value.message
    assert caught.value.message.startswith(f"function {function.__module__}:{function.__name__} ")


@pytest.mark.parametrize("input", [{"lazy": True}, {"empty_files": True}, {"batch": {"files": 2}}], ids=lambda input: next(iter(input)))
def test_paths_are_given_of_any_input(input: dict[str, Any]) -> None:
    made = datum_asset(input=pfs("books", glob="/*", **input))(of_paths)
    assert made.keys == {dg.AssetKey(["default", "of_paths"])}
