"""`when`, as the real controller answered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.argo.conditions import evaluate
from pachyderm_dagster.errors import InvalidError


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("1.0 == 1", True),
        ("'1' == 1", False),
        ("true == 'true'", False),
        ("True == true", False),
        ("'10' > '9'", False),
        ("10 > 9", True),
        ("abc < abd", True),
        ("x in (x, y)", True),
        ("z in (x, y)", False),
        ("null == null", True),
        ("heads == heads && 1 < 2", True),
        ("!(a == a) || b != b", False),
        ("abc =~ '^a'", True),
        ("abc !~ '^a'", False),
        ("2 ** 3 == 8", True),
        ("7 % 4 == 3", True),
        ("1 + 2 * 3 == 7", True),
        ("a == b ? true : 1 == 1", True),
        ('"{\\"a\\": 1}" != x', True),
        ("[a-b] == 'a-b'", True),
        ("true", True),
    ],
)
def test_conditions_that_have_an_answer(condition: str, expected: bool) -> None:
    assert evaluate(condition) is expected


@pytest.mark.parametrize(
    "condition",
    [
        "a-b == a-b",
        "a.b == 'a.b'",
        "a/b == x",
        '{"a": 1} == x',
        " == x",
        "x == ",
        "'it's' == x",
        "1 < x",
        "1 && true",
        "x",
        "1",
        "(a",
        "a == b c",
        "",
        "x in x",
    ],
)
def test_conditions_that_are_errors(condition: str) -> None:
    with pytest.raises(InvalidError) as caught:
        evaluate(condition)
    assert caught.value.code == "condition-invalid"


TREES = st.recursive(
    st.sampled_from([("a == a", True), ("a == b", False), ("1 < 2", True), ("2 <= 1", False), ("true", True), ("false", False)]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda two: (f"({two[0][0]}) && ({two[1][0]})", two[0][1] and two[1][1])),
        st.tuples(inner, inner).map(lambda two: (f"({two[0][0]}) || ({two[1][0]})", two[0][1] or two[1][1])),
        inner.map(lambda one: (f"!({one[0]})", not one[1])),
    ),
)


@given(TREES)
def test_combined_conditions_are_what_their_parts_say(tree: tuple[str, bool]) -> None:
    condition, expected = tree
    assert evaluate(condition) is expected


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["&&", "||"])), min_size=1, max_size=8))
def test_and_binds_more_than_or(parts: list[tuple[bool, str]]) -> None:
    text = "".join(f"{str(value).lower()} {operator} " for value, operator in parts) + "true"
    python = "".join(f"{value} {'and' if operator == '&&' else 'or'} " for value, operator in parts) + "True"
    assert evaluate(text) is eval(python)
