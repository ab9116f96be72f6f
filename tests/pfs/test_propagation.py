"""What a change of some branches starts downstream: Pachyderm's worked examples."""

from collections.abc import Callable, Iterator

import pytest

from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import InvalidError, NotFoundError, StateError
from pachyderm_dagster.metadata.database import Database, Transaction, open_engine
from pachyderm_dagster.pfs import branches, commits, references, repos
from pachyderm_dagster.pfs.model import BranchName, Commit, Origin, RepoName
from pachyderm_dagster.pfs.propagation import propagate


def branch(text: str) -> BranchName:
    return references.parse_reference(text).branch()


@pytest.fixture
def database(metadata_url: str) -> Iterator[Database]:
    opened = Database(open_engine(metadata_url), ManualClock(), [propagate])
    opened.write(lambda txn: [repos.create_repo(txn, RepoName("default", name)) for name in "ABCD"])
    yield opened
    opened.close()


@pytest.fixture
def connect(database: Database) -> Callable[..., None]:
    """`connect("C@master", "A@master", "B@master")` makes C from A and B."""

    def make(target: str, *sources: str) -> None:
        database.write(lambda txn: branches.create_branch(txn, branch(target), provenance=[branch(source) for source in sources]))

    return make


def put(database: Database, *targets: str) -> str:
    """A finished empty commit on each target, in one transaction; the id of the set."""

    def change(txn: Transaction) -> str:
        for target in targets:
            commits.close_commit(txn, commits.start_commit(txn, branch(target)), tree=None, size_bytes=0)
        return txn.id

    return database.write(change)


def members(database: Database, set_id: str) -> dict[str, Commit]:
    with database.read() as txn:
        return {commit.repo.name: commit for commit in commits.get_set(txn, set_id)}


def find(database: Database, reference: str) -> str:
    with database.read() as txn:
        return str(commits.get_commit(txn, references.find_commit(txn, references.parse_reference(reference))))


def test_downstream_commit_appears_when_the_input_commit_starts(database: Database, connect: Callable[..., None]) -> None:
    connect("B@master", "A@master")
    set_id = database.write(lambda txn: (commits.start_commit(txn, branch("A@master")), txn.id)[1])
    found = members(database, set_id)
    assert set(found) == {"A", "B"}
    assert found["B"].origin is Origin.AUTO
    assert found["B"].finished is None
    assert found["B"].direct_provenance == (f"A@{set_id}",)


def test_diamond_gets_one_commit_a_branch(database: Database, connect: Callable[..., None]) -> None:
    connect("B@master", "A@master")
    connect("C@master", "A@master")
    connect("D@master", "B@master", "C@master")
    set_id = put(database, "A@master")
    found = members(database, set_id)
    assert set(found) == set("ABCD")
    assert found["D"].direct_provenance == (f"B@{set_id}", f"C@{set_id}")


def test_join_uses_the_other_head_at_that_moment(database: Database, connect: Callable[..., None]) -> None:
    connect("C@master", "A@master", "B@master")
    first = put(database, "A@master")
    second = put(database, "B@master")
    assert members(database, second)["C"].direct_provenance == (f"A@{first}", f"B@{second}")
    assert find(database, f"A@{second}") == f"A@{first}"


def test_several_repos_in_one_transaction_make_one_downstream_commit(database: Database, connect: Callable[..., None]) -> None:
    connect("C@master", "A@master", "B@master")
    set_id = put(database, "A@master", "B@master")
    assert members(database, set_id)["C"].direct_provenance == (f"A@{set_id}", f"B@{set_id}")


def test_only_downstream_gets_a_commit(database: Database, connect: Callable[..., None]) -> None:
    connect("B@master", "A@master")
    connect("D@master", "C@master")
    assert set(members(database, put(database, "A@master"))) == {"A", "B"}


def test_moved_head_keeps_its_id_and_starts_a_new_set_downstream(database: Database, connect: Callable[..., None]) -> None:
    staged = put(database, "A@staging")
    connect("B@master", "A@master")

    def release(txn: Transaction) -> str:
        branches.create_branch(txn, branch("A@master"), head=references.find_commit(txn, references.parse_reference("A@staging")))
        return txn.id

    set_id = database.write(release)
    assert find(database, "A@master") == f"A@{staged}"
    found = members(database, set_id)
    assert set(found) == {"B"}
    assert found["B"].direct_provenance == (f"A@{staged}",)


def test_branch_made_from_a_missing_one_makes_it_with_an_empty_commit(database: Database, connect: Callable[..., None]) -> None:
    connect("B@master", "A@master")
    with database.read() as txn:
        head = commits.get_commit(txn, references.find_commit(txn, references.parse_reference("A@master")))
    assert head.finished is not None
    assert head.size_bytes == 0
    assert head.origin is Origin.AUTO


def test_cycle_is_refused(database: Database, connect: Callable[..., None]) -> None:
    connect("B@master", "A@master")
    connect("C@master", "B@master")
    with pytest.raises(InvalidError) as caught:
        connect("A@master", "C@master")
    assert caught.value.code == "provenance-cycle"
    put(database, "A@master")


def test_own_repo_in_the_provenance_is_refused(connect: Callable[..., None]) -> None:
    with pytest.raises(InvalidError) as caught:
        connect("A@master", "A@other")
    assert caught.value.code == "provenance-cycle"


