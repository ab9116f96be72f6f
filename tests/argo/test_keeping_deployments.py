"""What a keeper of Deployments does where pods cannot run, and where the home holds what cannot be read."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pachyderm_dagster.argo import deployment_keeper
from pachyderm_dagster.argo.deployment_keeper import keep_deployments
from pachyderm_dagster.argo.home_objects import HomeObjects
from pachyderm_dagster.argo.resources import Reference
from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.executors.backoff import Backoff
from tests.argo.deployments import deployment

STEPS = 30
NEVER_AGAIN = Backoff(first=1000.0, most=1000.0)


class EndedHost:
    """A process for pods that has ended."""

    has_ended = True

    async def run(self, *_order: object, **_options: object) -> None:
        raise ExecutionError("pods-unavailable", "it has ended")


class Keeping:
    """A keeper that takes some steps without a pause, and where it gets its hosts from.

    Args:
        problem: why there is none; empty: there is one, which has ended by the next step.
    """

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, problem: str) -> None:
        self.objects, self.problem = HomeObjects(home), problem
        self.said: list[str] = []
        self.opened = self.steps = 0
        self.status: dict[str, Any] = {}
        self._home = home
        monkeypatch.setattr(deployment_keeper, "LOOK_SECONDS", 0.001)
        monkeypatch.setattr(deployment_keeper, "opened_host", self._host)

    @contextlib.asynccontextmanager
    async def _host(self, *_places: Path, **_options: object) -> AsyncIterator[EndedHost]:
        self.opened += 1
        if self.problem:
            raise ExecutionError("pods-unavailable", self.problem)
        yield EndedHost()

    def _is_over(self) -> bool:
        self.steps += 1
        # What is said of a Deployment holds while somebody keeps it.
        self.status = self.objects.get(Reference("apps/v1", "Deployment", "", "web")).get("status", {}) or self.status
        return self.steps > STEPS

    def run(self, damaged: str = "") -> None:
        self.objects.apply(deployment(8080))
        if damaged:
            file = self.objects.folder / damaged
            file.parent.mkdir(exist_ok=True)
            file.write_text("{")
        asyncio.run(keep_deployments(self._home, self._is_over, self.said.append, rule=NEVER_AGAIN))

    def progress(self) -> str:
        """What the Deployment is said to wait for."""
        (found,) = [one["message"] for one in self.status["conditions"] if one["type"] == "Progressing"]
        return str(found)


@pytest.mark.parametrize("problem", ["no namespaces here", ""])
def test_what_runs_pods_is_started_again_ever_later_and_the_deployment_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: str) -> None:
    keeping = Keeping(tmp_path, monkeypatch, problem)
    keeping.run()
    assert keeping.opened == 1
    reason = f"{problem} [pods-unavailable]" if problem else "the process that runs pods has ended"
    assert [line for line in keeping.said if not line.startswith("pod ")] == [f"{reason}; what runs pods is started again in 1000 s"]
    assert keeping.progress().startswith(f"no pod can be started: {reason}")


def test_file_of_a_service_that_is_damaged_is_told_and_does_not_end_the_keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeping = Keeping(tmp_path, monkeypatch, "no namespaces here")
    keeping.run(damaged="Service/web.json")
    assert keeping.steps > STEPS
    (told,) = [line for line in keeping.said if "kept-object-damaged" in line]
    assert told.startswith("the Services: Service 'web', as the home keeps it in ")
