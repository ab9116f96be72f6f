"""Runs that a user starts with a configuration: pins, and everything anew."""

import re
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import StaleStatus

from pachyderm_dagster.integration import PipelineConfig, build_definitions
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.model import JobState
from tests.integration.home import QUIET, Home
from tests.integration.pipelines_in_processes import whole_job
from tests.integration.test_job_step import failures, run_tags

EDGES, MONTAGE = dg.AssetKey(["default", "edges"]), dg.AssetKey(["default", "montage"])


def launch(home: Home, *keys: dg.AssetKey, tags: dict[str, str] | None = None, **configs: PipelineConfig) -> dg.ExecuteInProcessResult:
    """Runs pipelines with a configuration for some of them, as the launchpad does."""
    ops = {f"default__{name}": {"config": {"inputs": config.inputs, "reprocess": config.reprocess}} for name, config in configs.items()}
    job = home.definitions().resolve_job_def("pipelines_default")
    return job.execute_in_process(instance=home.instance, asset_selection=list(keys) or None, run_config={"ops": ops, **QUIET}, raise_on_error=False, tags=tags)


@pytest.fixture
def history(home: Home) -> list[str]:
    """Three commits that a chain of two pipelines has done."""
    found = [home.commit("images@master", {f"/{name}": name}).id for name in "abc"]
    home.pipeline("edges", "images")
    home.pipeline("montage", "edges", "images", code="cp /pfs/edges/* /pfs/out/$(ls /pfs/edges)-$(ls /pfs/images)")
    home.run_all()
    return found


def input_versions(home: Home, name: str) -> dict[str, str]:
    """What the newest materialization of a pipeline says it was made from."""
    tags = home.materializations("default", name)[0].tags or {}
    return {key.removeprefix("dagster/input_data_version/default/"): value for key, value in tags.items() if "input_data_version" in key}


def test_pinned_run_reads_that_commit_is_stale_and_a_later_one_fresh(home: Home, history: list[str]) -> None:
    result = launch(home, edges=PipelineConfig(inputs={"images": history[0]}))
    assert result.success
    made = run_tags(home, result)["pachyderm/commit_set"]
    assert [file.path for file in home.workspace.pfs.list_file("montage@master")] == ["/a-a"]
    # The pin stands with one pipeline and holds for the other one, which reads the branch too.
    assert (input_versions(home, "edges"), input_versions(home, "montage")) == ({"images": history[0]}, {"images": history[0], "edges": made})
    tags = home.materializations("default", "edges")[0].tags or {}
    known = home.instance.fetch_materializations(dg.AssetKey(["default", "images"]), limit=9).records
    (event,) = [record for record in known if str(record.storage_id) == tags["dagster/input_event_pointer/default/images"]]
    assert event.asset_materialization is not None
    assert (event.asset_materialization.tags or {})["dagster/data_version"] == history[0]
    assert home.status(EDGES) == (StaleStatus.STALE, ["has a new dependency data version"])
    assert launch(home).success
    assert (home.status(EDGES)[0], home.status(MONTAGE)[0]) == (StaleStatus.FRESH, StaleStatus.FRESH)


def test_run_pinned_to_the_newest_commit_is_fresh(home: Home, history: list[str]) -> None:
    launch(home, edges=PipelineConfig(inputs={"images@master": history[2]}))
    assert home.status(EDGES) == (StaleStatus.FRESH, [])


def test_reprocessing_is_for_the_pipeline_that_says_so(home: Home, history: list[str]) -> None:
    made = run_tags(home, launch(home, edges=PipelineConfig(reprocess=True)))["pachyderm/commit_set"]
    assert [(home.job(name, made).counters.data_processed, home.job(name, made).counters.data_skipped) for name in ("edges", "montage")] == [(3, 0), (0, 9)]
    with home.workspace.database.read() as txn:
        assert [pipelines.get_pipeline(txn, RepoName("default", name)).version for name in ("edges", "montage")] == [2, 1]
    # The pipeline means what it meant.
    assert home.status(EDGES) == (StaleStatus.FRESH, [])


def test_downstream_that_was_not_selected_reads_what_the_run_made_and_the_pin(home: Home, history: list[str]) -> None:
    made = run_tags(home, launch(home, EDGES, edges=PipelineConfig(inputs={"images": "master^"})))["pachyderm/commit_set"]
    (request,) = home.tick().requests
    assert home.run(request).success
    assert home.job("montage", made).state is JobState.SUCCESS
    assert input_versions(home, "montage") == {"edges": made, "images": history[1]}


def test_tag_pins_a_pipelines_input_as_it_does_for_an_io_manager(home: Home, history: list[str]) -> None:
    assert launch(home, tags={"pachyderm/input.default.images": history[1]}).success
    assert input_versions(home, "edges") == {"images": history[1]}


