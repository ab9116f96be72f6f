from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.argo.depends import RESULTS, Outcome, from_dependencies, holds, names_in, parse_depends
from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.errors import InvalidError

ENDED = [phase for phase in Phase if phase.is_fulfilled]


def held(text: str, **outcomes: Outcome) -> bool:
    return holds(parse_depends(text), outcomes)


@pytest.mark.parametrize(
    ("phase", "expected"),
    [(Phase.SUCCEEDED, True), (Phase.SKIPPED, True), (Phase.OMITTED, False), (Phase.FAILED, False), (Phase.ERROR, False)],
)
def test_bare_name_is_satisfied_by_success_and_skipping(phase: Phase, expected: bool) -> None:
    assert held("a", a=Outcome(phase)) is expected


def test_bare_name_is_satisfied_by_what_continue_on_tolerates() -> None:
    assert held("a", a=Outcome(Phase.FAILED, tolerated=(Phase.FAILED,)))
    assert not held("a", a=Outcome(Phase.ERROR, tolerated=(Phase.FAILED,)))


def test_results_of_fan_outs_look_at_their_nodes() -> None:
    mixed = Outcome(Phase.FAILED, items=(Phase.SUCCEEDED, Phase.FAILED))
    failed = Outcome(Phase.FAILED, items=(Phase.ERROR, Phase.FAILED))
    assert held("a.AnySucceeded", a=mixed) and not held("a.AllFailed", a=mixed)
    assert held("a.AllFailed", a=failed) and not held("a.AnySucceeded", a=failed)


@pytest.mark.parametrize("text", ["", "a &&", "a b", "(a", "a.Good", "&& a", "a + b", "a || ()", "!"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_depends(text)
    assert caught.value.code == "depends-invalid"


def test_names_may_have_hyphens_and_stand_once() -> None:
    assert names_in(parse_depends("a-b && (c_d.Failed || !a-b.Succeeded)")) == ["a-b", "c_d"]
    assert names_in(from_dependencies(["x", "y"])) == ["x", "y"]


OUTCOMES = st.fixed_dictionaries({name: st.builds(Outcome, st.sampled_from(ENDED), st.lists(st.sampled_from(ENDED), max_size=2).map(tuple)) for name in "abc"})
LEAVES = st.tuples(st.sampled_from("abc"), st.sampled_from(["", *RESULTS])).map(lambda leaf: f"{leaf[0]}.{leaf[1]}" if leaf[1] else leaf[0])
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" && ", " || ", "&&"]), inner).map("".join),
        inner.map(lambda one: f"!({one})"),
        inner.map(lambda one: f"( {one} )"),
    ),
)


def slowly(text: str, outcomes: dict[str, Outcome]) -> bool:
    """The same by Python: each name becomes what the reference says of it."""
    words: dict[str, Callable[[Outcome], bool]] = {
        "Succeeded": lambda one: one.phase == "Succeeded",
        "Failed": lambda one: one.phase == "Failed",
        "Errored": lambda one: one.phase == "Error",
        "Skipped": lambda one: one.phase == "Skipped",
        "Omitted": lambda one: one.phase == "Omitted",
        "Daemoned": lambda one: False,
        "AnySucceeded": lambda one: any(phase == "Succeeded" for phase in one.items),
        "AllFailed": lambda one: len(one.items) > 0 and not any(phase not in ("Failed", "Error") for phase in one.items),
    }
    for name, outcome in outcomes.items():
        for word, says in words.items():
            text = text.replace(f"{name}.{word}", f" {says(outcome)} ")
    for name, outcome in outcomes.items():
        text = "".join(f" {outcome.phase in ('Succeeded', 'Skipped')} " if part == name else part for part in split(text))
    return bool(eval(text.replace("&&", " and ").replace("||", " or ").replace("!", " not ").strip()))


def split(text: str) -> list[str]:
    parts = [""]
    for character in text:
        if character.isalnum() and parts[-1].isalnum():
            parts[-1] += character
        else:
            parts.append(character)
    return parts


@given(EXPRESSIONS, OUTCOMES)
def test_expressions_mean_what_python_says_of_the_same(text: str, outcomes: dict[str, Outcome]) -> None:
    assert holds(parse_depends(text), outcomes) is slowly(text, outcomes)
