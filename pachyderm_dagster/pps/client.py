"""Pipelines for a caller: what needs content beside the record."""

import dataclasses
import datetime as dt
import itertools
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from pachyderm_dagster.errors import InvalidError, NotFoundError, StateError
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.ancestry import find_readable
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, BranchName, Commit, RepoName, RepoType
from pachyderm_dagster.pfs.references import branch_row
from pachyderm_dagster.pfs.repos import find_repo, get_repo
from pachyderm_dagster.pfs.requests import Contents, SpecContent, StoredSpec
from pachyderm_dagster.pfs.user_transactions import UserTransaction
from pachyderm_dagster.pps import jobs, pipelines, transactions
from pachyderm_dagster.pps.cron import tick_name, tick_triggers
from pachyderm_dagster.pps.datum_listing import RAN, DatumInfo, DatumListing, PlannedDatums, ShownState
from pachyderm_dagster.pps.inputs import CronInput, Leaf, leaves
from pachyderm_dagster.pps.job_inputs import Base, find_base, find_results_root, load_job_inputs
from pachyderm_dagster.pps.log_lines import LogLine, SaidDatum, cut_lines, interleave
from pachyderm_dagster.pps.meta_files import MetaFiles
from pachyderm_dagster.pps.meta_rows import DatumFiles
from pachyderm_dagster.pps.model import Job, Pipeline
from pachyderm_dagster.pps.planning import base_rows, find_datums, find_plan, make_sources
from pachyderm_dagster.pps.requests import CreatePipeline, Made, Request, effective_spec
from pachyderm_dagster.pps.results import RESULT_ROWS
from pachyderm_dagster.pps.secret_store import SecretStore
from pachyderm_dagster.pps.source_code import Source
from pachyderm_dagster.pps.source_folder import source_files, source_rows, store_folder
from pachyderm_dagster.pps.spec import PipelineSpec, Reprocess
from pachyderm_dagster.storage.content import Content, ContentWriter
from pachyderm_dagster.storage.rows import DATUM_ROWS, FILE_ROWS, content_array
from pachyderm_dagster.storage.trees import TreeRoot, Trees

SPEC_FILE = "spec"