@pytest.mark.parametrize("tag", ["pachyderm/input.default.image", "pachyderm/input."])
def test_tag_that_pins_nothing_of_the_run_is_refused_before_any_job(home: Home, history: list[str], tag: str) -> None:
    before = len(home.jobs("edges"))
    says = re.escape(f"run tag {tag!r} pins nothing that this run reads; what it reads is pinned by 'pachyderm/input.default.edges', ")
    assert re.search(says, failures(launch(home, tags={tag: history[1]}))["default__edges"])
    assert len(home.jobs("edges")) == before


def test_re_execution_of_a_pinned_run_is_pinned_too(home: Home, history: list[str]) -> None:
    first = launch(home, EDGES, edges=PipelineConfig(inputs={"images": history[0]}))
    again = launch(
        home,
        EDGES,
        edges=PipelineConfig(inputs={"images": history[0]}),
        tags={**run_tags(home, first), "dagster/parent_run_id": first.run_id, "dagster/root_run_id": first.run_id},
    )
    assert run_tags(home, again)["pachyderm/commit_set"] != run_tags(home, first)["pachyderm/commit_set"]
    assert input_versions(home, "edges") == {"images": history[0]}


@pytest.mark.parametrize(
    ("configs", "says"),
    [
        ({"edges": {"labels": "master"}}, r"pipelines 'edges', 'montage' read 'images@master', 'edges@master', and not 'labels'; pin what is read"),
        ({"edges": {"images": "nowhere"}}, r"branch 'images@nowhere' does not exist; branches of 'images': 'master'"),
        ({"edges": {"images": "master"}, "montage": {"images": "master^"}}, r"'images@master' is pinned to 'master\^' and to 'images@[0-9a-f]{32}'"),
        ({"montage": {"edges": "master"}}, r"'edges@master' is pinned to 'master', and this change makes a commit of it; leave out one of them"),
        ({"edges": {"no repo": "master"}}, r"'no repo' cannot name a repo"),
    ],
)
def test_pin_that_cannot_be_fails_the_step_and_says_what_to_do(home: Home, history: list[str], configs: dict[str, dict[str, str]], says: str) -> None:
    before = len(home.jobs("edges"))
    result = launch(home, tags=None, **{name: PipelineConfig(inputs=inputs) for name, inputs in configs.items()})
    assert re.search(says, failures(result)["default__edges"]), failures(result)
    assert len(home.jobs("edges")) == before
    assert home.tick().requests == []


@pytest.mark.parametrize(("config", "says"), [({"input": {}}, "input"), ({"reprocess": "perhaps"}, "reprocess"), ({"inputs": {"images": 3}}, "images")])
def test_configuration_that_is_none_starts_no_run(home: Home, history: list[str], config: dict[str, Any], says: str) -> None:
    job = home.definitions().resolve_job_def("pipelines_default")
    before = home.instance.get_runs_count()
    with pytest.raises(dg.DagsterInvalidConfigError, match=says):
        job.execute_in_process(instance=home.instance, run_config={"ops": {"default__edges": {"config": config}}})
    assert home.instance.get_runs_count() == before


def test_launchpad_shows_what_can_be_said(home: Home, history: list[str]) -> None:
    whole: Any = build_definitions(home.environ).resolve_job_def("pipelines_default").run_config_schema.config_type
    fields = whole.fields["ops"].config_type.fields
    shown = fields["default__edges"].config_type.fields["config"].config_type.fields
    assert set(shown) == {"inputs", "reprocess"}
    assert all(field.description and not field.is_required for field in shown.values())


def test_steps_in_processes_of_their_own_share_one_set_and_its_pins(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACHYDERM_HOME", home.environ["PACHYDERM_HOME"])
    old = home.commit("images@master", {"/a": "1"})
    home.commit("images@master", {"/b": "1"})
    home.commit("labels@master", {"/c": "1"})
    config: dict[str, Any] = {
        "ops": {"default__montage": {"config": {"inputs": {"labels": "master"}}}, "default__edges": {"config": {"inputs": {"images": old.id}}}}
    }
    with dg.execute_job(dg.reconstructable(whole_job), instance=home.instance, run_config={**config, **QUIET}) as result:
        assert result.success, [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    jobs = [home.jobs(name) for name in ("edges", "words", "montage")]
    # One when the pipelines are made, which they are before the run's set, and one in that set.
    made = {found[0].id for found in jobs}
    assert len(made) == 1
    assert [found[0].state for found in jobs] == [JobState.SUCCESS] * 3
    assert [file.path for file in home.workspace.pfs.list_file("montage@master")] == ["/a", "/c"]
    assert run_tags_of(home, result.run_id)["pachyderm/commit_set"] in made


def run_tags_of(home: Home, run_id: str) -> dict[str, str]:
    run = home.instance.get_run_by_id(run_id)
    assert run is not None
    return dict(run.tags)
