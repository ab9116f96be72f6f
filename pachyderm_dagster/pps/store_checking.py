"""Checking that everything in the store is there and undamaged that the record refers to, and what damage hurts."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database
from pachyderm_dagster.pfs.checking import Change, GiveUp, MarkLost, Problem
from pachyderm_dagster.pfs.commit_records import CommitRecord
from pachyderm_dagster.pfs.holdings import read_holdings
from pachyderm_dagster.pfs.paths import path_of
from pachyderm_dagster.pfs.root_checking import find_root
from pachyderm_dagster.pfs.roots import HeldLayer, HeldTree, list_layers, list_trees, root_of
from pachyderm_dagster.pfs.staging import load_layer
from pachyderm_dagster.pfs.unknown_commits import Key, name_of, read_known
from pachyderm_dagster.pps.reachable_details import PIPELINE_TREES
from pachyderm_dagster.storage.checking import Hurting, ObjectSizes, StoreChecker, content_columns
from pachyderm_dagster.storage.mending import Expected
from pachyderm_dagster.storage.objects import ObjectStore, Ref, is_damage
from pachyderm_dagster.storage.rows import contents_of

_NAMED = 5
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What a check of the store looked at, and what it found."""

    objects: int
    nodes: int
    bytes_read: int
    problems: tuple[Problem, ...]
    damage: Mapping[Ref, Expected | None]
    """What cannot be read, and what should be there."""


def check_store(database: Database, store: ObjectStore, *, deep: bool, progress: Callable[[int], None]) -> StoreReport:
    """Checks that everything that the record refers to is in the store; `deep` reads all of it.

    Raises:
        StorageError, UnreachableError: when the store refuses or does not answer.
    """
    with database.read() as txn:
        # Those that cannot be read are told when the record is looked at.
        trees, layers = [held for held in list_trees(txn) if find_root(held.tree) is not None], list(list_layers(txn))
    checker = StoreChecker(store, ObjectSizes(store), deep=deep, progress=progress)
    for held in trees:
        checker.check_tree(root_of(held, PIPELINE_TREES))
    problems = list(_check_layers(store, checker, layers))
    problems += _problems(store, checker, trees)
    if deep:
        records = read_holdings(store, lambda _: None).records
        problems += [*_unrecorded(database, records), *_unknown(database, records)]
    damage = {ref: checker.found.expected.get(ref) for ref in checker.found.damage}
    return StoreReport(checker.objects, checker.found.nodes, checker.found.bytes_read, tuple(problems), damage)


def _unrecorded(database: Database, held: Mapping[Key, CommitRecord]) -> Iterator[Problem]:
    """Commits of whose records the record says that they are in the store, and which are not."""
    with database.read() as txn:
        rows = txn.all(sa.select(t.commit.c.id, t.commit.c.repo_id, t.commit.c.set_id).where(t.commit.c.recorded == sa.true()))
    lost = [row.id for row in rows if (row.repo_id, row.set_id) not in held]
    if lost:
        yield Problem(
            "records-lost", f"the records of {len(lost)} commits, from which a lost record would be rebuilt, are not in the store", _forget_records(lost)
        )


def _unknown(database: Database, held: Mapping[Key, CommitRecord]) -> Iterator[Problem]:
    """Commits that the store tells of and the record does not, though nobody removed them."""
    with database.read() as txn:
        known = read_known(txn)
    unknown = [key for key, record in held.items() if not known.knows(record)]
    if unknown:
        named = ", ".join(f"'{name_of(held[key])}'" for key in unknown[:_NAMED]) + (", ..." if len(unknown) > _NAMED else "")
        yield Problem(
            "commits-unknown",
            f"the store holds {len(unknown)} commits that the record does not know: {named}; the record is older than they are, or lost them, or a write was "
            "killed or refused at its very end. `pachctl fsck --rebuild --force` brings them back, and keeps a copy of the record as it is; "
            "`pachctl fsck --deep --fix --drop-unknown` gives them up; until then the collector keeps what they hold",
            GiveUp(tuple(unknown)),
        )


def _forget_records(keys: Sequence[int]) -> Change:
    parts = [sa.update(t.commit).where(t.commit.c.id.in_(keys[at : at + _AT_ONCE])) for at in range(0, len(keys), _AT_ONCE)]
    return Change(lambda txn: [txn.run(part) for part in parts])


def _check_layers(store: ObjectStore, checker: StoreChecker, held: Iterable[HeldLayer]) -> Iterator[Problem]:
    for one in held:
        try:
            for batch in load_layer(store, one.layer).puts.to_batches():
                for contents in content_columns(batch):
                    checker.check_contents(contents_of(contents))
        except PachydermError as error:
            if not is_damage(error):
                raise
            hint = "files that were put into it are lost; delete it, or put them again"
            yield Problem("layer-damaged", f"{one.label}: {error.message}; {hint}")


def _problems(store: ObjectStore, checker: StoreChecker, trees: Iterable[HeldTree]) -> Iterator[Problem]:
    """One problem for each tree that damage hurts, and the damage itself."""
    damage = checker.found.damage
    if not damage:
        return
    for reason in dict.fromkeys(damage.values()):
        yield Problem("object-damaged", f"{reason}; restore it from a copy of the store")
    hurting = Hurting(store, damage)
    for held in trees:
        hurt = hurting.find(root_of(held, PIPELINE_TREES))
        if hurt.count:
            named = ", ".join(path_of(key) for key in hurt.keys[:_NAMED]) or "which ones is not known"
            more = "" if hurt.count <= _NAMED or not hurt.keys else ", ..."
            repair = None if held.commit is None else MarkLost(held.commit)
            yield Problem("content-lost", f"{held.label} has {hurt.count} files or datums that cannot be read: {named}{more}", repair)
