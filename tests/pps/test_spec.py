import datetime as dt
import itertools
import json

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pachyderm_dagster.codec import digest
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pps.inputs import Batch, CronInput, CrossInput, Input, PfsInput, PropagationSpec, TriggerSpec, UnionInput
from pachyderm_dagster.pps.pods import Gpu, Metadata, Resources, Toleration, TolerationOperator
from pachyderm_dagster.pps.spec import Build, DatumSetSpec, ParallelismSpec, PipelineName, PipelineSpec, Reprocess, Transform, kubernetes_only_fields
from pachyderm_dagster.pps.spec_reading import parse_specs
from tests.pps.builders import branch

SPEC = PipelineSpec(pipeline=PipelineName("p"), transform=Transform(cmd=("true",)), input=branch("data"))


def changed(**fields: object) -> PipelineSpec:
    return msgspec.structs.replace(SPEC, **fields)


def with_transform(**fields: object) -> PipelineSpec:
    return changed(transform=msgspec.structs.replace(SPEC.transform, **fields))


def test_canonical_json_is_that_of_pachyderm_without_what_is_unset() -> None:
    spec = changed(pipeline=PipelineName("p", "team"), input=CrossInput((branch("a"), branch("b"))), datum_timeout=90.0)
    assert json.loads(spec.to_json()) == {
        "pipeline": {"project": {"name": "team"}, "name": "p"},
        "transform": {"image": "ubuntu:20.04", "cmd": ["true"]},
        "input": {"cross": [{"pfs": {"name": name, "repo": name, "glob": "/*", "branch": "master"}} for name in "ab"]},
        "output_branch": "master",
        "parallelism_spec": {"constant": 1},
        "datum_tries": 3,
        "datum_timeout": 90.0,
        "reprocess_spec": "until_success",
    }


def test_order_of_environment_variables_does_not_change_the_json() -> None:
    assert with_transform(env={"A": "1", "B": "2"}).to_json() == with_transform(env={"B": "2", "A": "1"}).to_json()


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,9}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
VARIABLES = st.text(st.characters(codec="utf-8", exclude_characters="\x00="), min_size=1, max_size=8)
TIMES = st.integers(0, 2**32).map(lambda second: dt.datetime.fromtimestamp(second, dt.UTC))
RESOURCES = st.builds(
    Resources, cpu=st.floats(0, 64), memory=st.sampled_from(["", "64Mi"]), gpu=st.none() | st.builds(Gpu, type=NAMES, number=st.integers(0, 8))
)


@st.composite
def inputs(draw: st.DrawFn) -> Input:
    """Inputs whose names are all different."""
    # As many as are asked for: a shape that becomes too large is drawn again.
    prefix = draw(NAMES)
    names = (f"{prefix}{number}" for number in itertools.count())
    globs, specs = st.sampled_from(["/", "/*", "/{a,b}/**"]), st.sampled_from(["@daily", "*/5 * * * *"])

    def grow(members: st.SearchStrategy[Input]) -> st.SearchStrategy[Input]:
        lists = st.lists(members, min_size=1, max_size=2).map(tuple)
        return st.one_of(st.builds(CrossInput, lists), st.builds(UnionInput, lists))

    pfs = {
        "repo": NAMES,
        "glob": globs,
        "empty_files": st.booleans(),
        "project": st.none() | NAMES,
        "group_by": st.sampled_from(["", "$0"]),
        "reference": st.booleans(),
        "batch": st.none() | st.builds(Batch, files=st.integers(1, 9), bytes=st.integers(0, 9)),
        "trigger": st.none() | st.builds(TriggerSpec, branch=st.just("other"), commits=st.integers(0, 3), size=st.sampled_from(["", "1K"])),
        "propagation_spec": st.none() | st.builds(PropagationSpec, never=st.booleans()),
    }
    leaf: st.SearchStrategy[Input] = st.one_of(
        st.builds(lambda **fields: PfsInput(name=next(names), **fields), **pfs),
        st.builds(lambda **fields: CronInput(name=next(names), **fields), repo=NAMES, spec=specs, start=st.none() | TIMES, overwrite=st.booleans()),
    )
    return draw(st.recursive(leaf, grow, max_leaves=3))


SPECS = st.builds(
    PipelineSpec,
    pipeline=st.builds(PipelineName, name=NAMES, project=st.none() | NAMES),
    transform=st.builds(
        Transform,
        image=TEXTS.filter(bool),
        cmd=st.lists(TEXTS, max_size=3).map(tuple),
        env=st.dictionaries(VARIABLES, TEXTS, max_size=3),
        accept_return_code=st.lists(st.integers(0, 255), max_size=3).map(tuple),
        memory_volume=st.booleans(),
        build=st.none() | st.builds(Build, path=st.sampled_from([".", "src"]), source=st.sampled_from(["", "5f"])),
    ),
    input=inputs(),
    description=TEXTS,
    parallelism_spec=st.builds(ParallelismSpec, st.integers(1, 9)),
    datum_set_spec=st.none() | st.builds(DatumSetSpec, number=st.integers(0, 9)),
    datum_tries=st.integers(1, 9),
    datum_timeout=st.none() | st.floats(0.001, 1e6),
    salt=st.none() | TEXTS,
    reprocess_spec=st.sampled_from(Reprocess),
    autoscaling=st.booleans(),
    resource_limits=st.none() | RESOURCES,
    tolerations=st.lists(st.builds(Toleration, operator=st.sampled_from(TolerationOperator), toleration_seconds=st.none() | st.integers(0, 9)), max_size=2).map(
        tuple
    ),
    metadata=st.none() | st.builds(Metadata, labels=st.dictionaries(TEXTS, TEXTS, max_size=2)),
    pod_patch=st.sampled_from(["", "[]"]),
)


