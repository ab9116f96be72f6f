"""Ticks of the commit sensor: events for commits, runs for commit sets."""

import contextlib
import datetime as dt
import json
from collections.abc import Iterator

import dagster as dg

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.coordination.names import request_lease, sensor_lease
from pachyderm_dagster.integration.finished_commits import Walked
from pachyderm_dagster.pfs.finished import Seen
from pachyderm_dagster.pps.model import JobState
from pachyderm_dagster.workspace import open_workspace
from tests.integration.home import Home

IMAGES = dg.AssetKey(["default", "images"])


def versions(home: Home, *path: str) -> list[str]:
    """Data versions of an asset's materializations, newest first."""
    return [(event.tags or {})["dagster/data_version"] for event in home.materializations(*path)]


@contextlib.contextmanager
def at(home: Home, time: dt.datetime) -> Iterator[Home]:
    """The home as a process sees it whose commits have this time."""
    with contextlib.closing(open_workspace(home.environ, clock=ManualClock(time))) as workspace:
        yield Home(workspace, home.environ, home.instance)


def test_each_finished_commit_becomes_one_materialization_in_order(home: Home) -> None:
    first = home.commit("images@master", {"/a": "12345"}, "one picture")
    second = home.commit("images@master", {"/b": "123"})
    events = home.tick().events
    assert [event.tags for event in events] == [
        {"dagster/data_version": commit.id, "dagster/data_version_is_user_provided": "true"} for commit in (first, second)
    ]
    assert events[0].asset_key == IMAGES
    assert events[0].description == "one picture"
    assert {key: events[1].metadata[key].value for key in ("pachyderm/commit", "pachyderm/files", "pachyderm/bytes", "pachyderm/parent")} == {
        "pachyderm/commit": f"images@{second.id}",
        "pachyderm/files": 2,
        "pachyderm/bytes": 8,
        "pachyderm/parent": f"images@{first.id}",
    }


