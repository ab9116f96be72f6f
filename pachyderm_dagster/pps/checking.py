"""Checking all of a home, the record and everything in the store that it refers to, and putting right what can be."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

import sqlalchemy as sa

from pachyderm_dagster.errors import StorageError
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.metadata.database import Database
from pachyderm_dagster.pfs.checking import Change, GiveUp, MarkLost, MarkStore, MendRoot, Problem, Upkeep
from pachyderm_dagster.pfs.kept_checking import check_kept, mark_again, overtake
from pachyderm_dagster.pfs.root_mending import give_up_roots, mend_roots
from pachyderm_dagster.pfs.store_ids import check_own_store
from pachyderm_dagster.pfs.unknown_commits import give_up
from pachyderm_dagster.pps.recovery import keep
from pachyderm_dagster.pps.row_checking import check_rows
from pachyderm_dagster.pps.store_checking import check_store
from pachyderm_dagster.storage.collection import sweep_leftovers
from pachyderm_dagster.storage.folder_store import INCOMING
from pachyderm_dagster.storage.mending import finish_mending, mend
from pachyderm_dagster.storage.objects import ObjectStore

LEFTOVER_AGE = dt.timedelta(hours=1)
_PASSES = 5
_LOST = "fsck: part of its content is lost"


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem, and whether it is put right."""

    problem: Problem
    fixed: bool


def check_home(database: Database, store: ObjectStore, *, deep: bool, progress: Callable[[int], None]) -> list[Finding]:
    """The problems of a home; nothing is changed.

    Args:
        deep: reads all that the record refers to.
        progress: told how many bytes were read.

    Raises:
        StorageError, UnreachableError: when the store refuses or does not answer.
    """
    problems = [
        *check_kept(database, store),
        *_look(database),
        *check_store(database, store, deep=deep, progress=progress).problems,
        *_leftovers(database, store),
    ]
    return [Finding(problem, fixed=False) for problem in problems]


@dataclass(frozen=True, slots=True)
class Consent:
    """What gives something up, and is done only for who says so.

    Attributes:
        mark_lost: commits whose content is lost get an error.
        drop_unknown: commits that the store tells of and the record does not are given up.
    """

    mark_lost: bool = False
    drop_unknown: bool = False


def fix_home(database: Database, store: ObjectStore, consent: Consent, *, deep: bool, progress: Callable[[int], None]) -> list[Finding]:
    """Puts right what can be, the record first, and says what was found. Arguments and errors as of `check_home`.

    Raises:
        StorageError: `store-of-another`; nothing was changed.
    """
    found = list(_fix_kept(database, store, consent))
    found += _fix_rows(database, store, consent)
    finish_mending(store)
    report = check_store(database, store, deep=deep, progress=progress)
    left = report.problems
    if report.damage and mend(store, report.damage):
        left = check_store(database, store, deep=deep, progress=progress).problems
    still = _named(left)
    for problem in report.problems:
        is_gone = (problem.code, problem.message) not in still
        found.append(Finding(problem, fixed=is_gone or _repair(database, store, problem, consent)))
    for problem in _leftovers(database, store):
        found.append(Finding(problem, fixed=_repair(database, store, problem, consent)))
    return found


def _fix_kept(database: Database, store: ObjectStore, consent: Consent) -> Iterator[Finding]:
    problems = list(check_kept(database, store))
    for problem in problems:
        if problem.code == "store-of-another":
            check_own_store(database, store)
        _repair(database, store, problem, consent)
    still = _named(list(check_kept(database, store))) if problems else {}
    for name, problem in _named(problems).items():
        yield Finding(problem, fixed=name not in still)


def _fix_rows(database: Database, store: ObjectStore, consent: Consent) -> Iterator[Finding]:
    """Repairs, and looks again, since one repair may bring up another problem."""
    seen: dict[tuple[str, str], Problem] = {}
    left = _look(database)
    for _ in range(_PASSES):
        seen |= _named(left)
        if not any(problem.repair for problem in left):
            break
        _mend_roots(database, store, left, mark_lost=consent.mark_lost)
        for problem in left:
            _repair(database, store, problem, Consent())
        left = _look(database)
    still = _named(left)
    for name, problem in (seen | still).items():
        yield Finding(problem, fixed=name not in still)


def _mend_roots(database: Database, store: ObjectStore, problems: Sequence[Problem], *, mark_lost: bool) -> None:
    damaged = {problem.repair.commit for problem in problems if isinstance(problem.repair, MendRoot)}
    lost = damaged - mend_roots(database, store, damaged) if damaged else set()
    if lost and mark_lost:
        database.write(lambda txn: give_up_roots(txn, lost, error=_LOST))


def _repair(database: Database, store: ObjectStore, problem: Problem, consent: Consent) -> bool:
    """Does what puts one problem right; false where nothing does, or it was not asked for, or it is done for several at once."""
    match problem.repair:
        case None | MendRoot():
            return False
        case Change(act):
            database.write(act)
        case MarkLost(commit):
            if not consent.mark_lost:
                return False
            broken = sa.update(t.commit).where(t.commit.c.id == commit, t.commit.c.error.is_(None)).values(error=_LOST)
            database.write(lambda txn: txn.run(broken))
        case GiveUp(unknown, number):
            if not consent.drop_unknown:
                return False
            database.write(lambda txn: give_up(txn, unknown))
            if number:
                database.write(lambda txn: overtake(txn, number))
        case MarkStore():
            mark_again(database, store)
        case Upkeep.SAVE:
            return _save(database, store)
        case Upkeep.SWEEP:
            sweep_leftovers(store, database.clock.now() - LEFTOVER_AGE)
        case other:
            assert_never(other)
    return True


def _save(database: Database, store: ObjectStore) -> bool:
    try:
        keep(database, store)
    except StorageError as error:
        # Told as a problem of its own, which has to be decided first.
        if error.code != "record-behind":
            raise
        return False
    return True


def _look(database: Database) -> list[Problem]:
    with database.read() as txn:
        return list(check_rows(txn))


def _leftovers(database: Database, store: ObjectStore) -> Iterator[Problem]:
    before = database.clock.now() - LEFTOVER_AGE
    count = sum(info.modified < before for info in store.list(INCOMING))
    if count:
        yield Problem("leftovers", f"{count} files of writes that were killed lie in the store", Upkeep.SWEEP)


def _named(problems: Sequence[Problem]) -> dict[tuple[str, str], Problem]:
    return {(problem.code, problem.message): problem for problem in problems}