class Pps:
    """Pipelines, jobs and datums of one workspace."""

    def __init__(
        self,
        database: Database,
        pfs: Pfs,
        *,
        secrets: SecretStore,
        scratch: Path,
        project: str = DEFAULT_PROJECT,
        check_pods: Callable[[PipelineSpec, str], None] = lambda _spec, _project: None,
    ) -> None:
        self.database = database
        self._check_pods = check_pods
        self._secrets = secrets
        self._pfs = pfs
        self._meta_trees = Trees(pfs.store, DATUM_ROWS)
        self._result_trees = Trees(pfs.store, RESULT_ROWS)
        self._listing = DatumListing(pfs.reader, self._meta_trees, self._result_trees)
        self._scratch = scratch
        self._project = project

    def create_pipeline(self, spec: PipelineSpec, *, update: bool = False, reprocess: bool = False, source: Source | None = None) -> Pipeline:
        """Makes a pipeline or its next version; errors as `pipelines.create_pipeline`.

        Args:
            source: the files of `transform.build`, from `store_source`; None for those of the version before.

        Raises:
            InvalidError: `source-missing`; `pod-patch-invalid`, `user-not-number`, `pod-refused`, where datums run in pods that cannot be as it says.
        """
        request = CreatePipeline(spec.to_json(), self._project, update, reprocess, source=source)
        with self.database.read() as txn:
            effective = effective_spec(txn, request)
        self._check_pods(effective, self._project)
        ((made,),) = self.apply_all([request])
        assert isinstance(made, Pipeline)
        return made

    def apply_all(self, requests: Sequence[Request]) -> list[list[Made]]:
        """Does several things as one change, all or nothing: one commit set, one job a pipeline.

        Errors as `transactions.apply_all`, and those of `SecretStore.check_uses`.
        """
        self._check_secrets(requests)
        return transactions.apply_all(self.database, requests, self._prepare)

    def append_request(self, transaction_id: str, request: Request) -> list[Made]:
        """Adds a request to a transaction and returns what it will make. Errors as `transactions.append`, and those of `SecretStore.check_uses`."""
        self._check_secrets([request])
        return transactions.append(self.database, transaction_id, request, self._prepare)

    def finish_transaction(self, transaction_id: str) -> UserTransaction:
        """Does all that was asked for in a transaction, at once. Errors as `transactions.finish`."""
        return transactions.finish(self.database, transaction_id, self._prepare)

    def store_source(self, folder: str, *, but: str | None = None) -> Source:
        """Stores the files of a source folder, for a pipeline that is to be made. Args, errors: as `source_folder.find_files`."""
        since = self.database.clock.now()
        return store_folder(self._pfs.store, self._pfs.trees, folder, since, but=but)

    def list_source(self, pipeline: RepoName, spec_commit: str) -> tuple[tuple[str, Content], ...]:
        """The files of the source folder of one version of a pipeline, by path below it.

        Args:
            spec_commit: id of the commit that made the version.

        Raises:
            NotFoundError: `repo-not-found`, `commit-not-found`.
        """
        commit = self._pfs.inspect_commit(f"{pipeline.project}/{pipeline.name}.{RepoType.SPEC}@{spec_commit}")
        return self.files_of_source(commit.tree)

    def files_of_source(self, tree: bytes | None) -> tuple[tuple[str, Content], ...]:
        """The files below `/source` of a tree, by path below it."""
        return source_files(self._pfs.trees, self._pfs.trees.decode(tree))

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

    def list_datum(
        self, job: Job, *, states: Collection[ShownState] = (), begun: str = "", running: Mapping[str, dt.datetime] | None = None
    ) -> Iterator[DatumInfo]:
        """The datums of a job, by id. Of one that has not ended: those that have, as far as it wrote that down, and the others as STARTING.

        Args:
            states: only these, if any.
            begun: how the id begins.
            running: when those that run now were started, by id, as far as somebody knows.

        Raises:
            StateError: `job-waiting`, of a job whose inputs are not finished; `job-unrunnable`, of one with an input that has an error.
            InvalidError: as `datum_table`.
        """
        with self.database.read() as txn:
            now = jobs.refresh(txn, job)
            if now.state.is_terminal:
                tree = commits.get_commit(txn, now.meta_commit).tree
                return self._listing.ended(now, self._meta_trees.decode(tree), states=states, begun=begun)
        planned = dataclasses.replace(self.plan_of_job(now), running=running or {})
        return self._listing.planned(planned, states=states, begun=begun)

    def sample_ran(self, job: Job) -> Iterator[DatumInfo]:
        """Datums that a job which has ended ran itself, as `DatumListing.sample_ran`: at a bounded cost, however many datums it left alone."""
        with self.database.read() as txn:
            before, after = commits.base_tree(txn, job.meta_commit), commits.get_commit(txn, job.meta_commit).tree
        return self._listing.sample_ran(job, self._meta_trees.decode(before), self._meta_trees.decode(after))

    def plan_of_job(self, job: Job) -> PlannedDatums:
        """The datums of a job that has not ended, and which of them have. Errors as `list_datum`."""
        with self.database.read() as txn:
            now = jobs.refresh(txn, job)
            waits = jobs.waits_for(txn, now)
            if waits:
                raise StateError("job-waiting", f"job '{job}' waits for {', '.join(waits)}, so its datums are not known yet; finish that first")
            inputs, ended = load_job_inputs(txn, now), jobs.find_checkpoint(txn, now)
        if inputs.failed_inputs:
            raise StateError("job-unrunnable", f"job '{job}' will not run any datum: {'; '.join(inputs.failed_inputs)}")
        planned = self._planned(inputs.pipeline.spec, inputs.commits, inputs.pipeline.salt, inputs.base, inputs.results)
        return dataclasses.replace(planned, job=now, ended=self._meta_trees.decode(ended))

    def plan_datum(self, spec: PipelineSpec, *, project: str | None = None) -> PlannedDatums:
        """The datums that a pipeline would have now, and which of them an earlier job of that pipeline, if it exists, left a result for; nothing runs.

        A branch counts as it was when it was last finished without an error; one that a trigger will make, as the branch that it will follow. One that was
        never finished, or is not there yet, has no files, and is not in the `sources` of what is returned.

        Args:
            project: of a pipeline that names none.

        Raises:
            NotFoundError: `repo-not-found`, for what it reads.
            InvalidError: as `datum_table`.
        """
        name = spec.pipeline.in_project(project or self._project)
        with self.database.read() as txn:
            heads = [(leaf, _find_readable_head(txn, _planned_branch(txn, leaf, name.project))) for leaf in leaves(spec.input)]
            read = [(leaf, commits.get_commit(txn, head)) for leaf, head in heads if head is not None]
            pipeline = pipelines.find_pipeline(txn, name)
            if pipeline is None:
                salt, base, results = "", Base(None, None), None
            else:
                salt, results = pipelines.salt_of_update(pipeline, spec), find_results_root(txn, pipeline)
                base = find_base(txn, _find_head(txn, BranchName(name, spec.output_branch)), pipeline)
        return self._planned(spec, read, salt, base, results)

    def list_planned(self, planned: PlannedDatums, *, states: Collection[ShownState] = (), begun: str = "") -> Iterator[DatumInfo]:
        """The datums of a plan, by id: SKIPPED those that would not run; the others UNKNOWN, or STARTING when it is the plan of a job."""
        return self._listing.planned(planned, states=states, begun=begun)

    def _planned(self, spec: PipelineSpec, read: Iterable[tuple[Leaf, Commit]], salt: str, base: Base, results: bytes | None) -> PlannedDatums:
        sources = make_sources(read)
        datums = find_datums(self._pfs.trees, spec, sources, salt, self._scratch)
        under, known = self._meta_trees.decode(base.meta), self._result_trees.decode(results)
        every_job = spec.reprocess_spec is Reprocess.EVERY_JOB
        chosen = find_plan(self._result_trees, datums, base_rows(self._meta_trees, under, datums.scratch), known, every_job=every_job)
        return PlannedDatums(datums, sources, chosen, under, known, self._meta_trees.empty)

    def inspect_datum(self, job: Job, datum: str, *, running: Mapping[str, dt.datetime] | None = None) -> DatumInfo:
        """One datum of a job, by its id or the start of it. Errors as `list_datum`.

        Raises:
            NotFoundError: `datum-not-found`.
            InvalidError: `datum-ambiguous`, when several ids begin like that.
        """
        found = list(itertools.islice(self.list_datum(job, begun=datum, running=running), 2))
        return one_datum(found, datum, f"job '{job}'", f"`pachctl list datum {job}` shows its datums")

    def logs(
        self, job: Job, *, datum: str = "", root: TreeRoot | None = None, after: TreeRoot | None = None, told: Mapping[str, int] | None = None
    ) -> Iterator[LogLine]:
        """What the user code of the datums that this job ran printed, as it came; of an unfinished job of those that ended, as far as it wrote that down.

        Args:
            datum: how the ids begin.
            root: what `said` gave, to be told of and nothing newer; None: what it gives now.
            after: what `said` gave before; the datums in it are left out.
            told: how many bytes of the output of some datums are left out.
        """
        root = self.said(job) if root is None else root
        if after is None:
            found = self._listing.ended(job, root, states=RAN, begun=datum)
        else:
            rows = self._meta_trees.diff(after, root).new_rows
            found = (one for one in self._listing.of_rows(job, rows, states=RAN) if one.id.startswith(datum))
        known = told or {}
        return interleave(said for one in found if (said := self._said(one, known.get(one.id, 0))) is not None)

    def said(self, job: Job) -> TreeRoot:
        """The datums of a job that have ended, as far as is known: what `logs` tells of, to go on behind it later."""
        with self.database.read() as txn:
            now = jobs.refresh(txn, job)
            tree = commits.get_commit(txn, now.meta_commit).tree if now.state.is_terminal else jobs.find_checkpoint(txn, now)
        return self._meta_trees.decode(tree)

    def _said(self, datum: DatumInfo, told: int) -> SaidDatum | None:
        details, job = datum.details, datum.job
        if details.log is None or job is None:
            return None
        log = details.log
        # An older release noted no times.
        started = datum.started or job.finished or self.database.clock.now()

        def lines() -> Iterator[LogLine]:
            text = self._pfs.reader.read(log)
            for line, time, end in cut_lines(text, started, details.log_times, told):
                yield LogLine(job.pipeline, str(job), datum.id, details, line, time, end)

        return SaidDatum(started, lines)

    def _check_secrets(self, requests: Sequence[Request]) -> None:
        created = [request for request in requests if isinstance(request, CreatePipeline)]
        if not created:
            return
        with self.database.read() as txn:
            specs = [effective_spec(txn, request) for request in created]
        for spec in specs:
            self._secrets.check_uses(spec)

    def _prepare(self, contents: Contents) -> None:
        for content in contents.missing_specs:
            since = content.since or self.database.clock.now()
            root = self._store_spec(content)
            contents.specs[content] = StoredSpec(root.encode(), root.size_bytes, since)
        for name, asked in contents.missing_commits.items():
            contents.commits[name] = self._pfs.prepare_finish(asked, trial=contents.trial)

    def _store_spec(self, content: SpecContent) -> TreeRoot:
        text = json.dumps(json.loads(content.spec), indent=2).encode() + b"\n"
        with ContentWriter(self._pfs.store) as writer:
            size, hash, refs = content_array([writer.write(text)]).flatten()
        row = pa.table([pa.array([SPEC_FILE]), pa.array([b""], pa.binary()), size, hash, refs], schema=FILE_ROWS.schema)
        if content.source is None:
            return self._pfs.trees.build(row)
        trees = self._pfs.trees
        return trees.build(pa.concat_tables([row, source_rows(trees, trees.decode(content.source))]))