def test_branch_that_depends_on_another_of_its_own_repo_is_refused(database: Database, connect: Callable[..., None]) -> None:
    connect("B@master", "A@master")
    with pytest.raises(InvalidError, match="'A@other' would depend on 'A@master'") as caught:
        connect("A@other", "B@master")
    assert caught.value.code == "provenance-cycle"
    connect("C@master", "A@master", "A@third")
    put(database, "A@master")


def test_two_branches_of_one_repo_below_one_source_are_refused_when_the_second_is_made(database: Database, connect: Callable[..., None]) -> None:
    connect("B@master", "A@master")
    with pytest.raises(InvalidError, match="a commit on 'A@master' would make one on 'B@other' and one on 'B@master'") as caught:
        connect("B@other", "A@master")
    assert caught.value.code == "set-conflict"
    connect("C@master", "A@master")
    with pytest.raises(InvalidError, match="'B@other'"):
        connect("B@other", "C@master")
    connect("B@other", "A@second")
    put(database, "A@master")


def test_user_cannot_start_a_commit_on_an_output_branch(database: Database, connect: Callable[..., None]) -> None:
    connect("B@master", "A@master")
    with pytest.raises(StateError) as caught:
        put(database, "B@master")
    assert caught.value.code == "output-branch"
    assert "'B@master' is made from 'A@master'" in caught.value.message


def test_second_commit_waits_for_the_first(database: Database) -> None:
    database.write(lambda txn: commits.start_commit(txn, branch("A@master")))
    with pytest.raises(StateError, match="A@master") as caught:
        put(database, "A@master")
    assert caught.value.code == "commit-open"


def test_finished_commit_cannot_be_closed_again(database: Database) -> None:
    put(database, "A@master")
    with pytest.raises(StateError) as caught:
        database.write(lambda txn: commits.close_commit(txn, references.find_commit(txn, references.parse_reference("A@master")), tree=b"other", size_bytes=1))
    assert caught.value.code == "commit-finished"


def test_ancestors_count_from_the_head_and_from_the_root(database: Database) -> None:
    ids = [put(database, "A@master") for _ in range(3)]
    assert [find(database, f"A@master{suffix}") for suffix in ("", "^", "^^", "~1", "^2", ".1", ".3", ".1^0")] == [
        f"A@{ids[at]}" for at in (2, 1, 0, 1, 0, 0, 2, 0)
    ]
    assert find(database, f"A@{ids[2]}^") == f"A@{ids[1]}"
    for missing in ("A@master^3", "A@master.0", "A@master.4"):
        with pytest.raises(NotFoundError) as caught:
            find(database, missing)
        assert caught.value.code == "commit-not-found"


def test_input_of_another_repo_cannot_be_deleted(database: Database, connect: Callable[..., None]) -> None:
    connect("B@master", "A@master")
    with pytest.raises(StateError, match="'B'") as caught:
        database.write(lambda txn: repos.delete_repo(txn, RepoName("default", "A")))
    assert caught.value.code == "repo-in-use"
    database.write(lambda txn: repos.delete_repo(txn, RepoName("default", "B")))
    database.write(lambda txn: repos.delete_repo(txn, RepoName("default", "A")))
    with database.read() as txn:
        assert [repo.name.name for repo in repos.list_repo(txn)] == ["C", "D"]


def test_child_of_an_errored_commit_builds_on_its_grandparent(database: Database) -> None:
    def close(tree: bytes, error: str | None) -> None:
        database.write(lambda txn: commits.close_commit(txn, commits.start_commit(txn, branch("A@master")), tree=tree, size_bytes=1, error=error))

    close(b"good", None)
    close(b"bad", "broken")
    with database.read() as txn:
        head = references.find_commit(txn, references.parse_reference("A@master"))
        assert commits.readable_tree(txn, head) == b"good"
        assert commits.base_tree(txn, head) == b"good"


def test_head_that_was_made_from_another_branch_is_refused_at_the_end(database: Database, connect: Callable[..., None]) -> None:
    put(database, "A@x", "B@y")
    connect("C@m", "A@x")
    connect("C@m", "B@y")
    old = find(database, "C@m^").removeprefix("C@")
    head = references.parse_reference(f"C@{old}")

    def move(txn: Transaction, *sources: str) -> None:
        chosen = [branch(source) for source in sources]
        branches.create_branch(txn, branch("C@m"), provenance=chosen, head=references.find_commit(txn, head))

    with pytest.raises(StateError, match=r"'C@m' is made from 'B@y', and commit 'C@\w+' was made from 'A@x'") as caught:
        database.write(lambda txn: move(txn, "B@y"))
    assert caught.value.code == "head-provenance"
    # What follows in the same transaction gives the branch a commit that is right.

    def move_and_go_on(txn: Transaction) -> str:
        move(txn, "B@y")
        commits.start_commit(txn, branch("B@y"))
        return txn.id

    set_id = database.write(move_and_go_on)
    assert members(database, set_id)["C"].direct_provenance == (f"B@{set_id}",)


def test_commit_of_the_same_transaction_that_was_made_from_nothing_is_no_head_of_a_branch_with_provenance(database: Database) -> None:
    put(database, "A@x")

    def change(txn: Transaction) -> None:
        commits.start_commit(txn, branch("C@m"))
        branches.create_branch(txn, branch("C@m"), provenance=[branch("A@x")])

    with pytest.raises(StateError, match="was made from no other branch") as caught:
        database.write(change)
    assert caught.value.code == "head-provenance"