@given(SPECS)
def test_spec_survives_its_json(spec: PipelineSpec) -> None:
    assert PipelineSpec.from_json(spec.to_json()) == spec


@given(SPECS)
def test_spec_is_read_back_from_its_json_by_the_strict_reader(spec: PipelineSpec) -> None:
    assume(spec.transform.build is None or spec.transform.cmd)  # else it gets a command
    assert parse_specs(spec.to_json(), source="p.json") == [spec]


def test_of_a_source_folder_only_the_files_are_code() -> None:
    def built(**fields: str) -> PipelineSpec:
        return with_transform(build=Build(**fields))

    one, moved, changed = built(source="1"), built(source="1", path="elsewhere", language="python"), built(source="2")
    assert one.code_identity() == moved.code_identity() != changed.code_identity() != SPEC.code_identity()
    assert one.code_version() == moved.code_version() != changed.code_version()
    assert built().with_source("1") == one


@pytest.mark.parametrize("text", ["", "[]", '{"pipeline": {"name": "p"}}', SPEC.to_json().replace('"datum_tries"', '"datum_tires"')])
def test_json_of_another_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match=r"a stored pipeline spec does not read: .*\[spec-invalid\]"):
        PipelineSpec.from_json(text)


@pytest.mark.parametrize(
    "other",
    [
        with_transform(cmd=("false",)),
        with_transform(stdin=("x",)),
        with_transform(err_cmd=("true",)),
        with_transform(env={"A": "1"}),
        with_transform(image="other"),
        with_transform(user="nobody"),
        with_transform(working_dir="/tmp"),
        with_transform(accept_return_code=(1,)),
        changed(input=branch("data", glob="/")),
        changed(input=CrossInput((branch("data"),))),
        changed(output_branch="other"),
    ],
)
def test_code_version_changes_with_what_decides_a_result(other: PipelineSpec) -> None:
    assert other.code_version() != SPEC.code_version()


@pytest.mark.parametrize(
    "other",
    [
        with_transform(image_pull_secrets=("hub",)),
        with_transform(memory_volume=True),
        changed(metadata=Metadata(labels={"a": "b"})),
        changed(resource_limits=Resources(cpu=1.0)),
        changed(parallelism_spec=ParallelismSpec(8)),
        changed(description="other"),
        changed(datum_tries=1),
        changed(salt="other"),
    ],
)
def test_code_version_does_not_change_with_how_it_runs(other: PipelineSpec) -> None:
    assert other.code_version() == SPEC.code_version()


def test_code_version_does_not_change_with_the_order_of_inputs() -> None:
    one, two = (changed(input=CrossInput(members)) for members in ((branch("a"), branch("b")), (branch("b"), branch("a"))))
    assert one.code_version() == two.code_version()


def test_upstream_branches_are_those_of_all_leaves_once() -> None:
    tick = CronInput(name="tick", spec="@daily", repo="p_tick")
    spec = changed(input=CrossInput((branch("a", project="other"), UnionInput((branch("b"), branch("c", repo="b"))), tick)))
    assert spec.upstream_branches("default") == [("other", "a", "master"), ("default", "b", "master"), ("default", "p_tick", "master")]
    assert changed(pipeline=PipelineName("p", "team")).upstream_branches("default") == [("team", "data", "master")]


def test_fields_for_kubernetes_are_listed_when_set() -> None:
    assert kubernetes_only_fields(SPEC) == ()
    limits = Resources(cpu=1.0, disk="1Gi")
    spec = msgspec.structs.replace(with_transform(image_pull_secrets=("hub",)), autoscaling=True, resource_limits=limits, pod_patch="[]")
    assert kubernetes_only_fields(spec) == ("transform.image_pull_secrets", "autoscaling", "pod_patch", "resource_limits.disk")


CODED = changed(reprocess_spec=Reprocess.CODE_CHANGE)


def salt_of(spec: PipelineSpec) -> str:
    return spec.datum_salt("salt")


@pytest.mark.parametrize(
    "other",
    [
        with_transform(cmd=("false",)),
        with_transform(stdin=("x",)),
        with_transform(env={"A": "1"}),
        with_transform(image="other"),
        with_transform(user="nobody"),
        with_transform(working_dir="/tmp"),
        with_transform(accept_return_code=(1,)),
        with_transform(err_cmd=("true",)),
        changed(input=branch("data", empty_files=True)),
        changed(input=branch("data", join_on="all")),
        changed(input=branch("data", group_by="all")),
    ],
)
def test_results_hang_on_code_and_on_what_it_is_told_under_code_change(other: PipelineSpec) -> None:
    assert salt_of(other) == "salt"
    assert salt_of(msgspec.structs.replace(other, reprocess_spec=Reprocess.CODE_CHANGE)) != salt_of(CODED)


@pytest.mark.parametrize(
    "other",
    [
        with_transform(image_pull_secrets=("hub",)),
        with_transform(memory_volume=True),
        changed(output_branch="other", datum_tries=9, description="d", parallelism_spec=ParallelismSpec(4)),
        changed(input=branch("data", glob="/**", reference=True)),
        changed(input=UnionInput((branch("data"), branch("more")))),
    ],
)
def test_other_changes_keep_results_under_code_change(other: PipelineSpec) -> None:
    assert salt_of(msgspec.structs.replace(other, reprocess_spec=Reprocess.CODE_CHANGE)) == salt_of(CODED)


def test_codes_identity_stays_what_it_is() -> None:
    # Stored results hang on it: another value makes every pipeline under code_change run everything again.
    assert CODED.code_identity() == digest("code", [b'[["accept_return_code",[]],["cmd",["true"]],["image","ubuntu:20.04"]]', b"[]"]).hex()
