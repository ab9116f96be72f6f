"""The package as a library of Dagster: which Dagster it takes, and what of it it uses."""

import ast
import importlib.metadata
import re

import dagster as dg
from dagster._annotations import is_public

import pachyderm_dagster
from tests.project.test_lock import PROJECT, ROOT

INNER = "pachyderm_dagster/integration/dagster_inner.py"
LOADER = "pachyderm_dagster/integration/dagster_code.py"
"""Apart from the other, since what it imports takes long."""


def test_installed_version_is_the_one_that_the_package_tells() -> None:
    assert importlib.metadata.version("pachyderm-dagster") == pachyderm_dagster.__version__


def test_every_distribution_of_dagster_has_the_same_range_and_the_installed_one_is_in_it() -> None:
    ranges = {re.sub(r"^[a-z-]+", "", requirement) for requirement in PROJECT["dependencies"] if requirement.startswith("dagster")}
    assert ranges == {">=1.12,<2"}
    assert (1, 12) <= tuple(map(int, dg.__version__.split(".")[:2])) < (2,)


def test_inner_names_of_dagster_are_used_in_one_module_only() -> None:
    found = set()
    for path in ROOT.glob("pachyderm_dagster/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []
            if any(re.match(r"(dagster|dagster_shared|dagster_graphql)(\.\w+)*\._", name) for name in names):
                found.add(str(path.relative_to(ROOT)))
    assert found == {INNER, LOADER}


def test_methods_of_instances_that_dagster_does_not_document_are_those_that_the_design_note_lists() -> None:
    (listed,) = re.findall(r"(?m)^- \*Beyond that module\*.*: (`.*)$", (ROOT / "docs/design/0023-a-library-of-dagster.md").read_text())
    used = set()
    for path in ROOT.glob("pachyderm_dagster/integration/*.py"):
        for node in ast.walk(ast.parse(path.read_text())) if path != ROOT / INNER else ():
            if isinstance(node, ast.Attribute) and "instance" in (getattr(node.value, "id", ""), getattr(node.value, "attr", "")):
                used.add(node.attr)
    assert {name for name in used if not is_public(getattr(dg.DagsterInstance, name))} == set(re.findall(r"`(\w+)`", listed))


def test_what_contexts_and_assets_are_made_of_is_looked_at_in_one_module_only() -> None:
    inner = {"asset_layer", "step_context", "assets_def", "instigator_name"}
    found = set()
    for path in ROOT.glob("pachyderm_dagster/**/*.py"):
        if inner & {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}:
            found.add(str(path.relative_to(ROOT)))
    assert found == {INNER}
