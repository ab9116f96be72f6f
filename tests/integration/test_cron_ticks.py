"""Ticks of cron inputs: when they are made, and that none is made twice."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import StateError
from pachyderm_dagster.integration.cron_ticks import LATE, MOST_TICKS, make_due_ticks, make_scheduled_ticks
from pachyderm_dagster.pfs.model import RepoName, Trigger
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.workspace import Workspace, open_workspace
from tests.integration.home import LONG

HOUR = dt.timedelta(hours=1)
REPORT = RepoName("default", "report")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(dt.datetime(2026, 1, 1, 12, 30, tzinfo=dt.UTC))


@pytest.fixture
def workspace(tmp_path: Path, clock: ManualClock) -> Iterator[Workspace]:
    opened = open_workspace({"PACHYDERM_HOME": str(tmp_path)}, clock=clock)
    yield opened
    opened.close()


def create(workspace: Workspace, spec: str = "@hourly", *, update: bool = False, **cron: object) -> None:
    body = {"pipeline": {"name": "report"}, "transform": {"cmd": ["true"]}, "input": {"cron": {"name": "tick", "spec": spec, **cron}}}
    for parsed in parse_specs(json.dumps(body), source="test"):
        workspace.pps.create_pipeline(parsed, update=update)


def ticks(workspace: Workspace) -> list[str]:
    """The names of all tick files, oldest first."""
    return [info.path for info in workspace.pfs.list_file("report_tick@master")]


def test_tick_is_made_when_its_time_has_come_and_once(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace)
    assert make_due_ticks(workspace, "default") == []
    clock.advance(HOUR)
    assert [commit.repo for commit in make_due_ticks(workspace, "default")] == [RepoName("default", "report_tick")]
    assert make_due_ticks(workspace, "default") == []
    assert ticks(workspace) == ["/2026-01-01T13:00:00Z"]


def test_missed_ticks_are_made_up_for_each_with_a_job(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace)
    clock.advance(3 * HOUR)
    assert len(make_due_ticks(workspace, "default")) == 3
    assert ticks(workspace) == ["/2026-01-01T13:00:00Z", "/2026-01-01T14:00:00Z", "/2026-01-01T15:00:00Z"]
    with workspace.database.read() as txn:
        assert len(jobs.list_job(txn, pipeline=RepoName("default", "report"))) == 1 + 3


def test_long_absence_is_made_up_for_in_portions_without_a_gap(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace)
    clock.advance((MOST_TICKS + 5) * HOUR)
    assert [len(make_due_ticks(workspace, "default")) for _ in range(3)] == [MOST_TICKS, 5, 0]
    names = ticks(workspace)
    assert len(names) == MOST_TICKS + 5
    assert names == sorted(names)


def test_schedule_begins_at_its_start(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace, start="2026-01-01T09:30:00Z")
    assert [len(make_due_ticks(workspace, "default")), ticks(workspace)[0]] == [3, "/2026-01-01T10:00:00Z"]


def test_start_in_the_future_is_waited_for(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace, start="2026-01-01T15:00:00Z")
    clock.advance(2 * HOUR)
    assert make_due_ticks(workspace, "default") == []
    clock.advance(2 * HOUR)
    assert len(make_due_ticks(workspace, "default")) == 1


def test_interval_that_cron_cannot_say_counts_from_the_last_tick(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace, "@every 90m")
    clock.advance(3 * HOUR)
    make_due_ticks(workspace, "default")
    assert ticks(workspace) == ["/2026-01-01T14:00:00Z", "/2026-01-01T15:30:00Z"]


def test_overwriting_clock_keeps_the_newest_tick_and_its_place(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace, overwrite=True)
    clock.advance(2 * HOUR)
    make_due_ticks(workspace, "default")
    assert ticks(workspace) == ["/2026-01-01T14:00:00Z"]
    assert make_due_ticks(workspace, "default") == []


def test_other_files_in_the_tick_repo_do_not_matter(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace)
    clock.advance(HOUR)
    make_due_ticks(workspace, "default")
    with workspace.pfs.modify_file("report_tick@master") as files:
        files.put_bytes("/notes", b"mine")
    assert make_due_ticks(workspace, "default") == []
    clock.advance(HOUR)
    assert len(make_due_ticks(workspace, "default")) == 1


def test_stopped_pipeline_has_no_ticks(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace)
    workspace.database.write(lambda txn: pipelines.stop_pipeline(txn, RepoName("default", "report")))
    clock.advance(HOUR)
    assert make_due_ticks(workspace, "default") == []


def test_changed_schedule_goes_on_from_the_last_tick(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace)
    clock.advance(HOUR)
    make_due_ticks(workspace, "default")
    create(workspace, "*/20 * * * *", update=True)
    clock.advance(dt.timedelta(minutes=10))
    make_due_ticks(workspace, "default")
    assert ticks(workspace) == [f"/2026-01-01T13:{minute}:00Z" for minute in ("00", "20", "40")]


def test_two_crossed_clocks_tick_each_for_itself(workspace: Workspace, clock: ManualClock) -> None:
    clocks = [{"cron": {"name": "often", "spec": "@hourly"}}, {"cron": {"name": "seldom", "spec": "0 */3 * * *"}}]
    body = {"pipeline": {"name": "report"}, "transform": {"cmd": ["true"]}, "input": {"cross": clocks}}
    for parsed in parse_specs(json.dumps(body), source="test"):
        workspace.pps.create_pipeline(parsed)
    clock.advance(3 * HOUR)
    made = [commit.repo.name for commit in make_due_ticks(workspace, "default")]
    assert sorted(made) == ["report_often"] * 3 + ["report_seldom"]
    with workspace.database.read() as txn:
        assert len(jobs.list_job(txn, pipeline=RepoName("default", "report"))) == 1 + 4


def test_clock_that_never_ticks_is_ticked_by_hand(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace, "@never", start="2020-01-01T00:00:00Z")
    clock.advance(HOUR)
    assert make_due_ticks(workspace, "default") == []
    workspace.pps.run_cron(RepoName("default", "report"))
    assert ticks(workspace) == ["/2026-01-01T13:30:00Z"]


def test_tick_by_hand_is_the_last_tick_of_an_interval(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace, "@every 90m")
    clock.advance(HOUR)
    workspace.pps.run_cron(RepoName("default", "report"))
    clock.advance(2 * HOUR)
    make_due_ticks(workspace, "default")
    assert ticks(workspace) == ["/2026-01-01T13:30:00Z", "/2026-01-01T15:00:00Z"]


def test_start_after_the_last_tick_is_honoured(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace)
    clock.advance(HOUR)
    make_due_ticks(workspace, "default")
    create(workspace, start="2026-01-01T15:30:00Z", update=True)
    clock.advance(4 * HOUR)
    make_due_ticks(workspace, "default")
    assert ticks(workspace) == ["/2026-01-01T13:00:00Z", "/2026-01-01T16:00:00Z", "/2026-01-01T17:00:00Z"]


def test_ticks_missed_while_stopped_are_made_up_for_when_started(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace)
    workspace.database.write(lambda txn: pipelines.stop_pipeline(txn, RepoName("default", "report")))
    clock.advance(2 * HOUR)
    make_due_ticks(workspace, "default")
    workspace.database.write(lambda txn: pipelines.start_pipeline(txn, RepoName("default", "report")))
    make_due_ticks(workspace, "default")
    assert ticks(workspace) == ["/2026-01-01T13:00:00Z", "/2026-01-01T14:00:00Z"]


def test_whoever_comes_second_leaves_the_ticks_to_the_first(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace)
    clock.advance(HOUR)
    assert workspace.leases.acquire("cron/default", "another process", LONG)
    assert make_due_ticks(workspace, "default") == []


def test_branch_with_a_cron_trigger_moves_when_its_time_has_come(workspace: Workspace, clock: ManualClock) -> None:
    workspace.pfs.create_repo("data")
    workspace.pfs.create_branch("data@nightly", trigger=Trigger(branch="master", cron_spec="@daily"))
    with workspace.pfs.modify_file("data@master") as files:
        files.put_bytes("/a", b"a")
    make_due_ticks(workspace, "default")
    assert workspace.pfs.inspect_branch("data@nightly").head != files.commit.id
    clock.advance(24 * HOUR)
    make_due_ticks(workspace, "default")
    assert workspace.pfs.inspect_branch("data@nightly").head == files.commit.id


def test_run_cron_moves_the_branches_that_a_schedule_moves(workspace: Workspace) -> None:
    workspace.pfs.create_repo("data")
    workspace.pfs.create_branch("data@nightly", trigger=Trigger(branch="master", cron_spec="@daily"))
    with workspace.pfs.modify_file("data@master") as files:
        files.put_bytes("/a", b"a")
    body = {"pipeline": {"name": "report"}, "transform": {"cmd": ["true"]}, "input": {"pfs": {"repo": "data", "branch": "nightly", "glob": "/"}}}
    for parsed in parse_specs(json.dumps(body), source="test"):
        workspace.pps.create_pipeline(parsed)
    assert [str(commit) for commit in workspace.pps.run_cron(RepoName("default", "report"))] == [str(files.commit)]
    with workspace.database.read() as txn:
        assert len(jobs.list_job(txn, pipeline=RepoName("default", "report"))) == 2


def test_tick_that_a_schedule_makes_is_made_here_only_when_it_is_late(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace)
    clock.advance(HOUR / 2)
    assert make_due_ticks(workspace, "default", scheduled=[REPORT]) == []
    clock.advance(LATE)
    assert len(make_due_ticks(workspace, "default", scheduled=[REPORT])) == 1


def test_interval_is_no_matter_of_a_schedule(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace, "@every 90m")
    clock.advance(dt.timedelta(minutes=90))
    assert make_scheduled_ticks(workspace, REPORT, clock.now()) == []
    assert len(make_due_ticks(workspace, "default", scheduled=[REPORT], stopped=[REPORT])) == 1


def test_schedule_that_was_stopped_has_no_ticks(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace)
    clock.advance(3 * HOUR)
    assert make_due_ticks(workspace, "default", scheduled=[REPORT], stopped=[REPORT]) == []


def test_schedule_makes_its_tick_once_and_those_that_were_missed(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace)
    clock.advance(2 * HOUR + HOUR / 2)
    made = make_scheduled_ticks(workspace, REPORT, clock.now())
    assert ticks(workspace) == ["/2026-01-01T13:00:00Z", "/2026-01-01T14:00:00Z", "/2026-01-01T15:00:00Z"]
    assert make_scheduled_ticks(workspace, REPORT, clock.now()) == made
    assert make_due_ticks(workspace, "default") == []
    assert len(ticks(workspace)) == 3


def test_schedule_of_a_stopped_pipeline_makes_nothing(workspace: Workspace, clock: ManualClock) -> None:
    create(workspace)
    workspace.database.write(lambda txn: pipelines.stop_pipeline(txn, REPORT))
    with pytest.raises(StateError, match="is stopped, and its clocks with it"):
        make_scheduled_ticks(workspace, REPORT, clock.now() + HOUR)
