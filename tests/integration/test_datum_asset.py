"""`@datum_asset`: a function of a datum, run by real workers, and what makes it run again."""

import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration import Datum, datum_asset, pfs
from pachyderm_dagster.integration.datum_assets import DatumAsset
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.worker.function_code import RUNNER
from tests.cli.pachctl import ROOT
from tests.integration.function_project import Project
from tests.integration.test_job_step import table

COUNT = dg.AssetKey(["default", "count"])
CODE = '''
"""Counts words."""
from pachyderm_dagster.integration import Datum, datum_asset, pfs

LEAST = 0


@datum_asset(input=pfs("books", glob="/*"), spec={"datum_tries": 1})
def count(datum: Datum) -> None:
    """The words of each book."""
    for book in datum.files():
        words = len(book.read_text().split())
        print(book.name, "has", words, "words")
        if words <= LEAST:
            raise ValueError(f"{book.name} is empty")
        (datum.out / book.name).write_text(str(words))
'''


def test_function_runs_for_new_and_changed_datums_and_again_when_its_code_changes(project: Project) -> None:
    project.home.commit("books@master", {"/hamlet": "to be or not", "/faust": "habe nun"})
    module = project.write(CODE)
    project.run(module)
    assert project.read("/hamlet") == b"4"
    project.home.commit("books@master", {"/faust": "habe nun ach", "/odes": "one"})
    project.run(module)
    assert project.counters() == [(2, 1), (2, 0)]
    assert project.read("/faust") == b"3"
    # Comments and layout are no code.
    project.run(project.write(CODE.replace("LEAST = 0", "# How many are too few?\nLEAST   =  0")))
    assert len(project.counters()) == 2
    project.run(project.write(CODE.replace("str(words)", 'f"{words} words"')))
    assert project.counters()[0] == (3, 0)
    assert project.read("/faust") == b"3 words"
    # What the older code made is still there.
    project.run(module := project.write(CODE))
    assert project.counters()[0] == (0, 3)
    assert module.count.metadata_by_key[COUNT]["pachyderm/pipeline"] == "count"


def test_failing_datum_fails_the_check_and_names_its_files_and_the_others_are_done(project: Project) -> None:
    project.home.commit("books@master", {"/empty": "", "/hamlet": "to be"})
    module = project.write(CODE)
    result = project.try_run(module)
    assert not result.success
    (check,) = result.get_asset_check_evaluations()
    (failed,) = table(check.metadata["pachyderm/failed_datums"])
    assert str(failed["files"]).endswith(":/empty")
    assert "the code gave the datum up: the function raised ValueError: empty is empty (line " in str(failed["reason"])
    newest: Job = project.home.jobs("count")[0]
    assert (newest.counters.data_processed, newest.counters.data_failed) == (1, 1)
    said = [line.text for line in project.home.workspace.pps.logs(newest)]
    assert "hamlet has 2 words" in said and any("Traceback" in line for line in said)


