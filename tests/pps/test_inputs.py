import pytest

from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.inputs import CronInput, CrossInput, Input, UnionInput, find_repeated_name, leaf_key, leaves, sorted_input
from tests.pps.builders import branch


def test_leaves_stand_in_the_order_of_the_spec() -> None:
    cron = CronInput(name="tick", spec="@daily", repo="p_tick")
    assert leaves(CrossInput((branch("b"), UnionInput((cron, branch("a")))))) == (branch("b"), cron, branch("a"))


def test_members_are_sorted_by_the_first_name_below_them() -> None:
    unsorted = CrossInput((branch("m"), CrossInput((branch("z"), branch("a")))))
    assert sorted_input(unsorted) == CrossInput((CrossInput((branch("a"), branch("z"))), branch("m")))


@pytest.mark.parametrize(
    ("input", "name"),
    [
        (CrossInput((branch("a"), branch("b"))), None),
        (CrossInput((branch("a"), branch("a", repo="other"))), "a"),
        (UnionInput((branch("a"), branch("a", repo="other"))), None),
        (CrossInput((UnionInput((branch("a"), branch("b"))), branch("b"))), "b"),
        (UnionInput((CrossInput((branch("a"), branch("b"))), CrossInput((branch("a"), branch("b"))))), None),
        (UnionInput((branch("c"), CrossInput((branch("a"), branch("a"))))), "a"),
    ],
)
def test_only_members_of_one_union_share_a_name(input: Input, name: str | None) -> None:
    assert find_repeated_name(input) == name


def test_leaves_that_read_something_else_have_other_keys() -> None:
    others = [branch("a"), branch("a", repo="r"), branch("a", glob="/"), branch("a", project="p"), branch("b", repo="a")]
    assert len({leaf_key(leaf) for leaf in others}) == len(others)


def test_repo_is_in_the_pipelines_project_unless_another_is_named() -> None:
    assert branch("a").repo_name("mine") == RepoName("mine", "a")
    assert branch("a", project="theirs").repo_name("mine") == RepoName("theirs", "a")
    assert CronInput(name="t", spec="@daily", repo="p_t").repo_name("mine") == RepoName("mine", "p_t")
