"""What tests of the Dagster side do again and again: commit, make pipelines, let the sensor tick, run what it asks for."""

import contextlib
import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from pachyderm_dagster.errors import ExistsError
from pachyderm_dagster.integration import build_definitions
from pachyderm_dagster.pfs.model import Commit, RepoName
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.workspace import Workspace

LONG = dt.timedelta(minutes=5)
COPY = "cp /pfs/{repo}/* /pfs/out/"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(slots=True)
class Tick:
    """What one tick of the sensor gave."""

    requests: Sequence[dg.RunRequest]
    events: Sequence[dg.AssetMaterialization]
    skip: str | None


@dataclass(slots=True)
class Home:
    workspace: Workspace
    environ: dict[str, str]
    instance: dg.DagsterInstance
    cursors: dict[str, str | None] = field(default_factory=dict)

    def commit(self, branch: str, files: Mapping[str, str | bytes], message: str = "") -> Commit:
        """Writes files into a branch, whose repo is made when it is missing."""
        with contextlib.suppress(ExistsError):
            self.workspace.pfs.create_repo(branch.partition("@")[0])
        with self.workspace.pfs.modify_file(branch, description=message) as changes:
            for path, content in files.items():
                changes.put_bytes(path, content.encode() if isinstance(content, str) else content)
        return self.workspace.pfs.inspect_commit(branch)

    def pipeline(self, name: str, *repos: str, code: str | None = None, project: str = "default", update: bool = False, **fields: object) -> None:
        """Makes a pipeline whose code is a line of shell; by default it copies its first input."""
        leaves = [{"pfs": {"repo": repo, "glob": "/*"}} for repo in repos]
        spec = {
            "pipeline": {"name": name, "project": {"name": project}},
            "transform": {"cmd": ["sh"], "stdin": [code or COPY.format(repo=repos[0])]},
            "input": leaves[0] if len(leaves) == 1 else {"cross": leaves},
            "datum_tries": 1,
            **fields,
        }
        for parsed in parse_specs(json.dumps(spec), source="test"):
            self.workspace.pps.create_pipeline(parsed, update=update)

    def definitions(self) -> dg.Definitions:
        return build_definitions(self.environ)

    def tick(self, project: str = "default") -> Tick:
        """One tick of a project's sensor, with what the daemon does with its events."""
        repository = self.definitions().get_repository_def()
        sensor = repository.get_sensor_def(f"commits_{project}")
        with dg.build_sensor_context(self.instance, cursor=self.cursors.get(project), repository_def=repository) as context:
            data = sensor.evaluate_tick(context)
        events = [event for event in data.asset_events if isinstance(event, dg.AssetMaterialization)]
        for event in events:
            self.instance.report_runless_asset_event(event)
        self.cursors[project] = data.cursor
        return Tick(data.run_requests or [], events, data.skip_message)

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Does what a run request asks for."""
        assert request.job_name is not None and request.asset_selection is not None
        return self.execute(*request.asset_selection, job=request.job_name, tags=request.tags)

    def execute(self, *keys: dg.AssetKey, job: str = "pipelines_default", tags: Mapping[str, str] | None = None) -> dg.ExecuteInProcessResult:
        """Runs assets, as a click on Materialize does; without keys all of the job."""
        return (
            self.definitions()
            .resolve_job_def(job)
            .execute_in_process(instance=self.instance, asset_selection=list(keys) or None, tags=tags, run_config=QUIET, raise_on_error=False)
        )

    def run_all(self) -> None:
        """Lets the sensor tick and runs what it asks for, until it asks for nothing."""
        while requests := self.tick().requests:
            for request in requests:
                self.run(request)

    def job(self, pipeline: str, set_id: str) -> Job:
        with self.workspace.database.read() as txn:
            return jobs.get_job(txn, RepoName("default", pipeline), set_id)

    def jobs(self, pipeline: str) -> list[Job]:
        """The jobs of a pipeline, newest first."""
        with self.workspace.database.read() as txn:
            return jobs.list_job(txn, pipeline=RepoName("default", pipeline))

    def materializations(self, *path: str) -> list[dg.AssetMaterialization]:
        """Those of an asset, newest first."""
        records = self.instance.fetch_materializations(dg.AssetKey(path), limit=100).records
        return [found for record in records if (found := record.asset_materialization) is not None]

    def status(self, key: dg.AssetKey) -> tuple[StaleStatus, list[str]]:
        """What Dagster's UI shows of an asset, and why."""
        resolver = CachingStaleStatusResolver(self.instance, self.definitions().resolve_asset_graph(), LoadingContextForTest(self.instance))
        return resolver.get_status(key), [cause.reason for cause in resolver.get_stale_causes(key)]

    @contextlib.contextmanager
    def lease(self, name: str) -> Iterator[None]:
        """Holds a lease that somebody else wants."""
        assert self.workspace.leases.acquire(name, "somebody", LONG)
        try:
            yield
        finally:
            self.workspace.leases.release(name, "somebody")
