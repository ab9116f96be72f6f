"""A job that runs beside the command line that looks at it."""

import json
import os
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

from pachyderm_dagster.executors.local import LocalExecutor
from pachyderm_dagster.executors.run_job import run_job
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.workspace import open_workspace
from tests.cli.pachctl import Pachctl


class JobThread:
    """A job of the pipeline `work`, which reads two files; the datum of the first one ended in the job before.

    Args:
        script: of each datum. `{here}` in it waits until others see that the datum runs, and then lets `start` return.
        fields: of the specification.
    """

    def __init__(self, pachctl: Pachctl, home: Path, folder: Path, script: str, files: tuple[str, str], **fields: Any) -> None:
        self._home, self._reached = home, folder / "reached"
        os.mkfifo(self._reached)
        here = f"while ! ls {home}/scratch/run-*/worker-*/live-* > /dev/null 2>&1; do sleep 0.05; done; echo here > {self._reached}"
        transform = {"cmd": ["sh", "-c", script.replace("{here}", here)]}
        spec = {"pipeline": {"name": "work"}, "input": {"pfs": {"repo": "data", "glob": "/*"}}, "transform": transform, **fields}
        (folder / "spec.json").write_text(json.dumps(spec))
        first, second = files
        pachctl("create", "repo", "data")
        pachctl.put(f"data@master:{first}", first[1])
        pachctl("create", "pipeline", "-f", str(folder / "spec.json"))
        self._run()
        self.id = pachctl.put(f"data@master:{second}", second[1])
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()
        assert self._reached.read_text() == "here\n"

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        with closing(open_workspace({"PACHYDERM_HOME": str(self._home)})) as workspace, LocalExecutor(os.environ) as executor:
            with workspace.database.read() as txn:
                (job,) = jobs.list_job(txn, unfinished_only=True)
            run_job(workspace, job, executor=executor)
