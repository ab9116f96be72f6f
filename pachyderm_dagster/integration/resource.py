"""The workspace as a Dagster resource, for assets that users write."""

import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from pachyderm_dagster.settings import HOME

if TYPE_CHECKING:
    from pachyderm_dagster.workspace import Workspace


class PachydermResource(dg.ConfigurableResource["Workspace"]):
    """Versioned files in an asset of your own.

    ```python
    @dg.asset(deps=[["default", "images"]])
    def count(pachyderm: PachydermResource) -> int:
        with pachyderm.open() as workspace:
            return workspace.pfs.glob_file("images@master", "/**").num_rows


    defs = dg.Definitions(assets=[count], resources={"pachyderm": PachydermResource()})
    ```

    Args:
        home: as `PACHYDERM_HOME`; empty takes the environment's. Other settings come from the environment and the home's `config.toml`.
    """

    home: str = ""

    @contextlib.contextmanager
    def open(self) -> "Iterator[Workspace]":
        """The workspace, for a `with` block. Errors as `open_workspace`."""
        environ = {**os.environ, HOME: self.home} if self.home else os.environ
        workspace: Workspace = importlib.import_module("pachyderm_dagster.workspace").open_workspace(environ)
        try:
            yield workspace
        finally:
            workspace.close()