def test_open_and_failed_commits_are_no_materializations(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.workspace.pfs.start_commit("images@master")
    home.workspace.pfs.create_repo("other")
    broken = home.workspace.pfs.start_commit("other@master")
    home.workspace.pfs.finish_commit(str(broken), error="no good")
    assert len(home.tick().events) == 1


def test_commit_that_finishes_after_a_younger_one_is_not_forgotten(home: Home) -> None:
    home.workspace.pfs.create_repo("images")
    older = home.workspace.pfs.start_commit("images@master")
    younger = home.commit("labels@master", {"/b": "1"})
    assert [event.tags["dagster/data_version"] for event in home.tick().events if event.tags] == [younger.id]
    home.workspace.pfs.finish_commit("images@master")
    assert [event.tags["dagster/data_version"] for event in home.tick().events if event.tags] == [older.id]


def test_nothing_new_skips_and_says_so(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.tick()
    tick = home.tick()
    assert (tick.events, tick.requests) == ([], [])
    assert tick.skip == "No new commit, and every due commit set has its run."


def test_lost_or_unreadable_cursor_repeats_nothing(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.commit("images@master", {"/b": "1"})
    home.tick()
    for cursor in (None, "{}", "of another version"):
        home.cursors["default"] = cursor
        assert home.tick().events == []


def test_branch_that_is_moved_back_has_its_old_version_again(home: Home) -> None:
    first = home.commit("images@master", {"/a": "1"})
    second = home.commit("images@master", {"/b": "1"})
    home.tick()
    home.workspace.pfs.create_branch("images@master", head=first.id)
    home.tick()
    assert versions(home, "default", "images") == [first.id, second.id, first.id]
    assert home.tick().events == []


def test_branch_made_from_a_commit_has_that_commit(home: Home) -> None:
    commit = home.commit("images@master", {"/a": "1"})
    home.workspace.pfs.create_branch("images@release", head=commit.id)
    home.tick()
    assert versions(home, "default", "release", "images") == [commit.id]


def test_due_set_is_asked_for_with_its_pipelines(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    home.pipeline("montage", "edges", "images")
    home.run_all()
    commit = home.commit("images@master", {"/b": "1"})
    (request,) = home.tick().requests
    assert request.run_key == commit.id
    assert request.job_name == "pipelines_default"
    assert request.tags["pachyderm/commit_set"] == commit.id
    assert set(request.asset_selection or ()) == {dg.AssetKey(["default", "edges"]), dg.AssetKey(["default", "montage"])}


def test_set_with_an_open_input_waits(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    home.run_all()
    home.workspace.pfs.start_commit("images@master")
    assert home.tick().requests == []
    finished = home.workspace.pfs.finish_commit("images@master")
    assert [request.run_key for request in home.tick().requests] == [finished.id]


def test_sets_of_one_pipeline_run_one_after_the_other_and_others_beside_them(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.commit("labels@master", {"/a": "1"})
    home.pipeline("edges", "images")
    home.pipeline("words", "labels")
    home.run_all()
    first = home.commit("images@master", {"/b": "1"})
    home.commit("images@master", {"/c": "1"})
    labels = home.commit("labels@master", {"/b": "1"})
    assert [request.run_key for request in home.tick().requests] == [first.id, labels.id]


def test_later_set_finds_the_results_of_the_one_before(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    for name in ("/b", "/c"):
        home.commit("images@master", {name: "1"})
    home.run_all()
    assert [(job.counters.data_processed, job.counters.data_skipped) for job in home.jobs("edges")] == [(1, 2), (1, 1), (1, 0)]


def test_set_that_has_an_active_run_is_not_asked_for_again(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    (request,) = home.tick().requests
    home.instance.create_run_for_job(home.definitions().resolve_job_def("pipelines_default"), tags=request.tags, status=dg.DagsterRunStatus.STARTED)
    tick = home.tick()
    assert tick.requests == []
    assert tick.skip is not None and "is being run by Dagster run" in tick.skip


def test_set_whose_run_failed_to_start_is_asked_for_again_later_under_another_key(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    (request,) = home.tick().requests
    run = home.instance.create_run_for_job(home.definitions().resolve_job_def("pipelines_default"), tags=request.tags)
    home.instance.report_run_failed(run)
    tick = home.tick()
    assert tick.requests == []
    assert tick.skip is not None and "is tried again at" in tick.skip


def test_cancelled_run_stops_its_jobs_and_what_waits_for_them(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    home.pipeline("montage", "edges")
    home.run_all()
    commit = home.commit("images@master", {"/b": "1"})
    (request,) = home.tick().requests
    keys = frozenset(key for key in request.asset_selection or () if key.path[-1] == "edges")
    run = home.instance.create_run_for_job(home.definitions().resolve_job_def("pipelines_default"), tags=request.tags, asset_selection=keys)
    home.instance.report_run_canceling(run)
    home.instance.report_run_canceled(run)
    assert home.tick().requests == []
    edges, montage = home.job("edges", commit.id), home.job("montage", commit.id)
    assert (edges.state, edges.reason) == (JobState.KILLED, f"Dagster run {run.run_id} was cancelled")
    assert montage.state is JobState.UNRUNNABLE


def test_no_run_is_asked_for_while_a_run_by_hand_makes_its_set(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    with home.lease(request_lease("default")):
        tick = home.tick()
    assert tick.requests == []
    assert len(home.tick().requests) == 1


def test_commit_that_is_seen_behind_a_later_one_of_its_project_is_told_once_though_it_is_no_head(home: Home) -> None:
    now = home.workspace.database.clock.now()
    with at(home, now) as early, at(home, now + dt.timedelta(seconds=60)) as late:
        late.commit("images@master", {"/a": "1"})
        home.tick()
        first = early.commit("books@master", {"/b": "1"})
        second = late.commit("books@master", {"/c": "1"})
        assert [(event.tags or {})["dagster/data_version"] for event in home.tick().events] == [first.id, second.id]
        assert home.tick().events == []


def test_cursor_of_an_older_release_goes_on_where_it_was(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.tick()
    cursor = json.loads(home.cursors["default"] or "")
    (row,) = cursor["seen"]
    home.cursors["default"] = json.dumps({"finished": cursor["finished"], "key": row, "unsure": [], "awaited": [], "silent": {"run": 1.0}})
    time = dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=cursor["finished"])
    assert Walked.decode(home.cursors["default"]).to_seen() == Seen(time, time)
    later = home.commit("books@master", {"/b": "1"})
    assert [(event.tags or {})["dagster/data_version"] for event in home.tick().events] == [later.id]
    assert home.tick().events == []


def test_tick_shows_that_a_daemon_is_there(home: Home) -> None:
    assert not home.workspace.leases.is_held(sensor_lease("default"))
    home.tick()
    assert home.workspace.leases.is_held(sensor_lease("default"))


def test_daemon_counts_as_up_until_its_next_tick_where_one_took_a_minute_and_one_failed(home: Home) -> None:
    home.tick()
    home.tick()
    for seconds, is_up in ((130, True), (180, False)):
        clock = ManualClock(home.workspace.database.clock.now() + dt.timedelta(seconds=seconds))
        with contextlib.closing(open_workspace(home.environ, clock=clock)) as later:
            assert later.leases.is_held(sensor_lease("default")) is is_up


def test_output_of_a_run_that_died_before_it_reported_is_reported(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    (request,) = home.tick().requests
    home.run(request)
    (event,) = home.materializations("default", "edges")
    home.instance.wipe_assets([dg.AssetKey(["default", "edges"])])
    home.cursors["default"] = None
    (again,) = [found for found in home.tick().events if found.asset_key == dg.AssetKey(["default", "edges"])]
    kept = ("dagster/data_version", "dagster/code_version", "dagster/input_data_version/default/images")
    assert {key: (again.tags or {})[key] for key in kept} == {key: (event.tags or {})[key] for key in kept}
    assert again.metadata["pachyderm/datums_processed"].value == 1


def test_output_whose_run_still_goes_on_is_left_to_it(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    (request,) = home.tick().requests
    run_id = home.run(request).run_id
    home.instance.wipe_assets([dg.AssetKey(["default", "edges"])])
    run = home.instance.get_run_by_id(run_id)
    assert run is not None
    home.instance.run_storage.delete_run(run_id)
    home.instance.run_storage.add_run(run.with_status(dg.DagsterRunStatus.STARTED))
    home.cursors["default"] = None
    assert all(event.asset_key == IMAGES for event in home.tick().events)
    assert Walked.decode(home.cursors["default"]).unsure == (home.jobs("edges")[0].key,)
    home.instance.report_run_failed(run)
    assert [event.asset_key.path[-1] for event in home.tick().events] == ["edges"]
    assert Walked.decode(home.cursors["default"]).unsure == ()
