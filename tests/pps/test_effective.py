"""Specifications laid upon defaults."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pps.effective import effective_spec, in_our_names
from pachyderm_dagster.pps.merge_patches import merge_patch
from pachyderm_dagster.pps.spec import PipelineSpec, Reprocess, UserSpec
from pachyderm_dagster.pps.spec_reading import parse_defaults, parse_user_specs

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=2), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3))
WITHOUT_NULL = st.recursive(st.booleans() | st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3))


def written(**fields: Any) -> UserSpec:
    document = {"pipeline": {"name": "copy"}, "input": {"pfs": {"repo": "books", "glob": "/*"}}, "transform": {"cmd": ["sh"]}}
    return UserSpec(json.dumps(document | fields))


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        # Appendix A of RFC 7396.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_does_what_its_specification_shows(target: Any, patch: Any, merged: Any) -> None:
    assert merge_patch(target, patch) == merged


@given(JSON, JSON)
def test_patch_applied_twice_is_applied_once(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once


def paths(value: Any, above: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every value that is no object, by the keys that lead to it."""
    if not isinstance(value, dict):
        return {above: value}
    return {path: leaf for key, inner in value.items() for path, leaf in paths(inner, (*above, key)).items()}


@given(WITHOUT_NULL, JSON)
def test_merged_values_are_those_of_the_patch_and_what_it_says_nothing_of(target: Any, patch: Any) -> None:
    merged, said = paths(merge_patch(target, patch)), paths(patch)
    assert {path: value for path, value in said.items() if value is not None and path} == {
        path: value for path, value in merged.items() if path in said and path
    }
    for path, value in merged.items():
        assert path in said or paths(target)[path] == value


def test_without_defaults_nothing_is_added() -> None:
    spec = effective_spec(written(), [])
    assert (spec.datum_tries, spec.transform.env) == (3, {})


def test_project_comes_before_cluster_and_the_user_before_both() -> None:
    cluster = {"datum_tries": 5, "transform": {"env": {"A": "cluster", "B": "cluster", "C": "cluster"}}, "job_timeout": "1h"}
    project = {"transform": {"env": {"B": "project", "C": "project"}}, "job_timeout": None}
    spec = effective_spec(written(transform={"cmd": ["sh"], "env": {"C": "user"}}), [cluster, project])
    assert spec.transform.env == {"A": "cluster", "B": "project", "C": "user"}
    assert (spec.datum_tries, spec.job_timeout) == (5, None)


def test_null_takes_a_default_away() -> None:
    assert effective_spec(written(datum_tries=None), [{"datum_tries": 5}]).datum_tries == 3


@pytest.mark.parametrize("path", [("transform", "env"), ("metadata", "labels"), ("metadata", "annotations"), ("scheduling_spec", "node_selector")])
def test_null_takes_an_entry_of_a_map_away(path: tuple[str, str]) -> None:
    def body(**entries: str | None) -> dict[str, Any]:
        return {path[0]: {path[1]: entries}}

    def read(spec: PipelineSpec) -> object:
        return getattr(getattr(spec, path[0]), path[1])

    (project_level, user) = (body(b=None, c="project", n=None), body(c=None, d="user", n=None))
    parse_defaults(json.dumps({"createPipelineRequest": project_level}), source="f", notes=[])
    document = {"pipeline": {"name": "copy"}, "input": {"pfs": {"repo": "books", "glob": "/*"}}, "transform": {"cmd": ["sh"]}}
    (asked,) = parse_user_specs(json.dumps(document | {path[0]: {"cmd": ["sh"]} | user[path[0]] if path[0] == "transform" else user[path[0]]}), source="f")
    assert read(effective_spec(asked, [body(a="cluster", b="cluster", c="cluster"), project_level])) == {"a": "cluster", "d": "user"}
    assert read(effective_spec(asked, [])) == {"d": "user"}


def test_zero_is_said_and_not_left_out() -> None:
    assert effective_spec(written(autoscaling=False), [{"autoscaling": True}]).autoscaling is False


@pytest.mark.parametrize(("name", "value"), [("reprocessSpec", "every_job"), ("reprocess_spec", "every_job"), ("no_skip", True), ("noSkip", True)])
@pytest.mark.parametrize("default", [{"reprocess_spec": "until_success"}, {"reprocessSpec": "until_success"}, {"noSkip": False}])
def test_one_field_is_one_key_however_it_is_spelled(name: str, value: object, default: dict[str, object]) -> None:
    assert effective_spec(written(**{name: value}), [default]).reprocess_spec is Reprocess.EVERY_JOB


def test_names_below_a_field_are_ours_and_keys_of_free_maps_are_not() -> None:
    found = in_our_names(PipelineSpec, {"transform": {"workingDir": "/", "env": {"workingDir": "x"}}, "resourceLimits": {"gpu": 1}})
    assert found == {"transform": {"working_dir": "/", "env": {"workingDir": "x"}}, "resource_limits": {"gpu": {"number": 1}}}


def test_transform_may_come_from_the_defaults() -> None:
    text = json.dumps({"pipeline": {"name": "copy"}, "input": {"pfs": {"repo": "books", "glob": "/*"}}})
    (user,) = parse_user_specs(text, source="f")
    assert effective_spec(user, [{"transform": {"cmd": ["true"]}}]).transform.cmd == ("true",)
    with pytest.raises(InvalidError, match="pipeline 'copy': transform: required"):
        effective_spec(user, [])


@pytest.mark.parametrize("document", [{"pipeline": {"name": "copy"}, "nonsense": 1}, {"input": {}}, {"pipeline": {"name": "copy"}, "transform": {"cmd": "sh"}}])
def test_incomplete_specification_is_read_as_strictly(document: dict[str, object]) -> None:
    with pytest.raises(InvalidError, match="^f: "):
        parse_user_specs(json.dumps(document), source="f")


def test_text_of_one_specification_is_kept_and_of_several_is_not() -> None:
    text = "# why\npipeline: {name: copy}\ninput: {pfs: {repo: books, glob: /}}\ntransform: {cmd: [sh]}\n"
    (one,) = parse_user_specs(text, source="f")
    assert (one.text, json.loads(one.document)["pipeline"], one.pipeline.name) == (text, {"name": "copy"}, "copy")
    assert [found.text for found in parse_user_specs(f"{text}---\n{text}", source="f")] == ["", ""]


@pytest.mark.parametrize("key", ["create_pipeline_request", "createPipelineRequest"])
def test_defaults_are_read_in_both_spellings(key: str) -> None:
    assert parse_defaults(json.dumps({key: {"datumTries": 4}}), source="f", notes=[]) == {"datumTries": 4}
    assert parse_defaults(json.dumps({key: None}), source="f", notes=[]) == {}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"createPipelineRequest": {"datum_trys": 4}}, "create.*datum_trys: unknown field; did you mean 'datum_tries'"),
        ({"createPipelineRequest": {"input": {"pfs": {"repo": "a", "glob": "/"}}}}, "input: each pipeline has its own"),
        ({"createPipelineRequest": {"pipeline": {"name": "a"}}}, "pipeline: each pipeline has its own"),
        ({"createPipelineRequest": {"datum_tries": "many"}}, "datum_tries: expected a whole number"),
        ({"datum_tries": 4}, "datum_tries: unknown field"),
        ({"createPipelineRequest": {}, "create_pipeline_request": {}}, "two spellings"),
        ([{}, {}], "2 documents"),
    ],
)
def test_defaults_that_cannot_be_are_refused(document: object, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        parse_defaults(json.dumps(document), source="f", notes=[])
