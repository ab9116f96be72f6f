"""Cron pipelines as Dagster schedules: what is shown, and that a tick and its run come once, whoever makes them."""

import datetime as dt
import logging

import dagster as dg
import pytest

from pachyderm_dagster.coordination.names import set_lease
from pachyderm_dagster.integration.due_runs import SCHEDULE_OWNER
from tests.integration.daemons import idle_instance, killed_at, schedule_daemon
from tests.integration.home import Home

REPORT = dg.AssetKey(["default", "report"])
CRASHES = ("TICK_CREATED", "RUN_CREATED", "RUN_LAUNCHED")


def clock(name: str, spec: str, **fields: object) -> dict[str, object]:
    return {"cron": {"name": name, "spec": spec, **fields}}


BEGIN = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0) + dt.timedelta(days=1)
"""When the minutely clock ticks first: no test lasts until then, so that only the schedule makes ticks."""


@pytest.fixture
def minutely(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A pipeline with a clock that ticks each minute from `BEGIN` on, and its first job done."""
    start = f"{BEGIN - dt.timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}"
    home.pipeline("report", "unused", code="ls /pfs/tick >> /pfs/out/$(ls /pfs/tick)", input=clock("tick", "* * * * *", start=start))
    home.run_all()
    monkeypatch.setenv("PACHYDERM_HOME", home.environ["PACHYDERM_HOME"])
    return home


def evaluate(home: Home, time: dt.datetime) -> tuple[list[dg.RunRequest], str | None]:
    """The schedule's answer at a time: its requests, or why there are none."""
    repository = home.definitions().get_repository_def()
    with dg.build_schedule_context(instance=home.instance, scheduled_execution_time=time, repository_def=repository) as context:
        data = repository.get_schedule_def("ticks_report").evaluate_tick(context)
    return list(data.run_requests or []), data.skip_message


def ticks(home: Home) -> list[str]:
    return [file.path for file in home.workspace.pfs.list_file("report_tick@master")]


def test_pipeline_has_a_schedule_for_what_cron_can_say(home: Home) -> None:
    clocks = [clock("often", "@hourly"), clock("seldom", "30 4 * * mon"), clock("interval", "@every 90m")]
    home.pipeline("report", "unused", code="true", input={"cross": clocks})
    home.pipeline("by-hand", "unused", code="true", input=clock("tick", "@never"))
    schedules = {schedule.name: schedule for schedule in home.definitions().get_repository_def().schedule_defs}
    assert list(schedules) == ["ticks_report"]
    (schedule,) = schedules.values()
    assert (schedule.cron_schedule, schedule.execution_timezone) == (["0 * * * *", "30 4 * * mon"], "UTC")
    assert (schedule.default_status, schedule.job_name) == (dg.DefaultScheduleStatus.RUNNING, "pipelines_default")


def test_tick_and_its_run_come_together_and_the_sensor_leaves_both(minutely: Home) -> None:
    (request,), _ = evaluate(minutely, BEGIN)
    made = minutely.workspace.pfs.inspect_commit("report_tick@master").id
    assert (request.tags["pachyderm/commit_set"], request.asset_selection) == (made, [REPORT])
    assert ticks(minutely) == [f"/{BEGIN:%Y-%m-%dT%H:%M:%SZ}"]
    assert minutely.tick().requests == []
    # As when the daemon died before it noted what it was told: the same request, and no second tick.
    assert [found.run_key for found in evaluate(minutely, BEGIN)[0]] == [request.run_key]
    assert len(ticks(minutely)) == 1
    minutely.execute(REPORT, tags=request.tags)
    assert evaluate(minutely, BEGIN) == ([], "The tick has its run.")
    assert minutely.tick().requests == []


def test_tick_whose_daemon_died_is_run_by_the_sensor(minutely: Home) -> None:
    (request,), _ = evaluate(minutely, BEGIN)
    minutely.workspace.leases.release(set_lease(request.tags["pachyderm/commit_set"]), SCHEDULE_OWNER)
    assert [found.run_key for found in minutely.tick().requests] == [request.run_key]


def test_missed_ticks_share_a_run_with_a_job_each(minutely: Home) -> None:
    (request,), _ = evaluate(minutely, BEGIN + dt.timedelta(minutes=4))
    assert sum(name.startswith(".dagster/pachyderm_set_") for name in request.tags) == 4
    assert len(ticks(minutely)) == 5
    minutely.execute(REPORT, tags=request.tags)
    assert len(minutely.materializations("default", "report")) == 1 + 5
    assert [file.path for file in minutely.workspace.pfs.list_file("report@master")] == ticks(minutely)


def test_schedule_that_a_user_stopped_is_not_made_up_for_until_it_runs_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACHYDERM_HOME", home.environ["PACHYDERM_HOME"])
    now = dt.datetime.now(dt.UTC)
    # Ticks are half an hour away from now: none comes while the test runs, and all are late enough for the sensor.
    hourly = f"{(now.minute + 30) % 60} * * * *"
    home.pipeline("report", "unused", code="true", input=clock("tick", hourly, start=f"{now - dt.timedelta(hours=3):%Y-%m-%dT%H:%M:%SZ}"))
    with idle_instance(home) as (_, workspace):
        (location,) = workspace.create_request_context().code_locations
        (remote,) = location.get_repositories().values()
        schedule = remote.get_schedule("ticks_report")
        home.instance.stop_schedule(schedule.get_remote_origin_id(), schedule.selector_id, schedule)
        home.tick()
        assert ticks(home) == []
        home.instance.start_schedule(schedule)
        home.tick()
        assert len(ticks(home)) == 3


def test_each_tick_gets_one_run_wherever_the_daemon_dies(minutely: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with idle_instance(minutely) as (instance, workspace):

        def iterate(time: dt.datetime) -> None:
            list(schedule_daemon.launch_scheduled_runs(workspace, logging.getLogger("test"), time, {}))

        iterate(BEGIN - dt.timedelta(seconds=1))
        for number, point in enumerate(CRASHES):
            time = BEGIN + dt.timedelta(minutes=number)
            with killed_at(point, schedule_daemon, monkeypatch):
                iterate(time + dt.timedelta(seconds=1))
            iterate(time + dt.timedelta(seconds=2))
            assert ticks(minutely)[-1] == f"/{time:%Y-%m-%dT%H:%M:%SZ}"
            made = minutely.workspace.pfs.inspect_commit("report_tick@master").id
            minutely.workspace.leases.release(set_lease(made), SCHEDULE_OWNER)
            assert minutely.tick().requests == []
            (run,) = instance.get_runs(dg.RunsFilter(tags={"pachyderm/commit_set": made}))
            assert run.status is dg.DagsterRunStatus.STARTING, point
            minutely.execute(REPORT, tags={"pachyderm/commit_set": made})
            instance.report_run_failed(run)
        assert len(ticks(minutely)) == len(CRASHES)
