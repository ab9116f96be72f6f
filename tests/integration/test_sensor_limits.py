"""How much the commit sensor takes at once, as users say it in Python and in YAML."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.integration import PachydermPipelines, SensorLimits, build_definitions
from pachyderm_dagster.integration.components import EXAMPLE
from tests.integration.home import Home

JOB = "pipelines_default"


def tick(home: Home, limits: SensorLimits, cursor: str | None = None) -> tuple[list[dg.RunRequest], int, str | None, str | None]:
    """Requests, number of events, cursor, and why there is none."""
    repository = build_definitions(home.environ, limits=limits).get_repository_def()
    with dg.build_sensor_context(home.instance, cursor=cursor, repository_def=repository) as context:
        data = repository.get_sensor_def("commits_default").evaluate_tick(context)
    for event in data.asset_events:
        home.instance.report_runless_asset_event(event)
    return list(data.run_requests or []), len(data.asset_events), data.cursor, data.skip_message


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"runs_per_tick": 0}, "runs_per_tick of the commit sensor's limits is 0; give a whole number from 1 on"),
        ({"sets_per_run": 2.5}, "sets_per_run"),
        ({"commits_per_tick": None}, "commits_per_tick"),
        ({"active_runs": True}, "active_runs"),
    ],
)
def test_limits_that_cannot_be_are_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidError, match=problem) as refused:
        SensorLimits(**given)
    assert refused.value.code == "limits-invalid"


def test_tick_asks_for_so_many_runs(home: Home) -> None:
    for number in range(3):
        home.commit(f"input{number}@master", {"/a": "1"})
        home.pipeline(f"output{number}", f"input{number}")
    requests, *_ = tick(home, SensorLimits(runs_per_tick=2))
    assert len(requests) == 2


def test_run_does_so_many_sets(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    burst = [home.commit("images@master", {f"/{name}": name}).id for name in "bcd"]
    (request,), *_ = tick(home, SensorLimits(sets_per_run=3))
    assert {key.rpartition("_")[2] for key in request.tags if key.startswith(".dagster/pachyderm_set_")} == set(burst[:2])


def test_tick_tells_of_so_many_commits_and_asks_for_runs_when_all_are_told(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    for name in "bcd":
        home.commit("images@master", {f"/{name}": name})
    limits, cursor, seen = SensorLimits(commits_per_tick=2), None, []
    for _ in range(3):
        requests, events, cursor, _ = tick(home, limits, cursor)
        seen.append((events, len(requests)))
    assert seen == [(2, 0), (2, 0), (0, 1)]


def test_no_run_is_asked_for_while_so_many_are_active_and_dead_ones_make_room(home: Home) -> None:
    for number in range(2):
        home.commit(f"input{number}@master", {"/a": "1"})
        home.pipeline(f"output{number}", f"input{number}")
    limits = SensorLimits(active_runs=1)
    (request,), _, cursor, _ = tick(home, limits)
    job = home.definitions().resolve_job_def(JOB)
    run = home.instance.create_run_for_job(job, tags=request.tags, asset_selection=frozenset(request.asset_selection or []))
    requests, _, cursor, skipped = tick(home, limits, cursor)
    assert requests == []
    assert (skipped or "").startswith("1 run waits for others of this project to end, as `active_runs` says")
    home.instance.report_run_canceled(run)
    requests, *_ = tick(home, limits, cursor)
    assert len(requests) == 1


# Dagster's own way with pydantic.
@pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")
def test_component_and_sensor_say_them(tmp_path: Path) -> None:
    (tmp_path / "pipelines.yaml").write_text(EXAMPLE)
    limits = SensorLimits(active_runs=4, sets_per_run=50)
    definitions = dg.build_defs_for_component(PachydermPipelines(specs=str(tmp_path / "pipelines.yaml"), limits=limits))
    tags = definitions.get_repository_def().get_sensor_def("commits_default").tags
    assert tags == {"pachyderm/active_runs": "4", "pachyderm/sets_per_run": "50"}
    assert SensorLimits.of_tags(tags) == limits
    assert PachydermPipelines.resolve_from_yaml("{specs: pipelines.yaml, limits: {active_runs: 4, sets_per_run: 50}}").limits == limits
