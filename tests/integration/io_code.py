"""Assets that run in processes of their own, one of which dies where the environment says."""

import os
import signal
from pathlib import Path
from typing import Any

import dagster as dg

from pachyderm_dagster.integration import PachydermIOManager
from pachyderm_dagster.pfs.named_commits import NamedCommits

KILL = "TEST_KILL"
KILLED = "TEST_KILLED"
BEFORE, AFTER = "put and not committed", "committed and not reported"


def kill_once(point: str) -> None:
    """Ends this process as kill -9 does, the first time that anybody comes to the point that the environment names."""
    killed = Path(os.environ.get(KILLED, "/nowhere"))
    if os.environ.get(KILL) == point and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)


class Dying(PachydermIOManager):
    """Dies while it writes, or behind it."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        write = NamedCommits.write

        def dying(*arguments: Any) -> Any:
            kill_once(BEFORE)
            return write(*arguments)

        NamedCommits.write = dying  # type: ignore[method-assign, assignment]
        super().handle_output(context, obj)
        kill_once(AFTER)


@dg.asset
def numbers() -> list[int]:
    """What is counted."""
    return [1, 2, 3]


@dg.asset(retry_policy=dg.RetryPolicy(max_retries=3))
def total(context: dg.AssetExecutionContext, numbers: list[int]) -> int:
    """Their sum, at the second try."""
    if context.retry_number == 0:
        raise RuntimeError("try again")
    return sum(numbers)


def processes() -> dg.JobDefinition:
    """A job whose steps are processes."""
    job = dg.define_asset_job("processes", executor_def=dg.multiprocess_executor)
    return dg.Definitions(assets=[numbers, total], jobs=[job], resources={"io_manager": Dying()}).resolve_job_def("processes")
