"""Plain Python assets in versioned branches: each output is a commit, each input the commit that the run should read."""

import importlib
import os
from collections.abc import Mapping
from typing import Any, Literal

import dagster as dg
from pydantic import ConfigDict, Field, PrivateAttr, field_validator

from pachyderm_dagster.pfs.reference_texts import parse_reference
from pachyderm_dagster.settings import HOME


class PachydermIOManager(dg.ConfigurableIOManager):
    """Keeps what assets return in branches, as commits, and reads inputs from there, whatever wrote them.

    ```python
    defs = dg.Definitions(assets=[clean], resources={"io_manager": PachydermIOManager()})
    ```

    Asset `[project, repo]` is `repo@master` of that project, `[project, branch, repo]` another branch, `[repo]` a repo of `project`: the keys that
    `build_definitions` gives branches and pipelines. So an asset can stand upstream of a pipeline, whose job its commit starts, and downstream of one.

    A step that is tried again finds the commit that an earlier try of the same run made. The annotation of an input decides as what it is read.

    Args:
        home: as `PACHYDERM_HOME`; empty takes the environment's. Other settings come from the environment and the home's `config.toml`.
        project: of assets whose key has one part.
        repos: by asset key, `project/repo`, where an asset is kept that is elsewhere than its key says: `[project/]repo[@branch]`. Metadata `pachyderm/repo`
            and `pachyderm/branch` on the asset do the same.
        write_branch: where all outputs go, for work on a copy; empty for each asset's own branch.
        read_branches: where inputs are looked for, in this order, before the asset's own branch; empty for `write_branch`, if that is given.
        version_by: what Dagster compares to tell what is stale: `commit`, or `content`, for which a commit that changes nothing is no news.
        pins: by asset key, the commit (an id, a branch, `master^`) that this run reads instead of the newest. A run tag `pachyderm/input.project.repo` does
            the same.
        allow_pickle: store what has no other form as a pickle, and read pickles, which runs code of whoever wrote them.
    """

    model_config = ConfigDict(extra="forbid")

    home: str = ""
    project: str = "default"
    repos: dict[str, str] = Field(default_factory=dict)
    write_branch: str = ""
    read_branches: list[str] = Field(default_factory=list)
    version_by: Literal["commit", "content"] = "commit"
    pins: dict[str, str] = Field(default_factory=dict)
    allow_pickle: bool = False

    _tags: dict[str, str] = PrivateAttr(default_factory=dict)
    _run_pins: list[str] = PrivateAttr(default_factory=list)
    _in_run: bool = PrivateAttr(default=False)
    # An OpenStorage; its module is imported with the first value, as it takes longer than a whole code location should.
    _storage: Any = PrivateAttr(default=None)

    @field_validator("repos")
    @classmethod
    def _check_repos(cls, repos: dict[str, str]) -> dict[str, str]:
        for named in repos.values():
            if not isinstance(named, dg.EnvVar):
                parse_reference(named)
        return repos

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Takes the run's tags, which may pin inputs."""
        self._in_run = context.run is not None
        if context.run is not None:
            run_config: Mapping[str, Any] = context.run.run_config
            resources: Mapping[str, Any] = run_config.get("resources", {})
            self._tags = dict(context.run.tags)
            self._run_pins = [key for found in resources.values() for key in found.get("config", {}).get("pins", ()) if key in self.pins]

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Lets go of the home. Folders that inputs were read into last until now, outside of a run until the process ends."""
        if self._storage is not None:
            self._storage.close(keep_files=not self._in_run)
            self._storage = None

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Makes the commit of an output. Errors as `io_outputs.write_output`."""
        self._open().store(context, obj)

    def load_input(self, context: dg.InputContext) -> Any:
        """Reads an input. Errors as `OpenStorage.load`."""
        return self._open().load(context)

    def _open(self) -> Any:
        if self._storage is None:
            here = "pachyderm_dagster.integration"
            storage = importlib.import_module(f"{here}.asset_branches").AssetStorage(
                project=self.project,
                repos=self.repos,
                write_branch=self.write_branch,
                read_branches=tuple(self.read_branches),
                version_by=self.version_by,
                pins=self.pins,
                allow_pickle=self.allow_pickle,
            )
            environ = {**os.environ, HOME: self.home} if self.home else os.environ
            self._storage = importlib.import_module(f"{here}.io_storage").OpenStorage(storage, environ, self._tags, self._run_pins)
        return self._storage
