"""Checking all of a home: the record with its jobs, and everything in the store that it refers to."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database, Transaction
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.checking import Problem, check_record
from pachyderm_dagster.pfs.model import Commit, Origin, RepoType
from pachyderm_dagster.pfs.paths import path_of
from pachyderm_dagster.pfs.rebuilding import read_holdings
from pachyderm_dagster.pfs.staging import layer_ref, load_layer
from pachyderm_dagster.pps import jobs
from pachyderm_dagster.pps.datums import DatumState
from pachyderm_dagster.pps.model import TERMINAL, UNFINISHED, JobState
from pachyderm_dagster.pps.reachable_details import PIPELINE_TREES
from pachyderm_dagster.pps.recovery import keep
from pachyderm_dagster.storage.checking import Hurting, ObjectSizes, StoreChecker, content_columns
from pachyderm_dagster.storage.mending import Expected
from pachyderm_dagster.storage.objects import ObjectStore, Ref, is_damage
from pachyderm_dagster.storage.reachable import Root
from pachyderm_dagster.storage.rows import DATUM_ROWS, FILE_ROWS, KEY, contents_of
from pachyderm_dagster.storage.trees import TreeRoot, Trees

_NAMED = 5
_AT_ONCE = 500
CONTENT_LOST = "content-lost"
_LOST = "fsck: part of its content is lost"


@dataclass(frozen=True, slots=True)
class StoreRoot:
    """A tree that the record refers to; `commit` is its row, None of a pipeline's results."""

    label: str
    root: Root
    commit: int | None


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What a check of the store looked at, and what it found."""

    objects: int
    nodes: int
    bytes_read: int
    problems: tuple[Problem, ...]
    damage: Mapping[Ref, Expected | None]
    """What cannot be read, and what should be there."""


def check_home(txn: Transaction) -> Iterator[Problem]:
    """The problems of the record, jobs included."""
    yield from check_record(txn)
    yield from _jobs(txn)
    yield from _unsaved(txn)


def _jobs(txn: Transaction) -> Iterator[Problem]:
    pipelines = sa.select(t.pipeline.c.id).where(t.pipeline.c.project_id == t.repo.c.project_id, t.pipeline.c.name == t.repo.c.name)
    written = sa.select(t.job.c.id).where(sa.or_(t.job.c.output_commit_id == t.commit.c.id, t.job.c.meta_commit_id == t.commit.c.id))
    orphans = txn.all(
        sa.select(t.commit.c.id)
        .join(t.repo)
        .where(t.commit.c.finished.is_(None), t.commit.c.origin == Origin.AUTO, t.repo.c.type != RepoType.SPEC, pipelines.exists(), ~written.exists())
        .order_by(t.commit.c.id)
    )
    for row in orphans:
        yield Problem("open-without-job", f"commit '{commits.get_commit(txn, row.id)}' is open and no job writes it", _close(row.id, "no job wrote it"))
    for commit_column in (t.job.c.output_commit_id, t.job.c.meta_commit_id):
        rows = txn.all(
            sa.select(t.job.c.id, t.job.c.state, t.commit.c.id.label("commit_id"), t.commit.c.finished).join(t.commit, t.commit.c.id == commit_column)
        )
        for row in rows:
            job = jobs.list_job(txn, key=row.id)[0] if (row.state in TERMINAL) is (row.finished is None) else None
            if job is None:
                continue
            if row.finished is None:
                message = f"job '{job}' is {row.state} and its commit '{commits.get_commit(txn, row.commit_id)}' is open"
                yield Problem("job-ended-commit-open", message, _close(row.commit_id, f"job {row.state}: its commit was left open"))
            else:
                message = f"job '{job}' is {row.state} and its commit '{commits.get_commit(txn, row.commit_id)}' is finished"
                yield Problem("job-open-commit-finished", message, _end(row.id))


def _close(commit_id: int, error: str) -> Callable[[Transaction], object]:
    return lambda txn: commits.close_commit(txn, commit_id, tree=None, size_bytes=0, error=error)


def _end(job_id: int) -> Callable[[Transaction], object]:
    ended = sa.update(t.job).where(t.job.c.id == job_id, t.job.c.state.in_(UNFINISHED))
    return lambda txn: txn.run(ended.values(state=JobState.KILLED, reason="fsck: its commits were finished", finished=txn.clock.now()))


def _unsaved(txn: Transaction) -> Iterator[Problem]:
    state = txn.first(sa.select(t.record_state))
    if state is None or state.saved < state.changed:
        yield Problem("structure-unsaved", "the store does not hold the structure as it is, from which a lost record would be rebuilt", _later)
    unrecorded = sa.select(sa.func.count()).select_from(t.commit).where(t.commit.c.recorded == sa.false(), t.commit.c.finished.is_not(None))
    count = txn.connection.execute(unrecorded).scalar_one()
    if count:
        yield Problem("commits-unrecorded", f"the store holds no record, or an old one, of {count} finished commits; a lost record would lack them", _later)


def _later(txn: Transaction) -> None:
    """Done by what follows every repair: `save`."""


def save(database: Database, store: ObjectStore) -> None:
    """Stores what the store lacks of the record. Errors as `recovery.keep`."""
    keep(database, store)


def list_roots(txn: Transaction) -> list[StoreRoot]:
    """Every tree that the record refers to, each once for whoever refers to it, oldest first."""
    found = []
    for commit in commits.list_commit(txn, include_system=True):
        if commit.tree is not None:
            found.append(StoreRoot(f"commit '{commit}'", commit_root(commit), commit.key))
    found.reverse()
    for row in txn.all(sa.select(t.pipeline.c.name, t.pipeline.c.results).where(t.pipeline.c.results.is_not(None)).order_by(t.pipeline.c.id)):
        root = Root(PIPELINE_TREES.results, TreeRoot.decode(bytes(row.results)), PIPELINE_TREES.result_details)
        found.append(StoreRoot(f"the results of pipeline '{row.name}'", root, None))
    return found


def commit_root(commit: Commit) -> Root:
    """The content of a finished commit as something to walk."""
    assert commit.tree is not None
    if commit.repo.type is RepoType.META:
        return Root(DATUM_ROWS, TreeRoot.decode(commit.tree), PIPELINE_TREES.details)
    return Root(FILE_ROWS, TreeRoot.decode(commit.tree))


def is_readable(store: ObjectStore, results: bytes) -> bool:
    """Whether every node of a results tree can be read."""
    try:
        for _ in Trees(store, PIPELINE_TREES.results).read(TreeRoot.decode(results)):
            pass
    except PachydermError as error:
        if not is_damage(error):
            raise
        return False
    return True


def check_store(database: Database, store: ObjectStore, *, deep: bool, progress: Callable[[int], None]) -> StoreReport:
    """Checks that everything that the record refers to is in the store; `deep` reads all of it.

    Raises:
        StorageError, UnreachableError: when the store refuses or does not answer.
    """
    with database.read() as txn:
        roots = list_roots(txn)
        staged = [bytes(row.layer) for row in txn.all(sa.select(t.commit_layer.c.layer).join(t.commit).where(t.commit.c.finished.is_(None)))]
    checker = StoreChecker(store, ObjectSizes(store), deep=deep, progress=progress)
    for root in roots:
        checker.check_tree(root.root)
    problems = list(_check_layers(store, checker, staged))
    problems += _problems(store, checker, roots)
    if deep:
        problems += _unrecorded(database, store)
    damage = {ref: checker.found.expected.get(ref) for ref in checker.found.damage}
    return StoreReport(checker.objects, checker.found.nodes, checker.found.bytes_read, tuple(problems), damage)


def _unrecorded(database: Database, store: ObjectStore) -> Iterator[Problem]:
    """Commits of whose records the record says that they are in the store, and which are not."""
    held = read_holdings(store, lambda _: None).records
    with database.read() as txn:
        rows = txn.all(sa.select(t.commit.c.id, t.commit.c.repo_id, t.commit.c.set_id).where(t.commit.c.recorded == sa.true()))
    lost = [row.id for row in rows if (row.repo_id, row.set_id) not in held]
    if lost:
        yield Problem(
            "records-lost", f"the records of {len(lost)} commits, from which a lost record would be rebuilt, are not in the store", _forget_records(lost)
        )


def _forget_records(keys: Sequence[int]) -> Callable[[Transaction], object]:
    return lambda txn: [txn.run(sa.update(t.commit).where(t.commit.c.id.in_(keys[at : at + _AT_ONCE]))) for at in range(0, len(keys), _AT_ONCE)]


def _check_layers(store: ObjectStore, checker: StoreChecker, staged: Iterable[bytes]) -> Iterator[Problem]:
    for layer in staged:
        try:
            for batch in load_layer(store, layer).puts.to_batches():
                for contents in content_columns(batch):
                    checker.check_contents(contents_of(contents))
        except PachydermError as error:
            if not is_damage(error):
                raise
            hint = "files that were put into an open commit are lost; delete that commit, or put them again and finish it"
            yield Problem("layer-damaged", f"object '{layer_ref(layer).object.hex()}': {error.message}; {hint}")


def _problems(store: ObjectStore, checker: StoreChecker, roots: Iterable[StoreRoot]) -> Iterator[Problem]:
    """One problem for each tree that damage hurts, and the damage itself."""
    damage = checker.found.damage
    if not damage:
        return
    for reason in dict.fromkeys(damage.values()):
        yield Problem("object-damaged", f"{reason}; restore it from a copy of the store")
    hurting = Hurting(store, damage)
    for root in roots:
        hurt = hurting.find(root.root)
        if hurt.count:
            named = ", ".join(path_of(key) for key in hurt.keys[:_NAMED]) or "which ones is not known"
            more = "" if hurt.count <= _NAMED or not hurt.keys else ", ..."
            repair = None if root.commit is None else _mark(root.commit)
            yield Problem(CONTENT_LOST, f"{root.label} has {hurt.count} files or datums that cannot be read: {named}{more}", repair)


def _mark(commit_id: int) -> Callable[[Transaction], object]:
    """Gives a commit an error, so that nothing builds upon it. What it still holds can be read."""
    broken = sa.update(t.commit).where(t.commit.c.id == commit_id, t.commit.c.error.is_(None)).values(error=_LOST)
    return lambda txn: txn.run(broken)


def find_zombies(trees: Trees, meta_trees: Trees, output: Commit, meta: Commit | None) -> Iterator[Problem]:
    """The output files of a job that no datum of its meta commit wrote."""
    if output.tree is None:
        return
    written: set[bytes] = set()
    if meta is not None and meta.tree is not None:
        for rows in meta_trees.read(TreeRoot.decode(meta.tree)):
            states, keys = rows.column("state").to_pylist(), rows.column(KEY).to_pylist()
            written.update(bytes.fromhex(key) for key, state in zip(keys, states, strict=True) if state == DatumState.PROCESSED)
    for rows in trees.read(TreeRoot.decode(output.tree)):
        for key, datum in zip(rows.column(KEY).to_pylist(), rows.column("datum").to_pylist(), strict=True):
            if datum not in written:
                message = f"file {path_of(key)} of commit '{output}' was written by datum {datum.hex()[:12] or '-'}…, which its job does not have"
                yield Problem("zombie-file", f"{message}; `pachctl rerun pipeline {output.repo.name} --reprocess` makes the output again")
