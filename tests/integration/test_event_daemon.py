"""A Sensor of Argo Events under Dagster's real daemon code, which dies at the worst moments."""

from typing import Any

import dagster as dg
import pytest

from pachyderm_dagster.argo.events import Origin
from pachyderm_dagster.argo.kept_requests import KeptRequests
from tests.argo.event_files import sensor, source
from tests.integration.daemons import idle_instance, killed_at, sensor_daemon
from tests.integration.home import Home
from tests.integration.test_daemon import CRASHES, Daemon


def message_of(run: dg.DagsterRun) -> str:
    parameters: Any = run.run_config["parameters"]
    return str(parameters["message"])


def test_each_event_gets_exactly_one_run_wherever_the_daemon_dies(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home.workspace.settings.home
    (folder / "events").mkdir()
    (folder / "events" / "events.yaml").write_text(f"{source()}---\n{sensor()}")
    monkeypatch.setenv("PACHYDERM_HOME", str(folder))
    kept = KeptRequests(home.workspace, Origin("source", "example"))
    kept.make_repo()
    with idle_instance(home, "tests.integration.event_project", "events") as (instance, workspace):
        daemon = Daemon(workspace, instance)
        daemon.tick()
        for point in CRASHES:
            sent = [f"{point} {number}" for number in range(2)]
            for message in sent:
                kept.keep({"Idempotency-Key": [message]}, f'{{"message": "{message}"}}'.encode())
            with killed_at(point, sensor_daemon, monkeypatch):
                daemon.tick_until_killed()
            # Whoever had no answer sends it again.
            kept.keep({"Idempotency-Key": [sent[0]]}, b'{"message": "again"}')
            daemon.iterate()
            daemon.tick()
            daemon.tick()
            found = [message for message in map(message_of, instance.get_runs()) if message.startswith(point)]
            assert sorted(found) == sent, point
        assert len(instance.get_runs()) == 2 * len(CRASHES)
