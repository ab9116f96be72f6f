"""Assets of a user's own code, kept by an IO manager in the home of a test."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from pachyderm_dagster.integration import PachydermIOManager, build_definitions
from tests.integration.home import QUIET, Home


class Code:
    """A code location: the assets of a user, and those of the workspace."""

    def __init__(self, home: Home, *assets: Any, **options: Any) -> None:
        self.home, self.assets = home, assets
        self.io_manager = PachydermIOManager(home=home.environ["PACHYDERM_HOME"], **options)

    @property
    def definitions(self) -> dg.Definitions:
        own = dg.Definitions(assets=self.assets, resources={"io_manager": self.io_manager})
        return dg.Definitions.merge(build_definitions(self.home.environ), own)

    def run(self, *keys: str, partition: str | None = None, tags: Mapping[str, str] | None = None, config: Any = None) -> dg.ExecuteInProcessResult:
        """Materializes assets, as a click does."""
        return self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.home.instance,
            asset_selection=[dg.AssetKey.from_user_string(key) for key in keys],
            partition_key=partition,
            tags=tags,
            run_config={**QUIET, **(config or {})},
            raise_on_error=False,
        )

    def load(self, key: str, kind: Any = None) -> Any:
        return self.definitions.load_asset_value(dg.AssetKey.from_user_string(key), instance=self.home.instance, python_type=kind)

    def status(self, key: str) -> str:
        """What Dagster's UI says of an asset."""
        graph = self.definitions.resolve_asset_graph()
        resolver = CachingStaleStatusResolver(self.home.instance, graph, LoadingContextForTest(self.home.instance))
        return resolver.get_status(dg.AssetKey.from_user_string(key)).value

    def commits(self, branch: str) -> list[str]:
        """The ids of the commits of a branch, newest first."""
        commit = self.home.workspace.pfs.inspect_commit(branch)
        ids = [commit.id]
        while commit.parent is not None:
            commit = self.home.workspace.pfs.inspect_commit(f"{commit.repo}@{commit.parent}")
            ids.append(commit.id)
        return ids

    def read(self, file: str) -> bytes:
        return b"".join(self.home.workspace.pfs.get_file(file))


def error_of(result: dg.ExecuteInProcessResult) -> str:
    """What the step that failed says."""
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    error = failure.step_failure_data.error
    assert error is not None
    return error.to_string()
