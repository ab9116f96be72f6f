"""Homes have to be whole, whatever was done to them."""

from pachyderm_dagster.pfs.checking import Upkeep
from pachyderm_dagster.pps.checking import check_home
from pachyderm_dagster.workspace import Workspace


def check_whole(workspace: Workspace) -> None:
    """Fails when fsck finds a problem; what waits for the next upkeep is none."""
    found = check_home(workspace.database, workspace.store, deep=True, progress=lambda _: None)
    assert [one.problem for one in found if not isinstance(one.problem.repair, Upkeep)] == []