def test_function_is_run_by_another_interpreter_that_has_its_module(project: Project, tmp_path: Path) -> None:
    python = tmp_path / "image" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho by another\nPYTHONPATH={ROOT}:{tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    project.home.commit("books@master", {"/hamlet": "to be"})
    project.run(project.write(CODE.replace("spec=", f"python={str(python)!r}, spec=")))
    assert project.read("/hamlet") == b"2"
    assert "by another" in [line.text for line in project.home.workspace.pps.logs(project.home.jobs("count")[0])]
    # Nothing of where it was loaded is in the command.
    with project.home.workspace.database.read() as txn:
        command = pipelines.get_pipeline(txn, RepoName("default", "count")).spec.transform.cmd
    assert command == (str(python), "-P", "-m", RUNNER, "", "words_of_books:count")


def test_code_that_changed_since_it_was_loaded_is_not_run_under_its_old_name(project: Project) -> None:
    project.home.commit("books@master", {"/hamlet": "to be"})
    module = project.write(CODE)
    project.file.write_text(CODE.replace("LEAST = 0", "LEAST = 1"))
    project.try_run(module)
    (job, *_) = project.home.jobs("count")
    assert "[code-changed]" in job.reason and "reload the code location" in job.reason


def test_decorated_function_can_be_called_and_is_an_asset(project: Project, tmp_path: Path) -> None:
    count = project.write(CODE).count
    books, out = tmp_path / "books", tmp_path / "out"
    books.mkdir()
    out.mkdir()
    (books / "hamlet").write_text("to be")
    count(Datum({"books": books}, out))
    assert (out / "hamlet").read_text() == "2"
    assert isinstance(count, dg.AssetsDefinition)
    spec = count.get_asset_spec(COUNT)
    assert spec.description == "The words of each book."
    assert {dep.asset_key for dep in spec.deps} == {dg.AssetKey(["default", "books"])}
    assert spec.kinds == {"pachyderm", "python"}
    (reference,) = spec.metadata["dagster/code_references"].code_references
    assert (reference.file_path, reference.line_number) == (str(project.file), 8)
    # Dagster copies definitions.
    assert dg.Definitions(assets=[count]).resolve_assets_def(COUNT).keys == {COUNT}


def test_helper_module_that_is_named_is_part_of_the_code(project: Project, tmp_path: Path) -> None:
    helper = tmp_path / "helper_of_words.py"
    code = CODE.replace('"""Counts words."""', "import helper_of_words").replace("spec=", "code=[helper_of_words], spec=")
    versions = set()
    try:
        for text in ("LEAST = 0", "LEAST = 1", "LEAST = 0  # again"):
            helper.write_text(text)
            sys.modules.pop("helper_of_words", None)
            versions.add(project.write(code).count.get_asset_spec(COUNT).code_version)
    finally:
        sys.modules.pop("helper_of_words", None)
    assert len(versions) == 2


def nested() -> Any:
    def inner(datum: Datum) -> None:
        raise NotImplementedError

    return inner


def at_top(datum: Datum) -> None:
    """Of a module that can be imported."""


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (lambda datum: None, "is a lambda"),
        (nested(), "defined within a function or a class"),
        (Datum.folder, "defined within a function or a class"),
        (len, "is no function but a builtin_function_or_method"),
    ],
    ids=["lambda", "nested", "method", "builtin"],
)
def test_what_a_worker_could_not_import_is_refused(function: Any, found: str) -> None:
    with pytest.raises(InvalidError, match="function-not-importable") as caught:
        datum_asset(input=pfs("books"))(function)
    assert found in caught.value.message and "; " in caught.value.message


@pytest.mark.parametrize(("module", "found"), [("__main__", "program that was started"), ("some.where", "no file"), ("json", "an import would not find it")])
def test_function_of_a_module_that_cannot_be_found_is_refused(module: str, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_top, "__module__", module)
    if module == "json":
        monkeypatch.setattr(sys.modules["json"], "__file__", "/somewhere/else.py")
    with pytest.raises(InvalidError, match="function-not-importable") as caught:
        datum_asset(input=pfs("books"))(at_top)
    assert found in caught.value.message


def test_further_fields_of_the_pipeline_are_taken_and_those_of_the_decorator_refused() -> None:
    made = datum_asset(input={"cross": [pfs("a"), pfs("b", glob="/*")]}, name="other", spec={"datum_tries": 2, "transform": {"env": {"A": "1"}}})(at_top)
    assert isinstance(made, DatumAsset)
    document = dict(made.metadata_by_key[dg.AssetKey(["default", "other"])])["pachyderm/spec"].value
    assert document["datum_tries"] == 2 and document["transform"]["env"]["A"] == "1"
    refused: list[dict[str, Any]] = [{"input": {}}, {"transform": {"cmd": ["sh"]}}]
    for given in refused:
        with pytest.raises(InvalidError, match="asset-invalid"):
            datum_asset(input=pfs("a"), spec=given)(at_top)


def test_datum_names_its_inputs_and_files(tmp_path: Path) -> None:
    for path in ("a/one", "b/x/two", "b/three"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    datum = Datum({"a": tmp_path / "a", "b": tmp_path / "b"}, tmp_path)
    assert datum.file("a").name == "one"
    assert [str(datum.relative(path)) for path in datum.files("b")] == ["three", "x/two"]
    for ask, code in ((lambda: datum.file("b"), "not-one-file"), (datum.files, "input-unknown"), (lambda: datum.folder("c"), "input-unknown")):
        with pytest.raises(InvalidError) as caught:
            ask()
        assert caught.value.code == code
