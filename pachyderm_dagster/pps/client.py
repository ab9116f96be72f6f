"""Pipelines for a caller: what needs content beside the record."""

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.metadata.database import Database
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, Commit, RepoName
from pachyderm_dagster.pfs.requests import Contents, StoredSpec
from pachyderm_dagster.pfs.user_transactions import UserTransaction
from pachyderm_dagster.pps import jobs, pipelines, transactions
from pachyderm_dagster.pps.cron import tick_name, tick_triggers
from pachyderm_dagster.pps.datums import DatumState
from pachyderm_dagster.pps.inputs import CronInput, leaves
from pachyderm_dagster.pps.model import Job, Pipeline
from pachyderm_dagster.pps.requests import CreatePipeline, Made, Request
from pachyderm_dagster.pps.results import DatumDetails
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.storage.content import ContentWriter
from pachyderm_dagster.storage.rows import DATUM_ROWS, FILE_ROWS, content_array, contents_of
from pachyderm_dagster.storage.trees import TreeRoot, Trees

SPEC_FILE = "spec"
_SHOWN = {DatumState.PROCESSED: "SUCCESS", DatumState.FAILED: "FAILED", DatumState.RECOVERED: "RECOVERED"}
SKIPPED = "SKIPPED"


@dataclass(frozen=True, slots=True)
class DatumInfo:
    """A datum of a job as listed."""

    id: str
    job: Job
    state: str
    """SUCCESS, FAILED or RECOVERED when this job ran it, SKIPPED when an earlier one did."""
    ran_in: str
    """Id of the job that ran it."""
    details: DatumDetails


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that user code printed."""

    job: Job
    datum: str
    inputs: tuple[str, ...]
    text: str


class Pps:
    """Pipelines, jobs and datums of one workspace."""

    def __init__(self, database: Database, pfs: Pfs, *, project: str = DEFAULT_PROJECT) -> None:
        self.database = database
        self._pfs = pfs
        self._meta_trees = Trees(pfs.store, DATUM_ROWS)
        self._project = project

    def create_pipeline(self, spec: PipelineSpec, *, update: bool = False, reprocess: bool = False) -> Pipeline:
        """Makes a pipeline or its next version; errors as `pipelines.create_pipeline`."""
        request = CreatePipeline(spec.to_json(), self._project, update, reprocess)
        ((made,),) = self.apply_all([request])
        assert isinstance(made, Pipeline)
        return made

    def apply_all(self, requests: Sequence[Request]) -> list[list[Made]]:
        """Does several things as one change, all or nothing: one commit set, one job a pipeline. Errors as `transactions.apply_all`."""
        return transactions.apply_all(self.database, requests, self._prepare)

    def append_request(self, transaction_id: str, request: Request) -> list[Made]:
        """Adds a request to a transaction and returns what it will make. Errors as `transactions.append`."""
        return transactions.append(self.database, transaction_id, request, self._prepare)

    def finish_transaction(self, transaction_id: str) -> UserTransaction:
        """Does all that was asked for in a transaction, at once. Errors as `transactions.finish`."""
        return transactions.finish(self.database, transaction_id, self._prepare)

    def run_cron(self, name: RepoName, *, time: dt.datetime | None = None) -> list[Commit]:
        """One tick, now unless `time` is given, for every cron input of a pipeline: a commit each, with an empty file named after the time.

        Branches that it reads and that a schedule moves are moved now; the commits that they point at come last.

        Raises:
            NotFoundError: `pipeline-not-found`.
            InvalidError: `no-cron-input`.
        """
        with self.database.read() as txn:
            pipeline = pipelines.get_pipeline(txn, name)
        clocks = [leaf for leaf in leaves(pipeline.spec.input) if isinstance(leaf, CronInput)]
        ticked = [self.tick(clock, name.project, time or self.database.clock.now()) for clock in clocks]
        moved = self.database.write(lambda txn: tick_triggers(txn, pipeline))
        if not clocks and not moved:
            raise InvalidError("no-cron-input", f"pipeline '{name}' has no cron input, and reads no branch that a schedule moves; put files into its inputs")
        return ticked + moved

    def tick(self, clock: CronInput, project: str, time: dt.datetime) -> Commit:
        """Commits one tick of a cron input. The same time twice is one file, in two commits."""
        repo = clock.repo_name(project)
        branch = f"{repo.project}/{repo.name}@{clock.branch}"
        with self._pfs.modify_file(branch) as files:
            if clock.overwrite:
                files.delete_directory("/")
            files.put_bytes(f"/{tick_name(time)}", b"")
        return files.commit

    def list_datum(self, job: Job) -> Iterator[DatumInfo]:
        """The datums of a job that has ended, by id; none of one that has not: they are written down together at its end."""
        for table in self._meta_trees.read(self._meta(job)):
            yield from self._infos(job, table)

    def inspect_datum(self, job: Job, datum: str) -> DatumInfo:
        """One datum of a job, by its id or the start of it.

        Raises:
            NotFoundError: `datum-not-found`.
            InvalidError: `datum-ambiguous`, when several ids begin like that.
        """
        root = self._meta(job)
        found = self._meta_trees.seek(root, datum)
        if found is None or not found.startswith(datum):
            raise NotFoundError("datum-not-found", f"datum '{datum}' is not in job '{job}'; `pachctl list datum {job}` shows its datums")
        following = self._meta_trees.seek(root, found + "0")
        if found != datum and following is not None and following.startswith(datum):
            raise InvalidError("datum-ambiguous", f"datums {found[:16]}… and {following[:16]}… of job '{job}' both begin with '{datum}'; give more of the id")
        return next(self._infos(job, self._meta_trees.find(root, pa.array([found]))))

    def _infos(self, job: Job, rows: pa.Table) -> Iterator[DatumInfo]:
        details = self._pfs.reader.read_many(contents_of(rows.column("details").combine_chunks()))
        for row, body in zip(rows.select(["key", "state", "job"]).to_pylist(), details, strict=True):
            state = _SHOWN[DatumState(row["state"])] if row["job"] == job.id else SKIPPED
            yield DatumInfo(row["key"], job, state, row["job"], msgspec.json.decode(body, type=DatumDetails))

    def logs(self, job: Job, *, datum: str | None = None) -> Iterator[LogLine]:
        """What the user code of the datums that this job ran printed, datum by datum."""
        for info in self.list_datum(job):
            if info.state == SKIPPED or info.details.log is None or (datum is not None and not info.id.startswith(datum)):
                continue
            text = self._pfs.reader.read(info.details.log).decode(errors="replace")
            for line in text.splitlines():
                yield LogLine(job, info.id, info.details.inputs, line)

    def _prepare(self, contents: Contents) -> None:
        for spec in contents.missing_specs:
            since = self.database.clock.now()
            root = self._store_spec(spec)
            contents.specs[spec] = StoredSpec(root.encode(), root.size_bytes, since)
        for name, asked in contents.missing_commits.items():
            contents.commits[name] = self._pfs.prepare_finish(asked, trial=contents.trial)

    def _store_spec(self, spec: str) -> TreeRoot:
        text = json.dumps(json.loads(spec), indent=2).encode() + b"\n"
        with ContentWriter(self._pfs.store) as writer:
            size, hash, refs = content_array([writer.write(text)]).flatten()
        row = pa.table([pa.array([SPEC_FILE]), pa.array([b""], pa.binary()), size, hash, refs], schema=FILE_ROWS.schema)
        return self._pfs.trees.build(row)

    def _meta(self, job: Job) -> TreeRoot:
        with self.database.read() as txn:
            tree = commits.get_commit(txn, jobs.refresh(txn, job).meta_commit).tree
        return self._meta_trees.decode(tree)
