import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.argo.functions import functions
from pachyderm_dagster.argo.parameters import Parameter
from pachyderm_dagster.argo.tags import Scope, replace_in, replace_tags, results_asked_for, simple_tags
from pachyderm_dagster.clock import ManualClock
from pachyderm_dagster.errors import InvalidError

FUNCTIONS = functions(ManualClock())


def scope(absent: tuple[str, ...] = (), **values: str) -> Scope:
    return Scope({name.replace("__", "."): value for name, value in values.items()}, FUNCTIONS, frozenset(absent))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{a}} and {{ b }}", "1 and two"),
        ("{{missing}}", "{{missing}}"),
        ("{{a", "{{a"),
        ("a}}", "a}}"),
        ("{{inputs.parameters.{{b}}}}", "nested"),
        ("{{=asInt(a) + 1}}", "2"),
        ("{{=7 / 2}} {{=1.0}} {{=10.0 ** 21}}", "3.5 1 1e+21"),
        ("{{=map([1, 2, 3], # * #)}}", "[1,4,9]"),
        ("{{=b}}", "two"),
        ("{{=inputs.parameters.two}}", "nested"),
        ("{{=item ?? 'x'}}", "{{=item ?? 'x'}}"),
        ("{{=missing}}", "{{=missing}}"),
    ],
)
def test_tags_become_what_they_stand_for(text: str, expected: str) -> None:
    assert replace_tags(text, scope(a="1", b="two", inputs__parameters__two="nested")) == expected


def test_values_that_look_like_tags_are_not_replaced_again() -> None:
    assert replace_tags("{{a}}{{b}}", scope(a="{{b}}", b="x")) == "{{b}}x"


@pytest.mark.parametrize(("text", "code"), [("{{missing}}", "tag-unresolved"), ("{{=missing}}", "tag-unresolved"), ("{{=1 +}}", "expression-invalid")])
def test_the_last_pass_leaves_nothing(text: str, code: str) -> None:
    with pytest.raises(InvalidError) as caught:
        replace_tags(text, scope(), last=True)
    assert caught.value.code == code


def test_a_name_that_is_a_value_and_a_map_is_the_map_in_expressions() -> None:
    found = scope(workflow__parameters="[]", workflow__parameters__x="1")
    assert replace_tags("{{workflow.parameters}} {{=workflow.parameters.x}}", found) == "[] 1"


def test_outputs_that_were_never_made_are_nothing_in_expressions() -> None:
    found = scope(absent=("steps.a.outputs.parameters.p",), steps__a__status="Skipped")
    assert replace_tags("{{=steps.a.outputs.parameters.p ?? 'none'}}", found) == "none"
    assert replace_tags("{{=steps.a.other?.parameters.p ?? 'none'}}", found) == "none"


def test_expressions_in_structs_may_have_quotes() -> None:
    found = replace_in(Parameter(name="p", value='{{="say \\"" + a + "\\""}}'), Parameter, scope(a='"\\\n'))
    assert found.value == 'say ""\\\n"'


@given(st.text(), st.text(alphabet="abc .-_[]'", min_size=1))
def test_values_arrive_in_structs_as_they_are(value: str, name: str) -> None:
    found = replace_in(Parameter(name="p", value=f"<{{{{{name}}}}}>"), Parameter, Scope({name.strip(): value}, FUNCTIONS))
    assert found.value == f"<{value}>"


PARTS = st.lists(st.one_of(st.text(alphabet="ab{} \n\"'\\", max_size=3).filter(lambda text: "{{" not in text), st.sampled_from(["{{x}}", "{{ y }}", "{{z}}"])))


@given(PARTS, st.dictionaries(st.sampled_from(["x", "y"]), st.text(max_size=4)))
def test_replacing_is_what_a_scan_from_the_left_does(parts: list[str], values: dict[str, str]) -> None:
    text = "".join(parts)
    assert replace_tags(text, Scope(dict(values), FUNCTIONS)) == slowly(text, values)


def slowly(text: str, values: dict[str, str]) -> str:
    """One character after the other; an inner tag comes before the one that it stands in."""
    done, at = "", 0
    while at < len(text):
        if text.startswith("{{", at):
            depth, end = 1, at + 2
            while end < len(text) and depth:
                if text.startswith("{{", end):
                    depth, end = depth + 1, end + 2
                elif text.startswith("}}", end):
                    depth, end = depth - 1, end + 2
                else:
                    end += 1
            if depth:
                return done + text[at:]
            inside = slowly(text[at + 2 : end - 2], values)
            done += values.get(inside.strip(), "{{" + inside + "}}")
            at = end
        else:
            done, at = done + text[at], at + 1
    return done


def test_simple_tags_are_found_also_in_tags() -> None:
    assert list(simple_tags("{{a}} {{=b}} {{c.{{d}}}}")) == ["a", "d"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{{steps.a.outputs.result}} {{ tasks.b-2.outputs.result }}", {"a", "b-2"}),
        ("{{=asInt(steps.a.outputs.result)}}", {"a"}),
        ("{{=steps['a-1']?.outputs?.result ?? 'x'}}", {"a-1"}),
        ('{{=tasks["a"].outputs?.["result"]}}', {"a"}),
        ("steps.a.outputs.result == '1'", {"a"}),
        ("{{steps.a.outputs.results}} {{steps.a.outputs.parameters.result}} {{steps.a.status}} {{outputs.result}}", set()),
    ],
)
def test_steps_whose_results_are_asked_for_are_found(text: str, found: set[str]) -> None:
    assert results_asked_for(json.dumps({"value": text})) == found


def test_json_of_a_struct_stays_json() -> None:
    found = replace_in(Parameter(name="p", value="{{a}}"), Parameter, scope(a=json.dumps({"k": 'v"'})))
    assert found.value == '{"k": "v\\""}'
