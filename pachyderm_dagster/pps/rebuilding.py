"""Rebuilding pipelines and jobs with the rest of a lost record (docs/design/0008)."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from pachyderm_dagster.errors import PachydermError, StateError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.metadata.emptying import set_aside
from pachyderm_dagster.pfs import rebuilding
from pachyderm_dagster.pfs.holdings import Holdings, Key, Loss, Rebuilt, read_holdings
from pachyderm_dagster.pfs.model import RepoType
from pachyderm_dagster.pfs.store_ids import check_restored, find_own_store_id
from pachyderm_dagster.pps import defaults
from pachyderm_dagster.pps.defaults import StoredDefaults
from pachyderm_dagster.pps.recovery import SECTION, StoredJob, StoredPipeline, from_builtins
from pachyderm_dagster.pps.results import RESULT_ROWS
from pachyderm_dagster.storage.objects import ObjectStore, is_damage
from pachyderm_dagster.storage.trees import TreeRoot, Trees

IsReadable = Callable[[bytes], bool]
"""Whether all nodes of a results tree, given by its encoded root, can be read."""


@dataclass(frozen=True, slots=True)
class Rebuilding:
    """What a rebuild made again, in numbers, and what it could not."""

    repos: int
    branches: int
    commits: int
    pipelines: int
    jobs: int
    new_jobs: int
    """Made for what unfinished ones would have done."""
    losses: tuple[Loss, ...]
    copy: Path | None = None
    """Where the record before is kept, if it held anything."""


def rebuild_home(database: Database, store: ObjectStore, *, force: bool, progress: Callable[[int], None]) -> Rebuilding:
    """Makes a lost record again from its store. `progress` is told of each object that was looked at.

    Args:
        force: also when the record holds something: a copy of it is kept.

    Raises:
        StateError: `record-not-empty`; `restore-unfinished`.
        StorageError: `store-of-another`, when the record holds something and is of another store.
        StorageError, UnreachableError: when the store refuses or does not answer; `home-unusable`, when the copy cannot be written.
    """
    with database.read() as txn:
        is_empty = True
        try:
            rebuilding.check_empty(txn)
        except StateError:
            if not force:
                raise
            is_empty = False
        own_id = find_own_store_id(txn.connection)
    check_restored(store, "this home")
    store_id = database.clock.new_id()
    rebuilding.take_store(store, own_id, store_id)
    holdings = read_holdings(store, progress)
    copy = None if is_empty else set_aside(database, database.clock.now())
    return dataclasses.replace(rebuild(database, holdings, store_id, partial(_is_readable, store)), copy=copy)


def rebuild(database: Database, found: Holdings, store_id: str, is_readable: IsReadable) -> Rebuilding:
    """Fills an empty record with what its store holds, in one transaction. `store_id` is the id that both have now.

    Raises:
        StateError: `record-not-empty`.
    """
    jobs = {key: from_builtins(record.job) for key, record in found.records.items() if record.job is not None and record.finished is not None}
    results = _results(found, jobs, is_readable)

    def change(txn: Transaction) -> Rebuilding:
        rebuilt = rebuilding.rebuild(txn, found, store_id)
        pipelines = _insert_pipelines(txn, found, results)
        _insert_defaults(txn, found)
        last = 0 if found.structure is None else found.structure.last_rows.get(t.pipeline.name, 0)
        count = _insert_jobs(txn, jobs, {pipeline.id for pipeline in pipelines}, last, rebuilt)
        rebuilding.go_on_counting(txn, found)
        rebuilding.begin_anew(txn, rebuilt)
        rebuilding.touch_stale(txn)
        return Rebuilding(len(rebuilt.repos), len(rebuilt.branches), len(rebuilt.commits), len(pipelines), count, 0, tuple(rebuilt.losses))

    made = database.write(change)
    with database.read() as txn:
        jobs_now = txn.connection.execute(sa.select(sa.func.count()).select_from(t.job)).scalar_one()
    return dataclasses.replace(made, new_jobs=jobs_now - made.jobs)


def _is_readable(store: ObjectStore, results: bytes) -> bool:
    """Whether every node of a results tree can be read."""
    try:
        for _ in Trees(store, RESULT_ROWS).read(TreeRoot.decode(results)):
            pass
    except PachydermError as error:
        if not is_damage(error):
            raise
        return False
    return True


def _results(found: Holdings, jobs: Mapping[Key, StoredJob], is_readable: IsReadable) -> dict[int, bytes]:
    """The newest results of each pipeline that are whole: the collector takes nodes of older ones."""
    results: dict[int, bytes] = {}
    for key in sorted(jobs, key=lambda key: found.records[key].written, reverse=True):
        root = jobs[key].results
        if root is not None and jobs[key].pipeline_id not in results and is_readable(root):
            results[jobs[key].pipeline_id] = root
    return results


def _insert_pipelines(txn: Transaction, found: Holdings, results: Mapping[int, bytes]) -> list[StoredPipeline]:
    if found.structure is None or SECTION not in found.structure.sections:
        return []
    pipelines = msgspec.msgpack.decode(found.structure.sections[SECTION], type=list[StoredPipeline])
    _insert(
        txn,
        t.pipeline,
        (
            {
                "id": pipeline.id,
                "project_id": pipeline.project_id,
                "name": pipeline.name,
                "version": pipeline.version,
                "state": pipeline.state,
                "reason": pipeline.reason,
                "created": pipeline.created,
                "results": results.get(pipeline.id),
            }
            for pipeline in pipelines
        ),
    )
    versions = ((pipeline.id, version) for pipeline in pipelines for version in pipeline.versions)
    _insert(txn, t.pipeline_version, ({"pipeline_id": pipeline, **msgspec.structs.asdict(version)} for pipeline, version in versions))
    return pipelines


def _insert_defaults(txn: Transaction, found: Holdings) -> None:
    if found.structure is not None and defaults.SECTION in found.structure.sections:
        defaults.restore_defaults(txn, msgspec.msgpack.decode(found.structure.sections[defaults.SECTION], type=list[StoredDefaults]))


def _insert_jobs(txn: Transaction, jobs: Mapping[Key, StoredJob], pipelines: set[int], last: int, rebuilt: Rebuilt) -> int:
    metas = {
        (rebuilt.repos[repo_id].project_id, rebuilt.repos[repo_id].name, set_id): row
        for (repo_id, set_id), row in rebuilt.commits.items()
        if rebuilt.repos[repo_id].type == RepoType.META
    }
    rows: list[dict[str, Any]] = []
    for key in rebuilt.order:
        job = jobs.get(key)
        if job is None:
            continue
        repo = rebuilt.repos[key[0]]
        meta = metas.get((repo.project_id, repo.name, key[1]))
        if job.pipeline_id not in pipelines and job.pipeline_id <= last:
            continue  # the pipeline was deleted, and its output kept
        if job.pipeline_id not in pipelines:
            rebuilt.losses.append(Loss("pipeline-missing", f"job '{job.pipeline}@{key[1]}' is left out: its pipeline was not saved; create it again"))
        elif meta is None:
            rebuilt.losses.append(Loss("meta-missing", f"job '{job.pipeline}@{key[1]}' is left out: the store has no record of its meta commit"))
        else:
            rows.append(_job_row(key[1], job, rebuilt.commits[key], meta))
    _insert(txn, t.job, rows)
    return len(rows)


def _job_row(set_id: str, job: StoredJob, output: int, meta: int) -> dict[str, Any]:
    return {
        "pipeline_id": job.pipeline_id,
        "version": job.version,
        "set_id": set_id,
        "output_commit_id": output,
        "meta_commit_id": meta,
        "state": job.state,
        "reason": job.reason,
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
        **job.counters,
        "restarts": job.restarts,
        "run_id": job.run_id,
        "delivered": None if job.delivered is None else msgspec.to_builtins(job.delivered),
    }


def _insert(txn: Transaction, table: sa.Table, rows: Iterable[dict[str, Any]]) -> None:
    many = list(rows)
    if many:
        txn.connection.execute(sa.insert(table), many)
