"""Walks over the commits of a project that finished, which are there later than their times say."""

import datetime as dt
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.metadata.database import Database, open_engine
from pachyderm_dagster.pfs import commits, repos
from pachyderm_dagster.pfs.finished import LATE, FinishedCommits, Seen
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pfs.references import parse_reference

EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)
BEGIN = Seen(EPOCH, EPOCH)
SECOND = dt.timedelta(seconds=1)


class Commits:
    """A record in which commits of any times come to be seen."""

    def __init__(self, url: str) -> None:
        self.clock = ManualClock()
        self.database = Database(open_engine(url), self.clock, [])
        self.start = self.clock.now()

    def project(self, name: str) -> FinishedCommits:
        self.database.write(lambda txn: repos.create_project(txn, name))
        self.database.write(lambda txn: repos.create_repo(txn, RepoName(name, "images")))
        return FinishedCommits(name)

    def add(self, project: str, *seconds: float) -> list[int]:
        """Commits whose times are so many seconds after the beginning, made in this order; their rows."""
        return [self._add(project, self.start + one * SECOND) for one in seconds]

    def _add(self, project: str, time: dt.datetime) -> int:
        self.clock.advance(time - self.clock.now())
        key = self.database.write(lambda txn: commits.start_commit(txn, parse_reference(f"{project}/images@master").branch()))
        self.database.write(lambda txn: commits.close_commit(txn, key, tree=None, size_bytes=0))
        return key

    def after(self, place: FinishedCommits, seen: Seen, most: int = 300) -> tuple[list[int], Seen]:
        with self.database.read() as txn:
            news, seen = place.after(txn, seen, most)
        return [one.key for one in news], seen


@pytest.fixture
def record(metadata_url: str) -> Iterator[Commits]:
    found = Commits(metadata_url)
    yield found
    found.database.close()


def test_commits_are_told_in_the_order_of_their_times_and_a_late_one_after_them(record: Commits) -> None:
    place = record.project("p")
    second, first = record.add("p", 60, 10)
    told, seen = record.after(place, BEGIN)
    assert told == [first, second]
    (late,) = record.add("p", 30)
    told, seen = record.after(place, seen)
    assert told == [late]
    assert record.after(place, seen) == ([], seen)


def test_commit_that_is_later_than_late_is_not_looked_for(record: Commits) -> None:
    place = record.project("p")
    record.add("p", 1000)
    _, seen = record.after(place, BEGIN)
    assert seen.since == record.start + 1000 * SECOND - LATE
    record.add("p", 1000 - LATE.total_seconds() - 1)
    assert record.after(place, seen)[0] == []


def test_more_late_commits_than_a_look_takes_tell_none_of_the_others_again(record: Commits) -> None:
    place = record.project("p")
    record.add("p", 60, 61)
    _, seen = record.after(place, BEGIN)
    late = record.add("p", *range(10, 20))
    told = []
    for _ in range(6):
        news, seen = record.after(place, seen, 2)
        told += news
    assert told == late


def test_so_many_commits_are_kept_in_mind_and_no_more(record: Commits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachyderm_dagster.pfs.finished.MOST_SEEN", 3)
    place = record.project("p")
    rows = record.add("p", *range(10))
    told, seen = record.after(place, BEGIN)
    assert (told, seen.names) == (rows, frozenset(rows[-3:]))
    (late,) = record.add("p", 7.5)
    record.add("p", 5.5)
    assert record.after(place, seen)[0] == [late]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commits]:
    found = Commits(f"sqlite:///{tmp_path_factory.mktemp('finished')}/record.db")
    yield found
    found.database.close()


@given(st.lists(st.lists(st.floats(0, LATE.total_seconds() - 1), max_size=4), max_size=5), st.integers(1, 3))
def test_whatever_the_order_each_commit_is_told_once(shared: Commits, looks: Sequence[Sequence[float]], most: int) -> None:
    name = f"p{shared.clock.new_id()}"
    place, made, told, seen = shared.project(name), [], [], BEGIN
    for times in [*looks, *([[]] * 20)]:
        made += shared.add(name, *times)
        news, seen = shared.after(place, seen, most)
        assert len(news) <= most
        told += news
    assert sorted(told) == sorted(made)
