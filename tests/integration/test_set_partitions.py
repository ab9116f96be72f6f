"""Commit sets as partitions of pipelines' assets: in the sensor's runs, in runs by hand and in Dagster's backfills."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.execution.api import execute_run
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.loader import LoadingContextForTest
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._utils.hosted_user_process import recon_job_from_origin

from pachyderm_dagster.integration import pachyderm_assets, set_partitions
from pachyderm_dagster.pps.model import JobState
from tests.integration.daemons import idle_instance
from tests.integration.home import QUIET, Home
from tests.integration.test_assets import spec
from tests.integration.test_job_step import failures

EDGES, MONTAGE = dg.AssetKey(["default", "edges"]), dg.AssetKey(["default", "montage"])


@dataclass(slots=True)
class Project:
    """A Dagster project with partitioned pipelines, driven by hand."""

    home: Home
    file: Path
    definitions: dg.Definitions
    cursor: str | None = None
    runs: list[dg.RunRequest] = field(default_factory=list)

    def tick(self) -> list[dg.RunRequest]:
        """One tick of the sensor, with what the daemon does with its events and partitions."""
        repository = self.definitions.get_repository_def()
        with dg.build_sensor_context(self.home.instance, self.cursor, repository_def=repository, instance_ref=self.home.instance.get_ref()) as context:
            data = repository.get_sensor_def("commits_default").evaluate_tick(context)
        for event in data.asset_events:
            self.home.instance.report_runless_asset_event(event)
        for request in data.dynamic_partitions_requests or []:
            if isinstance(request, dg.AddDynamicPartitionsRequest):
                self.home.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
            else:
                for key in request.partition_keys:
                    self.home.instance.delete_dynamic_partition(request.partitions_def_name, key)
        self.cursor = data.cursor
        return list(data.run_requests or [])

    def run(self, keys: Sequence[dg.AssetKey], partition: str | None, tags: Mapping[str, str] | None = None, **ops: object) -> dg.ExecuteInProcessResult:
        job = self.definitions.resolve_job_def("pipelines_default")
        return job.execute_in_process(
            instance=self.home.instance,
            asset_selection=list(keys),
            tags=tags,
            partition_key=partition if partition is None or "_" in partition or partition == "mine" else self.key(partition),
            run_config={**QUIET, "ops": ops},
            raise_on_error=False,
        )

    def run_all(self) -> None:
        while requests := self.tick():
            for request in requests:
                self.runs.append(request)
                self.run(request.asset_selection or [], request.partition_key, request.tags)

    def partitions(self) -> list[str]:
        """The sets that are partitions."""
        return [key[27:] for key in self.home.instance.get_dynamic_partitions("pachyderm_commit_sets")]

    def key(self, set_id: str) -> str:
        """The partition of a set."""
        (found,) = (key for key in self.home.instance.get_dynamic_partitions("pachyderm_commit_sets") if key.endswith(f"_{set_id}"))
        return found

    def made(self, key: dg.AssetKey) -> list[tuple[str, str]]:
        """Partition's set and data version of an asset's materializations, oldest first."""
        found = [record.asset_materialization for record in self.home.instance.fetch_materializations(key, limit=100).records]
        return [((event.partition or "")[27:], (event.tags or {})["dagster/data_version"]) for event in reversed(found) if event is not None]

    def status(self, key: dg.AssetKey, partition: str) -> StaleStatus:
        instance = self.home.instance
        resolver = CachingStaleStatusResolver(instance, self.definitions.resolve_asset_graph(), LoadingContextForTest(instance))
        return resolver.get_status(key, self.key(partition))


@pytest.fixture
def project(home: Home, tmp_path: Path) -> Project:
    """Two pipelines, one behind the other, and two commits that they have done."""
    file = tmp_path / "pipelines.json"
    file.write_text(json.dumps([spec("edges", "images"), spec("montage", "edges")]))
    home.commit("images@master", {"/a": "1"})
    found = Project(home, file, pachyderm_assets(file, partition_by="commit", environ=home.environ))
    found.run_all()
    home.commit("images@master", {"/b": "1"})
    found.run_all()
    return found


def sets(home: Home) -> list[str]:
    """The ids of all jobs of `edges`, oldest first."""
    return [job.id for job in reversed(home.jobs("edges"))]


def files(home: Home, commit: str) -> list[str]:
    return [file.path for file in home.workspace.pfs.list_file(commit)]


def test_each_set_is_a_partition_in_which_its_outputs_are(home: Home, project: Project) -> None:
    assert project.partitions() == sets(home)
    assert project.made(EDGES) == project.made(MONTAGE) == [(found, found) for found in sets(home)]
    assert [request.partition_key for request in project.runs] == [project.key(found) for found in sets(home)]
    old, new = sets(home)
    assert (project.status(EDGES, new), project.status(MONTAGE, new)) == (StaleStatus.FRESH, StaleStatus.FRESH)
    # The branch that it reads is not partitioned: what was made from its earlier commit is not made from its newest.
    assert project.status(EDGES, old) is StaleStatus.STALE


def test_burst_shares_a_run_and_each_set_has_its_partition(home: Home, project: Project) -> None:
    burst = [home.commit("images@master", {f"/{name}": name}).id for name in "cdef"]
    (request,) = project.tick()
    assert (request.run_key, request.partition_key) == (burst[0], project.key(burst[-1]))
    assert project.run(request.asset_selection or [], request.partition_key, request.tags).success
    assert project.partitions()[-4:] == burst
    for key in (EDGES, MONTAGE):
        assert project.made(key)[-4:] == [(found, found) for found in burst]
        assert project.status(key, burst[-1]) is StaleStatus.FRESH
    assert project.tick() == []


def test_partition_is_run_again_on_what_its_set_read(home: Home, project: Project) -> None:
    old, _ = sets(home)
    read = home.workspace.pfs.inspect_commit(f"images@{old}").id
    assert project.run([EDGES, MONTAGE], old).success
    again = sets(home)[-1]
    assert project.made(EDGES)[-1] == project.made(MONTAGE)[-1] == (old, again)
    assert files(home, f"montage@{again}") == ["/a"]
    assert home.workspace.pfs.inspect_commit(f"images@{again}").id == read
    # The set that repeats another is no partition of its own, and nothing is left to do.
    assert project.tick() == []
    assert again not in project.partitions()


def test_partition_of_one_pipeline_goes_on_to_what_is_downstream(home: Home, project: Project) -> None:
    old, _ = sets(home)
    assert project.run([EDGES], old).success
    again = sets(home)[-1]
    (request,) = project.tick()
    assert (request.asset_selection, request.partition_key) == ([MONTAGE], project.key(old))
    assert project.run([MONTAGE], old, request.tags).success
    assert project.made(MONTAGE)[-1] == (old, again)


def test_partition_of_the_last_pipeline_reads_the_output_of_that_set(home: Home, project: Project) -> None:
    old, _ = sets(home)
    assert project.run([MONTAGE], old).success
    (newest, *_) = home.jobs("montage")
    assert home.workspace.pfs.inspect_commit(f"edges@{newest.id}").id == old
    assert project.made(MONTAGE)[-1] == (old, newest.id)


def test_partition_runs_every_datum_again_when_it_is_to(home: Home, project: Project) -> None:
    old, _ = sets(home)
    assert project.run([EDGES, MONTAGE], old, default__edges={"config": {"reprocess": True}}).success
    assert [home.jobs(name)[0].counters.data_processed for name in ("edges", "montage")] == [1, 0]


def test_partition_whose_jobs_were_never_done_is_that_set(home: Home, project: Project) -> None:
    commit = home.commit("images@master", {"/c": "1"})
    project.tick()
    assert project.run([EDGES, MONTAGE], commit.id).success
    assert home.job("montage", commit.id).state is JobState.SUCCESS
    assert project.made(MONTAGE)[-1] == (commit.id, commit.id)
    assert project.tick() == []


def test_partition_that_is_no_set_and_one_with_a_pin_are_refused(home: Home, project: Project) -> None:
    home.instance.add_dynamic_partitions("pachyderm_commit_sets", ["mine"])
    told = failures(project.run([EDGES], "mine"))["default__edges"]
    assert told.startswith("partition 'mine' is no commit set with jobs")
    told = failures(project.run([EDGES], sets(home)[0], default__edges={"config": {"inputs": {"images": "master"}}}))["default__edges"]
    assert "says which commits are read, and the run pins 'images@master' too" in told


def test_output_of_a_run_that_died_before_it_told_is_told_in_its_partition(home: Home, project: Project) -> None:
    before = project.made(EDGES)
    home.instance.wipe_assets([EDGES])
    project.cursor = None
    project.tick()
    assert project.made(EDGES) == before


def test_only_the_newest_sets_stay_partitions(home: Home, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_partitions, "MOST_PARTITIONS", 3)
    for name in "cd":
        home.commit("images@master", {f"/{name}": name})
    project.run_all()
    assert project.partitions() == sets(home)[-3:]
    assert len(project.made(EDGES)) == 4


# Dagster's own code uses it to make a backfill.
@pytest.mark.filterwarnings("ignore:Function `AssetSelection.sources` is deprecated")
def test_backfill_of_dagster_runs_old_sets_again_in_order(home: Home, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACHYDERM_HOME", home.environ["PACHYDERM_HOME"])
    monkeypatch.setenv("TEST_PIPELINES", str(project.file))
    old = sets(home)
    with idle_instance(home, "tests.integration.partitioned_code", "partitioned") as (instance, context):
        backfill = PartitionBackfill.from_asset_partitions(
            backfill_id="again",
            asset_graph=context.create_request_context().asset_graph,
            partition_names=[project.key(found) for found in old],
            asset_selection=[EDGES, MONTAGE],
            backfill_timestamp=0.0,
            tags={},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
        instance.add_backfill(backfill)
        list(execute_backfill_iteration(context, logging.getLogger("test")))
        # Runs are created in the order in which they are launched: that of the commits.
        runs = list(reversed(instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": "again"}))))
        for run in runs:
            assert run.job_code_origin is not None
            execute_run(recon_job_from_origin(run.job_code_origin), run, instance)
        ended_runs = [instance.get_run_by_id(run.run_id) or run for run in runs]
        assert [(run.tags["dagster/partition"][27:], run.status) for run in ended_runs] == [(found, dg.DagsterRunStatus.SUCCESS) for found in old]
        list(execute_backfill_iteration(context, logging.getLogger("test")))
        ended = instance.get_backfill("again")
        assert ended is not None and ended.status.value == "COMPLETED_SUCCESS"
    again = sets(home)[-2:]
    assert project.made(MONTAGE)[-2:] == list(zip(old, again, strict=True))
    assert [files(home, f"montage@{found}") for found in again] == [["/a"], ["/a", "/b"]]
    assert project.tick() == []


def test_run_without_a_partition_is_refused_before_it_does_anything(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "edges.json"
    file.write_text(json.dumps(spec("edges", "images")))
    home.commit("images@master", {"/a": "1"})
    definitions = pachyderm_assets(file, environ=home.environ, partition_by="commit")
    result = definitions.resolve_job_def("pipelines_default").execute_in_process(instance=home.instance, raise_on_error=False, run_config=QUIET)
    assert "has no partition; choose one, or make a new commit set with `pachctl rerun pipeline edges` [partition-unset]" in str(failures(result))
    # Only that of the pipeline's first commit.
    assert [job.state for job in home.jobs("edges")] == [JobState.CREATED]
