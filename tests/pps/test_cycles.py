"""Which pipelines depend on which."""

from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.cycles import writers_first

NAMES = [RepoName("default", name) for name in "abcdefg"]
EARLIER = st.permutations(NAMES).flatmap(
    lambda order: st.fixed_dictionaries({name: st.sets(st.sampled_from(order[:index]) if index else st.nothing()) for index, name in enumerate(order)})
)


@given(EARLIER, st.permutations(NAMES))
def test_each_pipeline_comes_after_those_that_it_reads(reads: dict[RepoName, set[RepoName]], given_order: list[RepoName]) -> None:
    found = writers_first({name: sorted(reads[name]) for name in given_order})
    assert sorted(found) == NAMES
    for index, name in enumerate(found):
        assert reads[name] <= set(found[:index])


def test_pipelines_that_read_none_of_each_other_stay_in_their_order() -> None:
    assert writers_first({name: [RepoName("default", "texts")] for name in reversed(NAMES)}) == list(reversed(NAMES))


def test_cycle_ends() -> None:
    a, b = NAMES[:2]
    assert sorted(writers_first({a: [b], b: [a]})) == [a, b]
