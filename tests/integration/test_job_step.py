"""A pipeline's step: what Dagster is told of a job, and which commit set a run works on."""

from collections.abc import Mapping
from pathlib import Path

import dagster as dg
from dagster._core.definitions.data_version import StaleStatus

from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import jobs, pipelines
from pachyderm_dagster.pps.model import JobState
from tests.integration.home import Home

EDGES, MONTAGE = dg.AssetKey(["default", "edges"]), dg.AssetKey(["default", "montage"])
# The smallest PNG: one transparent pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


def table(value: object) -> list[Mapping[str, object]]:
    assert isinstance(value, dg.TableMetadataValue)
    return [record.data for record in value.records]


def run_tags(home: Home, result: dg.ExecuteInProcessResult) -> dict[str, str]:
    run = home.instance.get_run_by_id(result.run_id)
    assert run is not None
    return dict(run.tags)


def failures(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """What the steps that failed say."""
    found = {}
    for event in result.all_events:
        if event.is_step_failure and event.step_key is not None:
            found[event.step_key] = event.step_failure_data.user_failure_data.description if event.step_failure_data.user_failure_data else "?"
    return {step: text or "" for step, text in found.items()}


def test_materialization_carries_commit_counters_inputs_and_files(home: Home) -> None:
    home.commit("images@master", {"/a": "12345", "/b": "1"}, "two pictures")
    home.pipeline("edges", "images", code="cp /pfs/images/* /pfs/out/; echo done")
    home.run_all()
    (event,) = home.materializations("default", "edges")
    (job,) = home.jobs("edges")
    shown = {key.removeprefix("pachyderm/"): value.value for key, value in event.metadata.items()}
    times = [shown.pop(name) for name in ("seconds", "process_seconds", "finished")]
    assert all(isinstance(time, float) and time > 0 for time in times)
    assert shown.pop("run") == job.run_id
    assert f"`pachctl logs edges@{job.id}`" in str(shown.pop("commands"))
    assert "+ /a  5 bytes" in str(shown.pop("changes"))
    assert {name: value for name, value in shown.items() if isinstance(value, int | str)} == {
        "job": f"edges@{job.id}",
        "commit": f"edges@{job.id}",
        "files": 2,
        "bytes": 6,
        "files_added": 2,
        "files_changed": 0,
        "files_deleted": 0,
        "datums_total": 2,
        "datums_processed": 2,
        "datums_skipped": 0,
        "datums_failed": 0,
        "datums_recovered": 0,
        "download_bytes": 6,
        "upload_bytes": 6,
    }
    assert [row["path"] for row in table(event.metadata["pachyderm/listing"])] == ["/a", "/b"]
    (read,) = table(event.metadata["pachyderm/inputs"])
    assert read["branch"] == "images@master" and read["message"] == "two pictures"


def test_slowest_datums_of_a_job_are_those_that_it_ran_itself(home: Home) -> None:
    older = home.commit("images@master", {f"/{number}": "12345" for number in range(6)})
    home.pipeline("edges", "images")
    home.run_all()
    newest = home.commit("images@master", {"/0": "123456", "/new": "1"})
    home.run_all()
    second, first = [table(event.metadata["pachyderm/slowest_datums"]) for event in home.materializations("default", "edges")]
    assert {row["files"] for row in first} == {f"images@{older.id}:/{number}" for number in range(6)}
    took = [float(str(row["seconds"])) for row in first]
    # Which one that was is the machine's affair.
    assert took == sorted(took, reverse=True) and took[-1] > 0
    assert sorted((row["files"], row["state"], row["bytes"]) for row in second) == [
        (f"images@{newest.id}:/0", "SUCCESS", 6),
        (f"images@{newest.id}:/new", "SUCCESS", 1),
    ]


def test_output_version_and_inputs_are_the_commits_of_the_job(home: Home) -> None:
    read = home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    home.run_all()
    (event,) = home.materializations("default", "edges")
    (job,) = home.jobs("edges")
    source = home.instance.fetch_materializations(dg.AssetKey(["default", "images"]), limit=1).records[0]
    tags = event.tags or {}
    assert tags["dagster/data_version"] == job.id
    assert tags["dagster/input_data_version/default/images"] == read.id
    assert tags["dagster/input_event_pointer/default/images"] == str(source.storage_id)


def test_each_output_says_which_commit_it_was_made_from_and_is_stale_until_the_newest_was(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    home.run_all()
    assert home.status(EDGES) == (StaleStatus.FRESH, [])
    middle = home.commit("images@master", {"/b": "1"})
    newer = home.commit("images@master", {"/c": "1"})
    # One run for both, which makes an output of each.
    (request,) = home.tick().requests
    home.run(request)
    read = [(event.tags or {})["dagster/input_data_version/default/images"] for event in home.materializations("default", "edges")]
    assert read[:2] == [newer.id, middle.id]
    assert home.status(EDGES) == (StaleStatus.FRESH, [])
    home.commit("images@master", {"/d": "1"})
    home.tick()
    assert home.status(EDGES) == (StaleStatus.STALE, ["has a new dependency data version"])
    home.run_all()
    assert home.status(EDGES) == (StaleStatus.FRESH, [])


def test_new_version_of_a_pipeline_makes_its_output_stale_until_it_ran(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    home.run_all()
    home.pipeline("edges", "images", code="cp /pfs/images/* /pfs/out/ # better", update=True)
    assert home.status(EDGES) == (StaleStatus.STALE, ["has a new code version"])
    home.run_all()
    assert home.status(EDGES) == (StaleStatus.FRESH, [])


def test_picture_that_the_job_changed_is_shown_inline(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    code = f"for f in /pfs/images/*; do echo {PIXEL} | base64 -d > /pfs/out/$(basename $f).png; done"
    home.pipeline("plot", "images", code=code)
    home.run_all()
    home.commit("images@master", {"/b": "1"})
    home.run_all()
    event = home.materializations("default", "plot")[0]
    pictures = {key: value.value for key, value in event.metadata.items() if "picture" in key}
    assert pictures == {"pachyderm/picture /b.png": f"![/b.png](data:image/png;base64,{PIXEL})"}


def test_failed_job_fails_its_step_with_reason_and_files_and_no_materialization(home: Home) -> None:
    home.commit("images@master", {"/good": "1", "/bad": "1"})
    home.pipeline("edges", "images", code="test ! -e /pfs/images/bad || { echo broken picture; exit 3; }; cp /pfs/images/* /pfs/out/")
    home.pipeline("montage", "edges")
    home.run_all()
    home.commit("images@master", {"/more": "1"})
    (request,) = home.tick().requests
    result = home.run(request)
    (first, *_) = home.jobs("edges")
    assert not result.success
    assert list(failures(result)) == ["default__edges"]
    assert failures(result)["default__edges"].startswith(f"job edges@{first.id} ended as FAILURE: datum ")
    assert "exit code 3" in first.reason and "broken picture" in first.reason
    assert home.materializations("default", "edges") == []
    (evaluation,) = [evaluation for evaluation in result.get_asset_check_evaluations() if evaluation.asset_key == EDGES]
    assert not evaluation.passed
    (failed,) = table(evaluation.metadata["pachyderm/failed_datums"])
    assert failed["files"] == f"images@{first.id}:/bad"


def test_failed_egress_fails_the_check_and_leaves_the_asset_to_what_is_downstream(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images", egress={"sql_database": {"url": f"sqlite:///{tmp_path}/file", "file_format": {"type": "CSV"}}})
    home.pipeline("montage", "edges")
    home.run_all()
    home.commit("images@master", {"/b": "2"})
    (request,) = home.tick().requests
    result = home.run(request)
    (edges, montage) = (home.jobs(name)[0] for name in ("edges", "montage"))
    assert result.success
    assert (edges.state, montage.state) == (JobState.EGRESS_FAILURE, JobState.SUCCESS)
    assert len(home.materializations("default", "edges")) == 2
    (evaluation,) = [evaluation for evaluation in result.get_asset_check_evaluations() if evaluation.asset_key == EDGES]
    assert not evaluation.passed
    assert evaluation.description is not None
    assert "there is no table 'a'" in evaluation.description


def test_jobs_downstream_of_a_failed_one_end_in_the_same_run(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images", code="test ! -e /pfs/images/bad && cp /pfs/images/* /pfs/out/")
    home.pipeline("montage", "edges")
    home.run_all()
    home.commit("images@master", {"/bad": "1"})
    (request,) = home.tick().requests
    result = home.run(request)
    (edges, montage) = (home.jobs(name)[0] for name in ("edges", "montage"))
    assert (edges.state, montage.state) == (JobState.FAILURE, JobState.UNRUNNABLE)
    assert montage.run_id == result.run_id
    assert home.tick().requests == []
    # Dagster planned the check of its asset, whose step it skipped.
    key = dg.AssetCheckKey(MONTAGE, "job")
    told = home.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert told.evaluation is not None and not told.evaluation.passed
    assert f"{montage} UNRUNNABLE" in (told.evaluation.description or "")


def test_stopped_job_fails_its_step_clearly(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    (request,) = home.tick().requests
    home.workspace.database.write(lambda txn: jobs.stop(txn, jobs.list_job(txn)[0], reason="by a user"))
    result = home.run(request)
    assert failures(result) == {"default__edges": f"job edges@{home.jobs('edges')[0].id} ended as KILLED: by a user"}


def test_set_without_a_job_of_the_pipeline_is_skipped(home: Home) -> None:
    commit = home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    home.pipeline("montage", "edges")
    result = home.execute(tags={"pachyderm/commit_set": commit.id})
    assert result.success
    assert [event.event_type_value for event in result.all_events if event.step_key == "default__montage" and "STEP" in event.event_type_value] == [
        "STEP_SKIPPED"
    ]
    assert home.materializations("default", "edges") == []


def test_run_by_hand_makes_one_commit_set_for_all_its_pipelines(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    home.pipeline("montage", "edges")
    home.run_all()
    result = home.execute()
    made = run_tags(home, result)["pachyderm/commit_set"]
    assert result.success
    assert [home.job(name, made).state for name in ("edges", "montage")] == [JobState.SUCCESS, JobState.SUCCESS]
    assert home.job("edges", made).counters.data_skipped == 1
    assert home.job("montage", made).run_id == result.run_id
    assert home.tick().requests == []


def test_run_by_hand_of_one_pipeline_leaves_what_follows_to_the_sensor(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    home.pipeline("montage", "edges")
    home.run_all()
    made = run_tags(home, home.execute(EDGES))["pachyderm/commit_set"]
    (request,) = home.tick().requests
    assert (request.tags["pachyderm/commit_set"], list(request.asset_selection or ())) == (made, [MONTAGE])
    home.run(request)
    assert home.job("montage", made).state is JobState.SUCCESS


def test_run_by_hand_without_a_sensor_tells_dagster_of_the_inputs_first(home: Home) -> None:
    commits = [home.commit("images@master", {f"/{name}": "1"}) for name in "abc"]
    home.pipeline("edges", "images")
    home.execute()
    reported = [(event.tags or {})["dagster/data_version"] for event in home.materializations("default", "images")]
    assert reported == [commit.id for commit in reversed(commits)]
    assert home.tick().events == []


def test_re_executed_run_makes_a_new_set_when_the_old_one_is_done(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    (request,) = home.tick().requests
    first = home.run(request)
    parent = {"dagster/parent_run_id": first.run_id, "dagster/root_run_id": first.run_id}
    again = home.execute(EDGES, tags={**request.tags, **parent})
    tags = run_tags(home, again)
    assert tags["pachyderm/commit_set"] != request.tags["pachyderm/commit_set"]
    assert home.job("edges", tags["pachyderm/commit_set"]).state is JobState.SUCCESS


def test_re_executed_run_does_the_jobs_that_the_first_left(home: Home) -> None:
    commit = home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    (request,) = home.tick().requests
    made = request.tags["pachyderm/commit_set"]
    assert made != commit.id
    home.execute(EDGES, tags={**request.tags, "dagster/parent_run_id": "0" * 36, "dagster/root_run_id": "0" * 36})
    assert [job.id for job in home.jobs("edges")] == [made]


def test_run_by_hand_of_a_stopped_pipeline_says_so(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    home.workspace.database.write(lambda txn: pipelines.stop_pipeline(txn, RepoName("default", "edges")))
    result = home.execute()
    assert failures(result)["default__edges"] == "pipeline 'edges' is stopped; `pachctl start pipeline edges` runs it [pipeline-stopped]"


def test_recovered_datums_are_a_warning_that_stops_nothing(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images", transform={"cmd": ["false"], "err_cmd": ["true"]})
    home.pipeline("montage", "edges")
    home.run_all()
    home.commit("images@master", {"/b": "1"})
    (request,) = home.tick().requests
    result = home.run(request)
    assert result.success
    evaluations = {evaluation.asset_key: evaluation for evaluation in result.get_asset_check_evaluations()}
    assert (evaluations[EDGES].passed, evaluations[EDGES].severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (evaluations[EDGES].description or "").endswith("SUCCESS; 2 datums have no output: their `err_cmd` recovered them")
    lost = table(evaluations[EDGES].metadata["pachyderm/recovered_datums"])
    assert sorted(str(row["files"]).partition(":")[2] for row in lost) == ["/a", "/b"]
    assert all("exit code 1" in str(row["reason"]) for row in lost)
    assert evaluations[MONTAGE].passed and not evaluations[MONTAGE].metadata
    assert home.jobs("montage")[0].state is JobState.SUCCESS


def test_check_alone_shows_the_newest_job(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images")
    home.run_all()
    step = home.definitions().resolve_implicit_global_asset_job_def()
    subset = step.get_subset(asset_selection=set(), asset_check_selection={dg.AssetCheckKey(EDGES, "job")})
    result = subset.execute_in_process(instance=home.instance, run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}})
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.passed
    assert evaluation.description == f"edges@{home.jobs('edges')[0].id} SUCCESS"


def test_progress_is_in_the_runs_log(home: Home) -> None:
    home.commit("images@master", {"/a": "1", "/b": "1", "/c": "1"})
    home.pipeline("edges", "images")
    (request,) = home.tick().requests
    result = home.run(request)
    messages = [entry.message for entry in home.instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)]
    assert "SUCCESS, 3/3 datums: 3 processed" in messages
