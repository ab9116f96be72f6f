"""The process of `dev` and of releases that reacts to commits: its code location is the workspace as it is, and Dagster's web server launches the runs."""

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.integration.automation import job_name
from pachyderm_dagster.integration.branch_assets import BranchAssets
from pachyderm_dagster.integration.instance import open_instance
from pachyderm_dagster.integration.reacting import open_reactor
from pachyderm_dagster.integration.served_projects import ServedProject
from pachyderm_dagster.integration.snapshot import InputBranch, Snapshot
from pachyderm_dagster.integration.translator import PachydermTranslator, keys_elsewhere
from pachyderm_dagster.integration.web_api import asking, launch_run
from pachyderm_dagster.log_lines import TEXT, process_log, set_up
from pachyderm_dagster.pfs.model import BranchName
from pachyderm_dagster.workspace import open_workspace


@dataclass(slots=True)
class DevCode:
    """The code location of `dev`, which a web server knows by this name, and which is loaded again whenever the record changes."""

    url: str
    location: str
    _snapshot: Snapshot | None = None
    _served: Mapping[str, ServedProject] = field(default_factory=dict)

    def serve(self, snapshot: Snapshot) -> Mapping[str, ServedProject]:
        """All projects."""
        if snapshot != self._snapshot:
            self._snapshot, self._served = snapshot, _projects_of(snapshot)
        return self._served

    def launch(self, project: str, keys: Sequence[dg.AssetKey], tags: Mapping[str, str]) -> None:
        """Has these assets run. Errors as `web_api.launch_run`."""
        launch_run(asking(self.url), self.location, job_name(project), [key.path for key in keys], tags)


def _projects_of(snapshot: Snapshot) -> dict[str, ServedProject]:
    translator = PachydermTranslator()
    keys = {branch.name: translator.get_asset_spec(branch).key for branch in snapshot.branches}
    keys |= {pipeline.output: translator.get_asset_spec(pipeline).key for pipeline in snapshot.pipelines}
    keys |= keys_elsewhere(snapshot.assets)

    def key_of(branch: BranchName) -> dg.AssetKey:
        return keys[branch] if branch in keys else translator.get_asset_spec(InputBranch(branch, "")).key

    found = {project: {one.name: keys[one.output] for one in snapshot.pipelines if one.name.project == project} for project in snapshot.projects}
    return {project: ServedProject(pipelines, BranchAssets(key_of)) for project, pipelines in found.items()}


def main(words: Sequence[str]) -> int:
    """The process of `pachyderm-dagster dev`, of the chart's coordinator and of the Compose file."""
    parser = argparse.ArgumentParser(description="Runs commit sets the moment they are due.")
    parser.add_argument("--url", required=True, help="Dagster's web server")
    parser.add_argument("--location", required=True, help="the code location's name there")
    parser.add_argument("--instant", action="store_true", help="do short jobs in this process")
    asked = parser.parse_args(words)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    set_up(TEXT)
    try:
        workspace = open_workspace(os.environ)
        set_up(workspace.settings.log_format)
        try:
            with (
                open_instance(workspace.settings) as instance,
                open_reactor(workspace, os.environ, instance, DevCode(asked.url, asked.location), is_instant=asked.instant) as reactor,
            ):
                reactor.serve()
        finally:
            workspace.close()
    except KeyboardInterrupt:
        pass
    except PachydermError as error:
        process_log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
