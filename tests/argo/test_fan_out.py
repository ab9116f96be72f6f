import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.argo.fan_out import aggregated_parameters, aggregated_results, format_number, item_values, items_of
from pachyderm_dagster.argo.go_values import json_text, printed
from pachyderm_dagster.argo.templates import Numbers, Step
from pachyderm_dagster.errors import InvalidError


def sequence(**fields: str) -> list[object] | None:
    return items_of(Step(name="s", with_sequence=Numbers(**fields)))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"count": "3"}, ["0", "1", "2"]),
        ({"start": "2", "count": "2"}, ["2", "3"]),
        ({"start": "1", "end": "3"}, ["1", "2", "3"]),
        ({"start": "3", "end": "1"}, ["3", "2", "1"]),
        ({"count": "0"}, []),
        ({"start": "8", "end": "10", "format": "n%03d"}, ["n008", "n009", "n010"]),
        ({"end": "0"}, ["0"]),
    ],
)
def test_sequences_are_numbers_as_strings(fields: dict[str, str], expected: list[str]) -> None:
    assert sequence(**fields) == expected


@pytest.mark.parametrize("fields", [{"count": "x"}, {"count": "100000000"}, {"end": "2", "format": "none"}])
def test_sequences_that_are_none_are_refused(fields: dict[str, str]) -> None:
    with pytest.raises(InvalidError, match="items-invalid"):
        sequence(**fields)


@pytest.mark.parametrize("text", ["x", '{"a": 1}', "", "3"])
def test_with_param_has_to_be_a_list(text: str) -> None:
    with pytest.raises(InvalidError, match="items-invalid"):
        items_of(Step(name="s", with_param=text))


@given(st.sampled_from(["", "-", "+", " ", "0"]), st.integers(0, 8), st.sampled_from("dxXo"), st.integers(-1000, 1000))
def test_formats_are_those_of_printf(flag: str, width: int, verb: str, number: int) -> None:
    # Python's % is C's printf, which differs from Go's only where a flag has no meaning.
    format = f"%{flag}{width or ''}{verb}"
    assert format_number(format, number) == format % number


def test_items_stand_for_text_and_their_keys() -> None:
    assert item_values({"b": 1.50, "a": [1, "x"]}) == {"item": '{"a":[1,"x"],"b":1.5}', "item.a": '[1,"x"]', "item.b": "1.5"}
    assert item_values("x") == {"item": "x"}
    assert item_values(True) == {"item": "true"}


def test_results_are_put_together_as_json() -> None:
    assert aggregated_results(["1", None, '{"a": "x"}', '"b"']) == '[1,{"a":"x"},"b"]'
    with pytest.raises(InvalidError, match="result-invalid"):
        aggregated_results(["word"])


def test_parameters_are_put_together_by_name() -> None:
    found = aggregated_parameters([{"p": "1", "q": '{"a":1}'}, {"p": "x", "q": "[2]"}])
    assert found == {"": '[{"p":"1","q":"{\\"a\\":1}"},{"p":"x","q":"[2]"}]', "p": '["1","x"]', "q": '[{"a":1},[2]]'}


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
)


@given(JSON)
def test_json_text_means_the_same(value: object) -> None:
    assert json.loads(json_text(value)) == value


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, "1"),
        (1.5, "1.5"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1e-7, "1e-07"),
        (0.000001, "0.000001"),
        (-0.25, "-0.25"),
        (7.930715914640167e-06, "0.000007930715914640167"),
    ],
)
def test_numbers_are_written_as_go_writes_them(number: float, text: str) -> None:
    assert json_text(number) == text


def test_go_prints_lists_and_maps_without_commas() -> None:
    assert printed([1, "a", {"b": [2]}]) == "[1 a map[b:[2]]]"
