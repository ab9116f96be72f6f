"""Every notebook runs from its top to its end, and shows what it prints."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.docs.markdown import ROOT, name_of

NOTEBOOKS = sorted(ROOT.glob("docs/**/*.ipynb"))


def shown(notebook: Any) -> list[list[str]]:
    """What the cells show, cell by cell."""
    return [[output.get("text") or output["data"]["text/plain"] for output in cell.outputs] for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
# What Jupyter's client says of its own ways.
@pytest.mark.filterwarnings("default::DeprecationWarning", "default::ResourceWarning", "default::UserWarning")
def test_notebook_runs_and_shows_what_it_prints(path: Path, tmp_path: Path) -> None:
    written, run = (nbformat.read(path, as_version=4) for _ in range(2))  # type: ignore[no-untyped-call]  # it ships no types
    NotebookClient(run, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert shown(run) == shown(written)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_notebook_holds_nothing_of_the_machine_that_wrote_it(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]  # it ships no types
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}
    assert [cell.metadata for cell in notebook.cells if cell.metadata] == []
    assert [text for texts in shown(notebook) for text in texts if "/tmp" in text or "/home" in text or "0x" in text] == []
