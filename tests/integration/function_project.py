"""A module of a user with a function of datums, `count`, on disk and imported."""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import dagster as dg

from pachyderm_dagster.integration import commit_automation
from tests.integration.home import Home
from tests.integration.test_assets import run_all


@dataclass
class Project:
    """A module of a user, on disk and imported."""

    home: Home
    file: Path

    def write(self, code: str) -> ModuleType:
        """The module anew, as a code location loads it."""
        self.file.write_text(code)
        sys.modules.pop(self.file.stem, None)
        importlib.invalidate_caches()
        return importlib.import_module(self.file.stem)

    def run(self, module: ModuleType) -> dg.Definitions:
        """Runs what is due."""
        definitions = dg.Definitions.merge(dg.Definitions(assets=[module.count]), commit_automation([module.count], environ=self.home.environ))
        run_all(self.home, definitions)
        return definitions

    def counters(self) -> list[tuple[int, int]]:
        """How many datums each job processed and skipped, newest job first."""
        return [(job.counters.data_processed, job.counters.data_skipped) for job in self.home.jobs("count")]

    def read(self, path: str) -> bytes:
        return b"".join(self.home.workspace.pfs.get_file(f"count@master:{path}"))

    def try_run(self, module: ModuleType) -> dg.ExecuteInProcessResult:
        """Runs the asset, which may fail."""
        definitions = dg.Definitions.merge(dg.Definitions(assets=[module.count]), commit_automation([module.count], environ=self.home.environ))
        return definitions.resolve_job_def("pipelines_default").execute_in_process(instance=self.home.instance, raise_on_error=False)
