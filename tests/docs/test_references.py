"""The lists in docs/reference are complete and hold nothing that is gone."""

import ast
from collections.abc import Iterator

from pachyderm_dagster import errors, settings
from tests.docs.markdown import ROOT, table_rows

ERROR_CLASSES = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.PachydermError)}
KUBERNETES = {value for name, value in vars(settings).items() if name.startswith("KUBERNETES_")}
SETTINGS = {settings.HOME, settings.METADATA_URL, settings.STORAGE_URL, settings.COORDINATION_URL, settings.EXECUTOR, settings.OBJECTS} | {
    settings.PROJECT,
    settings.DAGSTER_HOME,
}


def raised() -> Iterator[tuple[str, str, str]]:
    """Code, class and place of every error that the package makes; one that takes another's code is that other one."""
    for path in sorted(ROOT.glob("pachyderm_dagster/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
            code = node.args[0]
            passed_on = isinstance(code, ast.Attribute) and code.attr == "code"
            if name in ERROR_CLASSES and not passed_on:
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                yield (code.value if isinstance(code, ast.Constant) and isinstance(code.value, str) else "", name, place)


def documented_errors() -> dict[str, str]:
    return {row[0].strip("`"): row[1].strip("`") for row in table_rows(ROOT / "docs" / "reference" / "errors.md") if len(row) == 4}


def test_codes_are_written_where_they_are_raised() -> None:
    assert [place for code, _, place in raised() if not code] == []


def test_every_code_has_one_class_and_is_documented_with_it() -> None:
    documented = documented_errors()
    wrong = [(code, name, place) for code, name, place in raised() if code and documented.get(code) != name]
    assert wrong == []


def test_no_code_is_documented_that_nothing_raises() -> None:
    assert documented_errors().keys() - {code for code, _, _ in raised()} == set()


def test_every_setting_is_documented() -> None:
    rows = table_rows(ROOT / "docs" / "reference" / "configuration.md")
    documented = {row[0].strip("`") for row in rows if row[0].startswith(("`PACHYDERM_", "`DAGSTER_"))}
    assert documented == SETTINGS | KUBERNETES
