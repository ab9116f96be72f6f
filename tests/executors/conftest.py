"""A workspace in a folder of its own, with a clock that tests own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.workspace import Workspace, open_workspace


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def workspace(tmp_path: Path, metadata_url: str, clock: ManualClock) -> Iterator[Workspace]:
    opened = open_workspace({"PACHYDERM_HOME": str(tmp_path / "home"), "PACHYDERM_METADATA_URL": metadata_url}, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def create(workspace: Workspace) -> Callable[..., None]:
    """Creates (or updates) the pipelines of a YAML text."""

    def make(text: str, *, update: bool = False, reprocess: bool = False) -> None:
        for spec in parse_specs(text, source="test"):
            workspace.pps.create_pipeline(spec, update=update, reprocess=reprocess)

    return make