def read_meta(pfs: Pfs, commit: Commit) -> MetaFiles:
    """The files of a meta commit."""
    trees = Trees(pfs.store, DATUM_ROWS)
    pipeline = dataclasses.replace(commit.repo, type=RepoType.USER)
    files = DatumFiles(pfs.database, pfs.trees, Trees(pfs.store, RESULT_ROWS), pfs.reader, pipeline)
    return MetaFiles(trees, trees.decode(commit.tree), files, str(commit))


def one_datum(found: Sequence[DatumInfo], asked: str, where: str, hint: str) -> DatumInfo:
    """The one of the datums that were found under what was asked for.

    Raises:
        NotFoundError: `datum-not-found`.
        InvalidError: `datum-ambiguous`.
    """
    if not found:
        raise NotFoundError("datum-not-found", f"datum '{asked}' is not in {where}; {hint}")
    if len(found) > 1:
        names = " and ".join(f"{one.id[:16]}…" for one in found[:2])
        raise InvalidError("datum-ambiguous", f"datums {names} of {where} are both meant by '{asked}'; give more of the id")
    return found[0]


def _find_head(txn: Transaction, branch: BranchName) -> int | None:
    try:
        head: int | None = branch_row(txn, branch).head_id
    except NotFoundError:
        return None
    return head


def _planned_branch(txn: Transaction, leaf: Leaf, project: str) -> BranchName:
    """The branch that an input reads, or will: before a pipeline is made there is no branch that its trigger moves."""
    repo = leaf.repo_name(project)
    branch = BranchName(repo, leaf.branch)
    if isinstance(leaf, CronInput) and find_repo(txn, repo) is None:
        hint = "make the pipeline, then `pachctl list datum PIPELINE@ID` lists those of a job"
        raise NotFoundError("repo-not-found", f"cron input '{leaf.name}' has no ticks before its pipeline is made, which makes repo '{repo}'; {hint}")
    if leaf.trigger is None or _find_head(txn, branch) is not None:
        return branch
    return BranchName(repo, leaf.trigger.branch)


def _find_readable_head(txn: Transaction, branch: BranchName) -> int | None:
    """The row of the newest commit of a branch that is finished without an error.

    Raises:
        NotFoundError: `repo-not-found`.
    """
    get_repo(txn, branch.repo)
    readable = find_readable(txn, _find_head(txn, branch))
    return None if readable is None else int(readable.id)
