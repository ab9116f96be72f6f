"""The package declares what it imports, and imports what it declares."""

import ast
import sys

from tests.project.test_lock import PROJECT, ROOT, normal

# Where a distribution is imported by another name.
IMPORT_NAMES = {"jsonnet": "_jsonnet", "pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}
# Needed without an import: the web page that `pachyderm-dagster dev` starts as a process of its own.
COME_ALONG = {"botocore", "dagster_graphql", "dagster_shared"}
"""With boto3, dagster-webserver and dagster, which pin them."""
STARTED = {"dagster_webserver"}


def imported(folder: str) -> set[str]:
    """The top-level modules that the folder's code imports and that are neither Python's nor the project's own."""
    names: set[str] = set()
    for path in ROOT.glob(f"{folder}/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module" and isinstance(node.args[0], ast.Constant):
                names.add(str(node.args[0].value).partition(".")[0])
    return names - sys.stdlib_module_names - {"pachyderm_dagster", "definitions"}


def declared(requirements: list[str]) -> set[str]:
    """The modules that the requirements bring."""
    return {IMPORT_NAMES.get(normal(name), normal(name).replace("-", "_")) for name in requirements}


def test_package_declares_exactly_what_it_imports() -> None:
    optional = PROJECT["optional-dependencies"]
    extras = declared([requirement for name in optional if name not in ("dev", "examples", "spark") for requirement in optional[name]])
    assert imported("pachyderm_dagster") - extras - COME_ALONG | STARTED == declared(PROJECT["dependencies"])


def test_examples_declare_what_they_import() -> None:
    optional = PROJECT["optional-dependencies"]
    examples = declared([*optional["examples"], *optional["spark"]])
    assert imported("definitions") - imported("pachyderm_dagster") == examples


def test_kubeflow_folder_does_not_shadow_the_package_of_that_name() -> None:
    assert not (ROOT / "kubeflow" / "__init__.py").exists()
