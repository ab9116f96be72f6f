import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.argo.expressions import evaluate
from pachyderm_dagster.argo.functions import functions
from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import InvalidError

FUNCTIONS = functions(ManualClock(dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC)))
VARIABLES = {"a": {"b": [1, 2, 3], "my-step": {"outputs": None}}, "text": "abc", "n": 5, "yes": True, "then": dt.datetime(2026, 3, 4, 5, 0, tzinfo=dt.UTC)}


def value(text: str) -> Any:
    return evaluate(text, VARIABLES, FUNCTIONS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("now().Hour() * 100 + now().Minute()", 506),
        ("(now() - then).Seconds() > 30", True),
        ("now() - then < duration('1h')", True),
        ("(now() - duration('7s')).Second()", 0),
        ("then.Unix() == nil || then < now()", True),
        ("2 ** 3 ** 2", 512.0),
        ("-2 + 1", -1),
        ("7 / 2", 3.5),
        ("-7 % 4", -3),
        ("'a' + \"b\" + `c\\n`", "abc\\n"),
        ("'it\\'s'", "it's"),
        ("a.b[0] + a['b'][-1]", 4),
        ("a.b[1:]", [2, 3]),
        ("text[:2]", "ab"),
        ("a['my-step'].outputs?.parameters", None),
        ("a.missing ?? 'x'", "x"),
        ("n > 3 ? 'big' : 'small'", "big"),
        ("n in [1, 5]", True),
        ("n not in [1, 5]", False),
        ("'b' in a", True),
        ("text matches '^a.c$' && text contains 'b'", True),
        ("text startsWith 'a' and not (text endsWith 'a')", True),
        ("1 == 1.0", True),
        ("yes == 1", False),
        ("'1' == 1", False),
        ("nil == a.missing", True),
        ("filter(a.b, {# > 1})", [2, 3]),
        ("filter(a.b, # > 1)", [2, 3]),
        ("map([{x: 1}, {x: 2}], .x)", [1, 2]),
        ("all(a.b, # > 0) && any(a.b, # > 2) && one(a.b, # == 1) && none(a.b, # > 9)", True),
        ("count(a.b, # != 2)", 2),
        ("find(a.b, # > 1)", 2),
        ("1..3", [1, 2, 3]),
        ("{a: 1, 'b c': [2]}", {"a": 1, "b c": [2]}),
        ("len(text) + len(a.b)", 6),
        ("string(1.0) + string([1, 'a'])", '1[1,"a"]'),
        ("asInt('41') + 1", 42),
        ("asFloat('1.5')", 1.5),
        ("text | upper() | repeat(2)", "ABCABC"),
        ('jsonpath(\'{"a": [{"b": 1}, {"b": 2}]}\', \'$.a[1].b\')', 2),
        ('jsonpath(\'{"a": [{"b": 1}, {"b": 2}]}\', \'$.a[*].b\')', [1, 2]),
        ("toJson({b: 1, a: 'x'})", '{"a":"x","b":1}'),
        ("sprig.trim(' a ')", "a"),
        ("sprig.default('d', '')", "d"),
        ("sprig.ternary('t', 'f', false)", "f"),
        ("sprig.add('1', 2) + sprig.mul(3, 4)", 15),
        ("sprig.div(-7, 2)", -3),
        ("sprig.mod(-7, 2)", -1),
        ("sprig.join('-', sprig.splitList(',', 'a,b'))", "a-b"),
        ("sprig.regexReplaceAll('a(b+)', 'abbc', '<${1}>')", "<bb>c"),
        ("sprig.b64dec(sprig.b64enc('é'))", "é"),
        ("sprig.date('2006-01-02 15:04', sprig.now())", "2026-03-04 05:06"),
        ("sprig.get(sprig.dict('a', 'x'), 'a')", "x"),
        ("sprig.has('a', sprig.list('a', 'b'))", True),
        ("sprig.substr(1, 3, 'abcdef') + sprig.trunc(2, 'xyz')", "bcxy"),
        ("sprig.quote('a')", '"a"'),
        ("sprig.title('hello world')", "Hello World"),
        ("sprig.sha256sum('')", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ],
)
def test_expressions_come_to_what_argo_says(text: str, expected: Any) -> None:
    found = value(text)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 +", "ends too early"),
        ("1 2", "not expected"),
        ("a.b.c", "no parts"),
        ("missing.x", "asked of nothing"),
        ("n + 'x'", "is no number"),
        ("n < 'x'", "is no number"),
        ("sprig.env('HOME')", "sprig.env is not one of the functions"),
        ("nothing(1)", "no function 'nothing'"),
        ("#", "outside of a closure"),
        ("n && true", "neither true nor false"),
        ("let x = 1; x", "not understood"),
        ("asInt('x')", "x"),
        ("1 % 0", "zero"),
        ("a[", "too early"),
        ("f(1", "missing"),
        ("jsonpath('{}', '$..a')", "not understood"),
    ],
)
def test_what_has_no_value_says_why(text: str, said: str) -> None:
    with pytest.raises(InvalidError) as caught:
        value(text)
    assert caught.value.code == "expression-invalid"
    assert said in caught.value.message


NUMBERS = st.recursive(
    st.integers(0, 99).map(lambda number: (str(number), number)),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(
            lambda three: (f"{three[0][0]} {three[1]} ({three[2][0]})", eval(f"{three[0][0]} {three[1]} ({three[2][0]})"))
        ),
        inner.map(lambda one: (f"-({one[0]})", -one[1])),
    ),
    max_leaves=8,
)


@given(NUMBERS)
def test_arithmetic_is_that_of_python(found: tuple[str, int]) -> None:
    assert value(found[0]) == found[1]
