"""When triggered branches move, what follows from it, and which triggers are refused."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import InvalidError, StateError
from pachyderm_dagster.pfs import commits, references, triggers
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.pfs.conditions import Step, fires, parse_size
from pachyderm_dagster.pfs.model import Commit, Trigger
from pachyderm_dagster.workspace import Workspace, open_workspace

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def workspace(tmp_path: Path, clock: ManualClock, metadata_url: str) -> Iterator[Workspace]:
    opened = open_workspace({"PACHYDERM_HOME": str(tmp_path), "PACHYDERM_METADATA_URL": metadata_url}, clock=clock)
    for repo in ("data", "out"):
        opened.pfs.create_repo(repo)
    yield opened
    opened.close()


@pytest.fixture
def pfs(workspace: Workspace) -> Pfs:
    return workspace.pfs


def put(pfs: Pfs, target: str, path: str, size: int = 1) -> Commit:
    with pfs.modify_file(target) as files:
        files.put_bytes(path, b"x" * size)
    return files.commit


def head(pfs: Pfs, branch: str) -> str | None:
    return pfs.inspect_branch(branch).head


def refused(pfs: Pfs, branch: str, **options: object) -> str:
    with pytest.raises((InvalidError, StateError)) as error:
        pfs.create_branch(branch, **options)  # type: ignore[arg-type]
    return error.value.code


def test_branch_moves_when_so_many_commits_have_gathered(pfs: Pfs) -> None:
    pfs.create_branch("data@release", trigger=Trigger(branch="master", commits=2))
    root = head(pfs, "data@release")
    put(pfs, "data@master", "/a")
    assert head(pfs, "data@release") == root
    second = put(pfs, "data@master", "/b")
    assert head(pfs, "data@release") == second.id
    put(pfs, "data@master", "/c")
    assert head(pfs, "data@release") == second.id
    fourth = put(pfs, "data@master", "/d")
    assert head(pfs, "data@release") == fourth.id


def test_branch_moves_when_it_would_grow_so_much_and_not_when_it_shrinks(pfs: Pfs) -> None:
    pfs.create_branch("data@release", trigger=Trigger(branch="master", size="100"))
    put(pfs, "data@master", "/a", 99)
    grown = put(pfs, "data@master", "/b", 1)
    assert head(pfs, "data@release") == grown.id
    with pfs.modify_file("data@master") as files:
        files.delete_directory("/")
    put(pfs, "data@master", "/c", 99)
    assert head(pfs, "data@release") == grown.id


def test_branch_moves_no_oftener_than_the_rate_limit(pfs: Pfs, clock: ManualClock) -> None:
    pfs.create_branch("data@release", trigger=Trigger(branch="master", rate_limit_spec="@hourly"))
    root = head(pfs, "data@release")
    put(pfs, "data@master", "/a")
    assert head(pfs, "data@release") == root
    clock.advance(HOUR + dt.timedelta(seconds=1))
    second = put(pfs, "data@master", "/b")
    put(pfs, "data@master", "/c")
    assert head(pfs, "data@release") == second.id


@pytest.mark.parametrize(
    ("trigger", "step", "moves"),
    [
        (Trigger(branch="b", size="1K", commits=3), Step(1000, 1, None, START), True),
        (Trigger(branch="b", size="1K", commits=3), Step(999, 2, None, START), False),
        (Trigger(branch="b", size="1K", commits=3, all=True), Step(1000, 2, None, START), False),
        (Trigger(branch="b", size="1K", commits=3, all=True), Step(1000, 3, None, START), True),
        (Trigger(branch="b"), Step(10**9, 10, None, START), False),
        (Trigger(branch="b", all=True), Step(-5, 1, None, START), True),
        (Trigger(branch="b", cron_spec="@hourly", all=True), Step(10**9, 10, None, START), False),
        (Trigger(branch="b", rate_limit_spec="@hourly"), Step(0, 1, START, START + HOUR), False),
        (Trigger(branch="b", rate_limit_spec="@hourly"), Step(0, 1, START, START + 1.5 * HOUR), True),
        (Trigger(branch="b", rate_limit_spec="@never"), Step(0, 1, START, START + 9 * HOUR), False),
    ],
)
def test_one_condition_is_enough_unless_all_are_asked_for(trigger: Trigger, step: Step, moves: bool) -> None:
    assert fires(trigger, step) is moves


@pytest.mark.parametrize(("text", "size"), [("500", 500), ("1K", 1000), ("100M", 10**8), ("2.5GB", 2_500_000_000), ("1KiB", 1024), ("3 mi", 3 * 1024**2)])
def test_sizes_are_decimal_unless_they_say_binary(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_chain_moves_in_one_pass_with_conditions_of_its_own(pfs: Pfs) -> None:
    pfs.create_branch("data@b", trigger=Trigger(branch="a", commits=1))
    pfs.create_branch("data@c", trigger=Trigger(branch="b", commits=2))
    root = head(pfs, "data@c")
    first = put(pfs, "data@a", "/1")
    assert (head(pfs, "data@b"), head(pfs, "data@c")) == (first.id, root)
    second = put(pfs, "data@a", "/2")
    assert (head(pfs, "data@b"), head(pfs, "data@c")) == (second.id, second.id)


def test_downstream_of_a_triggered_branch_runs_only_when_it_moves(pfs: Pfs) -> None:
    pfs.create_branch("data@release", trigger=Trigger(branch="master", commits=2))
    pfs.create_branch("out@master", provenance=["data@release"])
    before = head(pfs, "out@master")
    put(pfs, "data@master", "/a")
    assert head(pfs, "out@master") == before
    second = put(pfs, "data@master", "/b")
    assert pfs.inspect_commit("out@master").direct_provenance == (f"data@{second.id}",)


def test_open_and_failed_commits_move_nothing(pfs: Pfs) -> None:
    pfs.create_branch("data@release", trigger=Trigger(branch="master", commits=1))
    root = head(pfs, "data@release")
    pfs.start_commit("data@master")
    assert head(pfs, "data@release") == root
    pfs.finish_commit("data@master", error="on purpose")
    assert head(pfs, "data@release") == root
    good = put(pfs, "data@master", "/a")
    assert head(pfs, "data@release") == good.id


def test_head_that_is_moved_by_hand_sets_nothing_off(pfs: Pfs) -> None:
    first = put(pfs, "data@master", "/a")
    pfs.create_branch("data@other", head=first.id)
    pfs.create_branch("data@release", trigger=Trigger(branch="other", commits=1))
    root = head(pfs, "data@release")
    second = put(pfs, "data@master", "/b")
    pfs.create_branch("data@other", head=second.id)
    assert head(pfs, "data@release") == root


def test_commit_that_its_branch_was_moved_away_from_sets_nothing_off(pfs: Pfs) -> None:
    put(pfs, "data@master", "/a")
    pfs.create_branch("data@release", trigger=Trigger(branch="master", commits=1))
    root = head(pfs, "data@release")
    opened = pfs.start_commit("data@master")
    pfs.create_branch("data@master", head="master^")
    pfs.finish_commit(f"data@{opened.id}")
    assert head(pfs, "data@release") == root


def test_trigger_is_kept_until_it_is_taken_away(pfs: Pfs) -> None:
    trigger = Trigger(branch="master", size="1GiB", commits=3, all=True)
    pfs.create_branch("data@release", trigger=trigger)
    assert pfs.create_branch("data@release").trigger == trigger
    assert pfs.create_branch("data@release", keep_trigger=False).trigger is None


def test_triggers_that_cannot_work_are_refused(pfs: Pfs) -> None:
    assert refused(pfs, "data@b", trigger=Trigger(branch="")) == "trigger-invalid"
    assert refused(pfs, "data@b", trigger=Trigger(branch="b", commits=1)) == "trigger-invalid"
    assert refused(pfs, "data@b", trigger=Trigger(branch="a b", commits=1)) == "name-invalid"
    assert refused(pfs, "data@b", trigger=Trigger(branch="a", size="much")) == "trigger-invalid"
    assert refused(pfs, "data@b", trigger=Trigger(branch="a", commits=-1)) == "trigger-invalid"
    assert refused(pfs, "data@b", trigger=Trigger(branch="a", cron_spec="often")) == "trigger-invalid"
    assert refused(pfs, "data@b", trigger=Trigger(branch="a", rate_limit_spec="* * *")) == "trigger-invalid"
    assert refused(pfs, "data@b", trigger=Trigger(branch="a", commits=1), provenance=["out@master"]) == "trigger-invalid"
    pfs.create_branch("data@b", trigger=Trigger(branch="a", commits=1))
    pfs.create_branch("data@c", trigger=Trigger(branch="b", commits=1))
    assert refused(pfs, "data@a", trigger=Trigger(branch="c", commits=1)) == "trigger-invalid"
    assert refused(pfs, "data@b", provenance=["out@master"]) == "trigger-invalid"


def test_cron_moves_the_branch_once_however_many_ticks_were_missed(workspace: Workspace, pfs: Pfs, clock: ManualClock) -> None:
    pfs.create_branch("data@nightly", trigger=Trigger(branch="master", cron_spec="@daily"))
    pfs.create_branch("out@master", provenance=["data@nightly"])
    newest = put(pfs, "data@master", "/a")
    pfs.start_commit("data@master")
    before = head(pfs, "out@master")
    assert workspace.database.write(lambda txn: triggers.tick(txn, project="default")) == []
    clock.advance(dt.timedelta(days=400))
    assert len(workspace.database.write(lambda txn: triggers.tick(txn, project="default"))) == 1
    assert head(pfs, "data@nightly") == newest.id
    after = head(pfs, "out@master")
    assert after != before
    assert workspace.database.write(lambda txn: triggers.tick(txn, project="default")) == []
    clock.advance(dt.timedelta(days=1))
    assert len(workspace.database.write(lambda txn: triggers.tick(txn, project="default"))) == 1
    assert head(pfs, "out@master") != after


def test_branch_with_a_schedule_is_ticked_by_hand_too(workspace: Workspace, pfs: Pfs) -> None:
    pfs.create_branch("data@nightly", trigger=Trigger(branch="master", cron_spec="@daily"))
    newest = put(pfs, "data@master", "/a")
    with workspace.database.read() as txn:
        nightly, master = (references.branch_row(txn, pfs.parse(branch).branch()).id for branch in ("data@nightly", "data@master"))
    assert workspace.database.write(lambda txn: triggers.tick_now(txn, nightly))
    assert head(pfs, "data@nightly") == newest.id
    assert not workspace.database.write(lambda txn: triggers.tick_now(txn, master))
    newer = put(pfs, "data@master", "/b")
    assert pfs.tick_branch("data@nightly").id == newer.id
    with pytest.raises(InvalidError, match="no-schedule"):
        pfs.tick_branch("data@master")
    pfs.start_commit("out@open")
    pfs.create_branch("out@nightly", trigger=Trigger(branch="open", cron_spec="@daily"))
    with pytest.raises(InvalidError, match="nothing-to-tick"):
        pfs.tick_branch("out@nightly")


def test_provenance_that_is_not_followed_is_read_all_the_same(workspace: Workspace, pfs: Pfs) -> None:
    pfs.create_branch("out@master", provenance=["data@master", "data@model"], never=["data@model"])
    before = head(pfs, "out@master")
    model = put(pfs, "data@model", "/model")
    assert head(pfs, "out@master") == before
    first = put(pfs, "data@master", "/a")
    with workspace.database.read() as txn:
        read = commits.read_through(txn, pfs.inspect_commit("out@master").key)
        assert {str(name): commits.get_commit(txn, key).id for name, key in read.items()} == {"data@master": first.id, "data@model": model.id}
    assert [str(name) for name in pfs.inspect_branch("out@master").never] == ["data@model"]


def test_moved_head_runs_what_is_downstream_and_keeps_its_own_commit(pfs: Pfs) -> None:
    first, second = put(pfs, "data@master", "/a"), put(pfs, "data@master", "/b")
    pfs.create_branch("out@master", provenance=["data@master"])
    pfs.create_branch("data@master", head=first.id)
    assert head(pfs, "data@master") == first.id
    assert pfs.inspect_commit("out@master").direct_provenance == (f"data@{first.id}",)
    pfs.create_branch("data@master", head=second.id)
    assert pfs.inspect_commit("out@master").direct_provenance == (f"data@{second.id}",)


def test_head_of_a_branch_with_provenance_moves_without_a_commit_of_its_own(pfs: Pfs) -> None:
    pfs.create_branch("out@master", provenance=["data@master"])
    first = head(pfs, "out@master")
    put(pfs, "data@master", "/a")
    pfs.create_branch("out@master", head=first, provenance=["data@master"])
    assert head(pfs, "out@master") == first


def test_branch_without_its_provenance_is_written_by_users(pfs: Pfs) -> None:
    pfs.create_branch("out@master", provenance=["data@master"])
    with pytest.raises(StateError):
        pfs.start_commit("out@master")
    pfs.create_branch("out@master")
    pfs.finish_commit("out@master")
    put(pfs, "out@master", "/a")


def test_open_commit_that_no_pipeline_writes_is_filled_by_hand(pfs: Pfs) -> None:
    pfs.create_branch("out@master", provenance=["data@master"])
    written = put(pfs, "out@master", "/a")
    assert written.finished is None
    assert pfs.finish_commit("out@master").id == written.id
    with pytest.raises(StateError) as error:
        put(pfs, "out@master", "/b")
    assert error.value.code == "output-branch"
