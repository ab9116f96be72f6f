"""What is started and ended while pods are replaced."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.argo.rolling import Standing, Turn, next_turn, recreated


def new(name: str, *, ready: bool = True) -> Standing:
    return Standing(name, is_new=True, is_ready=ready)


def old(name: str, *, ready: bool = True) -> Standing:
    return Standing(name, is_new=False, is_ready=ready)


@pytest.mark.parametrize(
    ("pods", "wanted", "surge", "unavailable", "expected"),
    [
        ([], 2, 1, 0, Turn(2)),
        ([old("a")], 1, 1, 0, Turn(1)),
        ([old("a"), new("b", ready=False)], 1, 1, 0, Turn()),
        ([old("a"), new("b")], 1, 1, 0, Turn(0, ("a",))),
        ([new("b")], 1, 1, 0, Turn()),
        ([old("a")], 1, 0, 1, Turn(0, ("a",))),
        # An old one that died may come back; meanwhile it is what there is.
        ([old("a", ready=False), new("b", ready=False)], 1, 1, 0, Turn()),
        ([old("a", ready=False), old("b"), new("c", ready=False)], 2, 1, 0, Turn()),
        ([old("a"), old("b"), new("c")], 2, 1, 0, Turn(0, ("a",))),
        ([new("a"), new("b", ready=False), new("c")], 1, 1, 0, Turn(0, ("b", "a"))),
        ([old("a"), old("b")], 0, 1, 0, Turn(0, ("a", "b"))),
    ],
)
def test_pods_are_replaced_by_turns(pods: list[Standing], wanted: int, surge: int, unavailable: int, expected: Turn) -> None:
    assert next_turn(pods, wanted, surge=surge, unavailable=unavailable) == expected


@pytest.mark.parametrize(
    ("pods", "ending", "expected"), [([old("a"), old("b")], 0, Turn(0, ("a", "b"))), ([], 1, Turn()), ([], 0, Turn(2)), ([new("a")], 0, Turn(1))]
)
def test_the_old_ones_end_first_where_that_is_wanted(pods: list[Standing], ending: int, expected: Turn) -> None:
    assert recreated(pods, 2, ending=ending) == expected


@given(st.integers(1, 5), st.integers(0, 5), st.integers(0, 3), st.integers(0, 3), st.data())
def test_enough_serve_at_all_times_and_all_are_new_in_the_end(wanted: int, there: int, surge: int, unavailable: int, data: st.DataObject) -> None:
    if surge == 0 and unavailable == 0:
        unavailable = 1
    unavailable = min(unavailable, wanted)
    pods = [old(str(number)) for number in range(there)]
    made = there
    for _ in range(200):
        before = sum(pod.is_ready for pod in pods)
        turn = next_turn(pods, wanted, surge=surge, unavailable=unavailable)
        pods = [pod for pod in pods if pod.name not in turn.ends]
        # Whoever had enough has enough; whoever had fewer has no fewer, but for those beyond what is wanted.
        assert sum(pod.is_ready for pod in pods) >= min(before, wanted - unavailable)
        pods += [new(str(made + number), ready=False) for number in range(turn.starts)]
        made += turn.starts
        assert not turn.starts or len(pods) <= wanted + surge
        waiting = [index for index, pod in enumerate(pods) if pod.is_new and not pod.is_ready]
        if waiting:
            index = data.draw(st.sampled_from(waiting))
            pods[index] = dataclasses.replace(pods[index], is_ready=True)
        elif turn == Turn():
            break
    assert [pod.is_new and pod.is_ready for pod in pods] == [True] * wanted
