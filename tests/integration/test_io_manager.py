"""Assets of a user's code in versioned branches: what is written, which version is read, what Dagster is told."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own
import polars as pl
import pyarrow.dataset as ds
import pytest

from pachyderm_dagster.integration import PachydermIOManager, commit_automation, pipeline_asset
from pachyderm_dagster.pfs.model import Origin
from pachyderm_dagster.pps.model import JobState
from tests.integration.assets import Code, error_of
from tests.integration.home import QUIET, Home


def key(text: str) -> dg.AssetKey:
    return dg.AssetKey.from_user_string(text)


def source(*values: Any, name: str = "default/numbers", **arguments: Any) -> dg.AssetsDefinition:
    """An asset that gives one value after the other, each time it runs; the last again and again."""
    left = list(values)

    def made() -> Any:
        return left.pop(0) if len(left) > 1 else left[0]

    return dg.asset(key=key(name), code_version="1", **arguments)(made)  # type: ignore[no-any-return]


def reader(of: str, kind: Any = Any, *, name: str = "default/read", **arguments: Any) -> dg.AssetsDefinition:
    """An asset that gives the representation of what it read."""

    def read(value: Any) -> str:
        return repr(sorted(value.items()) if isinstance(value, dict) else value)

    read.__annotations__["value"] = kind
    return dg.asset(key=key(name), ins={"value": dg.AssetIn(key(of))}, code_version="1", **arguments)(read)  # type: ignore[no-any-return]


def test_output_is_a_commit_on_the_branch_of_its_key(home: Home) -> None:
    code = Code(home, source("one", "two"))
    first, second = code.run("default/numbers"), code.run("default/numbers")
    assert first.success and second.success
    commits = code.commits("numbers@master")
    assert len(commits) == 2
    assert [code.read(f"numbers@{commit}:/data.txt") for commit in commits] == [b"two", b"one"]
    newest = home.workspace.pfs.inspect_commit("numbers@master")
    assert newest.metadata == {"dagster_run": second.run_id, "dagster_step": "default__numbers", "dagster_asset": "default/numbers"}
    events = home.materializations("default", "numbers")
    assert [(event.tags or {})["dagster/data_version"] for event in events] == commits


def test_output_replaces_what_the_branch_held(home: Home) -> None:
    code = Code(home, source({"a.txt": b"a", "b.txt": b"b"}, {"b.txt": b"b"}))
    code.run("default/numbers")
    code.run("default/numbers")
    assert [file.path for file in home.workspace.pfs.list_file("numbers@master:/")] == ["/b.txt"]


def test_project_and_repo_are_made_as_the_key_needs_them(home: Home) -> None:
    assert Code(home, source("x", name="team/dev/data")).run("team/dev/data").success
    assert b"".join(home.workspace.pfs.get_file("team/data@dev:/data.txt")) == b"x"


def test_metadata_shows_commit_size_and_the_table(home: Home) -> None:
    frame = pd.DataFrame({"name": ["fiat", "opel"], "speed": [120, 140]})
    code = Code(home, source(frame))
    code.run("default/numbers")
    (event,) = home.materializations("default", "numbers")
    (commit,) = code.commits("numbers@master")
    shown = {name: value.value for name, value in event.metadata.items()}
    assert shown["pachyderm/commit"] == f"numbers@{commit}" and shown["pachyderm/path"] == "/"
    assert shown["dagster/uri"] == f"pfs://default/numbers@{commit}"
    assert (shown["pachyderm/files"], shown["pachyderm/bytes"]) == (1, home.workspace.pfs.inspect_commit("numbers@master").size_bytes)
    assert shown["dagster/row_count"] == 2
    schema = shown["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchema)
    assert [column.name for column in schema.columns] == ["name", "speed"] and schema.columns[1].type == "int64"


def test_input_is_read_as_its_annotation_says(home: Home) -> None:
    code = Code(
        home, source(pd.DataFrame({"speed": [120, 140]})), reader("default/numbers", pl.LazyFrame, name="lazy"), reader("default/numbers", Path, name="path")
    )
    assert code.run("default/numbers", "lazy", "path").success
    assert "LazyFrame" in code.load("lazy") and code.load("path").startswith("PosixPath(")


def test_input_that_is_a_users_branch_or_a_pipelines_is_a_folder(home: Home) -> None:
    home.commit("images@master", {"/a.csv": "n\n1\n", "/b.csv": "n\n2\n"})
    home.pipeline("edges", "images")
    home.run_all()
    code = Code(home, reader("default/images", dict[str, bytes], name="files"), reader("default/edges", ds.Dataset, name="rows"))
    assert code.run("files", "rows").success
    assert code.load("files") == r"[('a.csv', b'n\n1\n'), ('b.csv', b'n\n2\n')]"
    (event,) = home.materializations("rows")
    assert (event.tags or {})["dagster/input_data_version/default/edges"] == home.workspace.pfs.inspect_commit("edges@master").id
    assert code.status("files") == code.status("rows") == "FRESH"


def test_reader_is_stale_after_a_new_version_and_fresh_after_its_run(home: Home) -> None:
    code = Code(home, source("one", "two"), reader("default/numbers", str))
    code.run("default/numbers", "default/read")
    assert code.status("default/read") == "FRESH"
    code.run("default/numbers")
    assert code.status("default/read") == "STALE"
    code.run("default/read")
    assert code.status("default/read") == "FRESH" and code.load("default/read") == "'two'"


@pytest.mark.parametrize("way", ["tag", "configuration"])
def test_pinned_input_is_read_recorded_and_shown_stale(home: Home, way: str) -> None:
    code = Code(home, source("one", "two"), reader("default/numbers", str))
    code.run("default/numbers")
    code.run("default/numbers")
    newest, older = code.commits("numbers@master")
    if way == "tag":
        code.run("default/read", tags={"pachyderm/input.default.numbers": older})
    else:
        # What a run gives replaces all that the code gave: so Dagster has it.
        config = {"home": home.environ["PACHYDERM_HOME"], "pins": {"default/numbers": "master^"}}
        code.run("default/read", config={"resources": {"io_manager": {"config": config}}})
    assert code.load("default/read") == "'one'"
    tags = home.materializations("default", "read")[0].tags or {}
    assert tags["dagster/input_data_version/default/numbers"] == older != newest
    assert code.status("default/read") == "STALE"
    code.run("default/read")
    assert code.status("default/read") == "FRESH"


@pytest.mark.parametrize("way", ["tag", "configuration"])
def test_pin_of_what_the_run_does_not_read_is_refused(home: Home, way: str) -> None:
    code = Code(home, source("one", "two"), reader("default/numbers", str))
    code.run("default/numbers")
    if way == "tag":
        error = error_of(code.run("default/read", tags={"pachyderm/input.default.number": "master"}))
        assert "run tag 'pachyderm/input.default.number' pins nothing that this run reads" in error
        assert "what it reads is pinned by 'pachyderm/input.default.numbers'" in error
    else:
        config = {"home": home.environ["PACHYDERM_HOME"], "pins": {"default/number": "master"}}
        error = error_of(code.run("default/read", config={"resources": {"io_manager": {"config": config}}}))
        assert "pin 'default/number' pins nothing that this run reads; what it reads is pinned by 'default/numbers'" in error
    assert "pin-invalid" in error


@pytest.mark.parametrize(("given", "says"), [({"allow_pickel": True}, "allow_pickel"), ({"repos": {"a": "x y@z@"}}, "x y")])
def test_settings_that_cannot_be_are_refused_when_they_are_made(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        PachydermIOManager(**given)


def test_pin_to_a_commit_that_is_not_there_is_told(home: Home) -> None:
    code = Code(home, source("one"), reader("default/numbers", str))
    code.run("default/numbers")
    assert "commit-not-found" in error_of(code.run("default/read", tags={"pachyderm/input.default.numbers": "f" * 32}))


def test_runs_at_once_do_not_mix_each_step_reads_what_its_own_run_made(home: Home) -> None:
    @dg.asset(key=key("default/between"), deps=[key("default/numbers")])
    def between() -> str:
        # Somebody else's run, between the two steps of this one.
        Code(home, source("theirs")).run("default/numbers")
        return ""

    code = Code(home, source("ours"), between, reader("default/numbers", str, deps=[key("default/between")]))
    assert code.run("default/numbers", "default/between", "default/read").success
    assert code.load("default/read") == "'ours'"
    assert code.read("numbers@master:/data.txt") == b"theirs"


def test_commit_that_was_made_by_hand_is_read_before_dagster_heard_of_it(home: Home) -> None:
    home.commit("images@master", {"/a.txt": "one"})
    code = Code(home, reader("default/images", str))
    code.run("default/read")
    second = home.commit("images@master", {"/a.txt": "two"})
    code.run("default/read")
    assert code.load("default/read") == "'two'"
    assert (home.materializations("default", "read")[0].tags or {})["dagster/input_data_version/default/images"] == second.id
    assert (home.materializations("default", "images")[0].tags or {})["dagster/data_version"] == second.id
    assert home.tick().events == []
    assert code.status("default/read") == "FRESH"


def test_content_as_version_makes_an_equal_output_no_news(home: Home) -> None:
    code = Code(home, source("one", "one", "two"), reader("default/numbers", str), version_by="content")
    code.run("default/numbers", "default/read")
    code.run("default/numbers")
    assert len(code.commits("numbers@master")) == 2 and code.status("default/read") == "FRESH"
    code.run("default/numbers")
    assert code.status("default/read") == "STALE"


def test_asset_without_data_is_told_with_where_it_was_looked_for(home: Home) -> None:
    home.workspace.pfs.create_repo("numbers")
    code = Code(home, source("one"), reader("default/numbers", str), read_branches=["dev"])
    found = error_of(code.run("default/read"))
    assert "asset-empty" in found and "'numbers@dev', 'numbers@master'" in found


def test_two_assets_in_one_branch_are_refused(home: Home) -> None:
    assert Code(home, source("one")).run("default/numbers").success
    found = error_of(Code(home, source("x", name="other"), repos={"other": "numbers"}).run("other"))
    assert "branch-of-another-asset" in found and "'default/numbers'" in found


def test_output_of_an_op_that_is_no_asset_is_refused(home: Home) -> None:
    @dg.op
    def one() -> int:
        return 1

    @dg.op
    def two(value: int) -> int:
        return value + 1

    @dg.graph_asset
    def three() -> Any:
        return two(one())

    assert "not-an-asset" in error_of(Code(home, three).run("three"))


def test_asset_can_be_kept_elsewhere_by_metadata(home: Home) -> None:
    where = {"pachyderm/repo": "kept", "pachyderm/branch": "v1"}
    code = Code(home, source("one", name="a/b/c/d", metadata=where), reader("a/b/c/d", str))
    assert code.run("a/b/c/d", "default/read").success
    assert code.read("kept@v1:/data.txt") == b"one" and code.load("a/b/c/d", str) == "one"


# Retries


def test_retried_step_finds_the_commit_that_it_made(home: Home) -> None:
    tries: list[str] = []

    class Failing(PachydermIOManager):
        def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
            super().handle_output(context, obj)
            tries.append(obj)
            if len(tries) == 1:
                raise RuntimeError("the process died between commit and event")

    values = ["one", "another"]

    @dg.asset(key=key("default/numbers"), retry_policy=dg.RetryPolicy(max_retries=2))
    def numbers() -> str:
        return values.pop(0)

    code = Code(home, numbers)
    code.io_manager = Failing(home=home.environ["PACHYDERM_HOME"])
    assert code.run("default/numbers").success and tries == ["one", "another"]
    assert len(code.commits("numbers@master")) == len(home.materializations("default", "numbers")) == 1
    assert code.read("numbers@master:/data.txt") == b"one"
    (event,) = home.materializations("default", "numbers")
    assert event.metadata["pachyderm/bytes"].value == 3


def test_failed_body_leaves_no_commit(home: Home) -> None:
    @dg.asset(key=key("default/numbers"))
    def numbers() -> object:
        return object()

    code = Code(home, numbers)
    assert "output-type" in error_of(code.run("default/numbers"))
    assert home.workspace.pfs.inspect_branch("numbers@master").head is None
    assert home.materializations("default", "numbers") == []


# Partitions

DAYS = dg.StaticPartitionsDefinition(["mon", "tue", "wed"])


def days(**values: str) -> dg.AssetsDefinition:
    @dg.asset(key=key("default/days"), partitions_def=DAYS, code_version="1")
    def made(context: dg.AssetExecutionContext) -> str:
        return values[context.partition_key]

    return made


def test_each_partition_is_a_folder_of_one_repo(home: Home) -> None:
    code = Code(home, days(mon="1", tue="2", wed="3"))
    for day in ("mon", "tue"):
        assert code.run("default/days", partition=day).success
    assert code.read("days@master:/mon/data.txt") == b"1" and code.read("days@master:/tue/data.txt") == b"2"
    event = home.materializations("default", "days")[0]
    assert (event.partition, event.metadata["pachyderm/path"].value, event.metadata["pachyderm/files"].value) == ("tue", "/tue", 1)


def test_one_partition_is_a_value_and_several_are_a_dict(home: Home) -> None:
    code = Code(
        home,
        days(mon="1", tue="2", wed="3"),
        reader("default/days", str, name="same", partitions_def=DAYS),
        reader("default/days", dict[str, str], name="all"),
    )
    for day in DAYS.get_partition_keys():
        code.run("default/days", "same", partition=day)
    assert code.run("all").success
    assert code.load("all") == "[('mon', '1'), ('tue', '2'), ('wed', '3')]"
    assert b"".join(home.workspace.pfs.get_file("same@master:/tue/data.txt")) == b"'2'"
    event = home.materializations("same")[0]
    assert event.partition == "wed" and "dagster/input_data_version/default/days" in (event.tags or {})


def test_missing_partition_is_told_and_left_out_by_choice(home: Home) -> None:
    strict, lenient = (
        reader("default/days", dict[str, str], name="strict"),
        dg.asset(key="lenient", ins={"value": dg.AssetIn(key("default/days"), metadata={"allow_missing_partitions": True})})(_lengths),
    )
    code = Code(home, days(mon="1"), strict, lenient)
    code.run("default/days", partition="mon")
    found = error_of(code.run("strict"))
    assert "partition-missing" in found and "'tue', 'wed'" in found
    assert code.run("lenient").success and code.load("lenient") == {"mon": 1}


def _lengths(value: dict[str, str]) -> dict[str, int]:
    return {name: len(text) for name, text in value.items()}


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_a_run_over_several_partitions_is_one_commit(home: Home) -> None:
    @dg.asset(key=key("default/days"), partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
    def made(context: dg.AssetExecutionContext) -> dict[str, str]:
        return {day: day.upper() for day in context.partition_keys}

    code = Code(home, made)
    tags = {"dagster/asset_partition_range_start": "mon", "dagster/asset_partition_range_end": "tue"}
    assert code.run("default/days", tags=tags).success
    assert len(code.commits("days@master")) == 1 and code.read("days@master:/tue/data.txt") == b"TUE"
    assert sorted(event.partition or "" for event in home.materializations("default", "days")) == ["mon", "tue"]


# Branches for development


def test_development_reads_master_until_it_has_its_own_and_never_writes_there(home: Home) -> None:
    production = Code(home, source("master"), reader("default/numbers", str))
    production.run("default/numbers", "default/read")
    development = Code(home, source("dev"), reader("default/numbers", str), write_branch="dev", read_branches=["dev", "master"])
    assert development.run("default/read").success
    assert development.read("read@dev:/data.txt") == b"'master'"
    assert development.run("default/numbers").success and development.run("default/read").success
    assert development.read("read@dev:/data.txt") == b"'dev'"
    assert development.read("read@master:/data.txt") == b"'master'" and development.read("numbers@master:/data.txt") == b"master"


# Mixed with pipelines


def test_asset_starts_the_pipeline_that_reads_its_repo_and_is_reported_once(home: Home) -> None:
    code = Code(home, source({"a.txt": b"1"}, {"a.txt": b"2"}))
    code.run("default/numbers")
    home.pipeline("edges", "numbers")
    home.run_all()
    result = code.run("default/numbers")
    tick = home.tick()
    assert [request.tags["pachyderm/commit_set"] for request in tick.requests] == code.commits("numbers@master")[:1] and tick.events == []
    home.run(tick.requests[0])
    assert code.read("edges@master:/a.txt") == b"2"
    assert len(home.materializations("default", "numbers")) == 2
    tags = home.materializations("default", "edges")[0].tags or {}
    record = home.instance.fetch_materializations(key("default/numbers"), limit=1).records[0]
    assert tags["dagster/input_event_pointer/default/numbers"] == str(record.storage_id) and record.run_id == result.run_id
    assert code.status("default/edges") == "FRESH"


def test_pipeline_downstream_of_an_asset_versioned_by_content_is_fresh(home: Home) -> None:
    code = Code(home, source({"a.txt": b"1"}), version_by="content")
    code.run("default/numbers")
    home.pipeline("edges", "numbers")
    home.run_all()
    assert home.tick().events == [] and len(home.materializations("default", "numbers")) == 1
    assert code.status("default/edges") == "FRESH"


def test_asset_elsewhere_than_its_key_is_the_pipelines_upstream(home: Home) -> None:
    code = Code(home, source({"a.txt": b"1"}, name="mine"), repos={"mine": "numbers"})
    code.run("mine")
    home.pipeline("edges", "numbers")
    home.run_all()
    graph = code.definitions.resolve_asset_graph()
    assert graph.get(key("default/edges")).parent_keys == {key("mine")}
    assert key("default/numbers") not in graph.get_all_asset_keys() and code.status("default/edges") == "FRESH"


def test_commit_of_a_run_that_is_going_is_left_to_it_and_of_a_dead_one_reported(home: Home) -> None:
    class Dying(PachydermIOManager):
        def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
            super().handle_output(context, obj)
            during.append(home.tick())
            raise RuntimeError("the process died between commit and event")

    during: list[Any] = []
    code = Code(home, source({"a.txt": b"1"}))
    code.io_manager = Dying(home=home.environ["PACHYDERM_HOME"])
    assert "between commit and event" in error_of(code.run("default/numbers"))
    assert during[0].events == [] and during[0].requests == []
    after = home.tick()
    assert [event.asset_key for event in after.events] == [key("default/numbers")]
    assert home.tick().events == [] and len(home.materializations("default", "numbers")) == 1


def test_asset_reads_a_pipelines_output_of_its_own_run(home: Home) -> None:
    home.commit("images@master", {"/a.txt": "one"})
    home.pipeline("edges", "images")
    code = Code(home, reader("default/edges", str))
    assert code.run("default/edges", "default/read").success
    assert code.load("default/read") == "'one'" and code.status("default/read") == "FRESH"


def test_asset_beside_a_pipeline_that_the_same_project_declares(home: Home) -> None:
    command = {"cmd": ["sh"], "stdin": ["cp /pfs/numbers/* /pfs/out/"]}
    spec = {"pipeline": {"name": "edges"}, "transform": command, "input": {"pfs": {"repo": "numbers", "glob": "/*"}}}
    edges = pipeline_asset(spec, environ=home.environ)
    own = dg.Definitions(assets=[source({"a.txt": b"1"}), edges], resources={"io_manager": PachydermIOManager(home=home.environ["PACHYDERM_HOME"])})
    definitions = dg.Definitions.merge(own, commit_automation([edges], environ=home.environ))
    assert definitions.resolve_asset_graph().get(key("default/edges")).parent_keys == {key("default/numbers")}
    repository = definitions.get_repository_def()

    def told() -> list[str]:
        return [(event.tags or {})["dagster/data_version"] for event in home.materializations("default", "numbers")]

    def tick() -> Any:
        with dg.build_sensor_context(home.instance, cursor=home.cursors.get("default"), repository_def=repository) as context:
            found = repository.get_sensor_def("commits_default").evaluate_tick(context)
        home.cursors["default"] = found.cursor
        for event in found.asset_events:
            assert isinstance(event, dg.AssetMaterialization)
            assert (event.tags or {})["dagster/data_version"] not in told(), "nothing is reported twice"
            home.instance.report_runless_asset_event(event)
        return found

    tick()  # makes the pipeline
    job = definitions.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=home.instance, asset_selection=[key("default/numbers")], run_config=QUIET).success
    while requests := tick().run_requests:
        for request in requests:
            job = definitions.resolve_job_def(request.job_name)
            assert job.execute_in_process(instance=home.instance, asset_selection=request.asset_selection, tags=request.tags, run_config=QUIET).success
    head = home.workspace.pfs.inspect_commit("numbers@master")
    assert told()[0] == head.id
    assert b"".join(home.workspace.pfs.get_file("edges@master:/a.txt")) == b"1"
    assert (home.materializations("default", "edges")[0].tags or {})["dagster/input_data_version/default/numbers"] == head.id


@pytest.mark.filterwarnings("ignore:Parameter `include_sources`")
def test_asset_that_a_pipeline_reads_is_missing_until_it_is_made(home: Home) -> None:
    copy = {"cmd": ["sh"], "stdin": ["cp /pfs/numbers/* /pfs/out/"]}
    edges = pipeline_asset({"pipeline": {"name": "edges"}, "transform": copy, "input": {"pfs": {"repo": "numbers", "glob": "/*"}}}, environ=home.environ)
    made = source({"a.txt": b"1"}, automation_condition=dg.AutomationCondition.missing())
    resources = {"io_manager": PachydermIOManager(home=home.environ["PACHYDERM_HOME"])}
    own = dg.Definitions(assets=[made, reader("default/numbers", dict[str, bytes]), edges], resources=resources)
    definitions = dg.Definitions.merge(own, commit_automation([edges], environ=home.environ))
    repository = definitions.get_repository_def()

    def tick() -> Any:
        with dg.build_sensor_context(home.instance, cursor=home.cursors.get("default"), repository_def=repository) as context:
            found = repository.get_sensor_def("commits_default").evaluate_tick(context)
        home.cursors["default"] = found.cursor
        for event in found.asset_events:
            assert isinstance(event, dg.AssetMaterialization)
            home.instance.report_runless_asset_event(event)
        return found

    def run(name: str) -> dg.ExecuteInProcessResult:
        job = definitions.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(instance=home.instance, asset_selection=[key(name)], run_config=QUIET, raise_on_error=False)

    # Makes the pipeline, and with it an empty commit on the branch of the asset; the job of that commit runs and reads it.
    while requests := tick().run_requests:
        for request in requests:
            found = definitions.resolve_job_def(request.job_name)
            assert found.execute_in_process(instance=home.instance, asset_selection=request.asset_selection, tags=request.tags, run_config=QUIET).success
    assert home.workspace.pfs.inspect_commit("numbers@master").origin is Origin.AUTO
    assert [job.state for job in home.jobs("edges")] == [JobState.SUCCESS]
    assert home.materializations("default", "numbers") == []
    assert "asset-empty" in error_of(run("default/read"))
    assert dg.evaluate_automation_conditions(defs=definitions, instance=home.instance).get_num_requested(key("default/numbers")) == 1
    assert run("default/numbers").success
    tick()
    assert len(home.materializations("default", "numbers")) == 1
    assert run("default/read").success


def test_output_of_a_pipeline_that_is_empty_is_read_as_such(home: Home) -> None:
    home.commit("images@master", {"/a": "1"})
    home.pipeline("edges", "images", code="true")
    home.run_all()
    code = Code(home, reader("default/edges", dict[str, bytes]))
    assert code.run("default/read").success and code.load("default/read") == "[]"
