import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pps.inputs import (
    Batch,
    CronInput,
    CrossInput,
    GroupInput,
    JoinInput,
    PfsInput,
    PropagationSpec,
    TriggerSpec,
    UnionInput,
)
from pachyderm_dagster.pps.pods import Gpu, Metadata, Resources, SchedulingSpec, TaintEffect, Toleration, TolerationOperator
from pachyderm_dagster.pps.spec import Build, DatumSetSpec, PipelineName, PipelineSpec, Reprocess, Transform
from pachyderm_dagster.pps.spec_reading import parse_specs

WORDCOUNT = (
    '{"pipeline":{"name":"wordcount"},"transform":{"image":"wordcount-image","cmd":["/binary","/pfs/data","/pfs/out"]},'
    '"input":{"atom":{"repo":"data","glob":"/*"}}}'
)
DATA = {"pfs": {"repo": "data", "glob": "/*"}}


def document(**changes: Any) -> dict[str, Any]:
    """A small valid spec with other fields."""
    return {"pipeline": {"name": "p"}, "transform": {"cmd": ["true"]}, "input": DATA} | changes


def spec_of(**changes: Any) -> PipelineSpec:
    (spec,) = parse_specs(json.dumps(document(**changes)), source="p.json")
    return spec


def notes_of(**changes: Any) -> list[str]:
    notes: list[str] = []
    parse_specs(json.dumps(document(**changes)), source="p.json", notes=notes)
    return notes


def refusal(**changes: Any) -> str:
    with pytest.raises(InvalidError) as caught:
        spec_of(**changes)
    return str(caught.value)


def with_input(**fields: Any) -> dict[str, Any]:
    return {"input": {"pfs": DATA["pfs"] | fields}}


def test_wordcount_of_2019_is_read_as_it_is_written() -> None:
    assert parse_specs(WORDCOUNT, source="wordcount.json") == [
        PipelineSpec(
            pipeline=PipelineName("wordcount"),
            transform=Transform(image="wordcount-image", cmd=("/binary", "/pfs/data", "/pfs/out")),
            input=PfsInput(name="data", repo="data", glob="/*", branch="master"),
        )
    ]


def test_a_file_holds_several_specs() -> None:
    one, two = (f"pipeline: {{name: {name}}}\ntransform: {{cmd: [a]}}\ninput: {{pfs: {{repo: r, glob: /}}}}\n" for name in ("one", "two"))
    assert [spec.pipeline.name for spec in parse_specs(f"{one}---\n{two}", source="p.yaml")] == ["one", "two"]
    assert [spec.pipeline.name for spec in parse_specs(WORDCOUNT + WORDCOUNT, source="p.json")] == ["wordcount", "wordcount"]


def test_camel_case_and_snake_case_mean_the_same() -> None:
    snake = {"parallelism_spec": {"constant": 4}, "datum_tries": 2, "datum_timeout": "1h30m", "output_branch": "out", "datum_set_spec": {"size_bytes": 10}}
    camel = {"parallelismSpec": {"constant": "4"}, "datumTries": "2", "datumTimeout": 5400, "outputBranch": "out", "datumSetSpec": {"sizeBytes": "10"}}
    assert spec_of(**snake) == spec_of(**camel)


def test_everything_that_is_supported_is_read() -> None:
    spec = spec_of(
        pipeline={"name": "p", "project": {"name": "team"}},
        description="what it does",
        transform={
            "image": "python:3.12",
            "cmd": ["python", "-"],
            "stdin": ["print(1)"],
            "env": {"A": "", "B": "2"},
            "acceptReturnCode": [0, 7],
            "user": "nobody",
            "working_dir": "/tmp",
            "imagePullSecrets": ["hub"],
            "memory_volume": True,
        },
        input={
            "cross": [
                {"pfs": {"repo": "a", "name": "x", "branch": "dev", "project": "other", "glob": "/(*)", "empty_files": True}},
                {
                    "union": [
                        {"pfs": {"repo": "b", "glob": "/"}},
                        {"cron": {"name": "tick", "spec": "@every 1h", "start": "2020-01-01T01:00:00+01:00", "overwrite": True}},
                    ]
                },
            ]
        },
        job_timeout="1h",
        salt="s",
        reprocess_spec="every_job",
        autoscaling=True,
        resource_requests={"cpu": 1, "memory": "64Mi", "disk": "1G", "gpu": {"type": "amd.com/gpu", "number": 2}},
        scheduling_spec={"node_selector": {"disk": "ssd"}, "priority_class_name": "high"},
        tolerations=[{"key": "k", "operator": "EXISTS", "effect": "NO_EXECUTE", "toleration_seconds": 0}],
        metadata={"labels": {"a": "b"}, "annotations": {"c": "d"}},
        pod_patch='[{"op": "add"}]',
    )
    assert spec == PipelineSpec(
        pipeline=PipelineName("p", "team"),
        description="what it does",
        transform=Transform(
            image="python:3.12",
            cmd=("python", "-"),
            stdin=("print(1)",),
            env={"A": "", "B": "2"},
            accept_return_code=(0, 7),
            user="nobody",
            working_dir="/tmp",
            image_pull_secrets=("hub",),
            memory_volume=True,
        ),
        input=CrossInput(
            (
                PfsInput(name="x", repo="a", branch="dev", project="other", glob="/(*)", empty_files=True),
                UnionInput(
                    (
                        PfsInput(name="b", repo="b", glob="/"),
                        CronInput(name="tick", repo="p_tick", spec="@every 1h", start=dt.datetime(2020, 1, 1, tzinfo=dt.UTC), overwrite=True),
                    )
                ),
            )
        ),
        job_timeout=3600.0,
        salt="s",
        reprocess_spec=Reprocess.EVERY_JOB,
        autoscaling=True,
        resource_requests=Resources(cpu=1.0, memory="64Mi", disk="1G", gpu=Gpu(type="amd.com/gpu", number=2)),
        scheduling_spec=SchedulingSpec(node_selector={"disk": "ssd"}, priority_class_name="high"),
        tolerations=(Toleration(key="k", operator=TolerationOperator.EXISTS, effect=TaintEffect.NO_EXECUTE, toleration_seconds=0),),
        metadata=Metadata(labels={"a": "b"}, annotations={"c": "d"}),
        pod_patch='[{"op": "add"}]',
    )


def test_every_field_of_an_input_is_read() -> None:
    spec = spec_of(
        input={
            "cross": [
                {
                    "join": [
                        {"pfs": {"repo": "a", "glob": "/(*).csv", "joinOn": "$1", "outerJoin": True}},
                        {"group": [{"pfs": {"repo": "b", "glob": "/(*)/(*)", "join_on": "$2", "group_by": "$1-${2}"}}]},
                    ]
                },
                {"pfs": {"repo": "c", "glob": "/*", "batch": {"files": 500, "bytes": "1GB"}, "reference": True, "propagationSpec": {"never": True}}},
                {"pfs": {"repo": "d", "glob": "/", "name": "first", "trigger": {"all": True, "size": "1K", "commits": 2, "rate_limit_spec": "@daily"}}},
                {"pfs": {"repo": "d", "glob": "/", "name": "second", "trigger": {"branch": "staging", "cron_spec": "@hourly"}}},
                {"pfs": {"repo": "d", "glob": "/", "name": "third", "branch": "slow", "trigger": {"commits": 9}}},
            ]
        },
        reprocess_spec="code_change",
    )
    assert spec.reprocess_spec is Reprocess.CODE_CHANGE
    assert spec.input == CrossInput(
        (
            JoinInput(
                (
                    PfsInput(name="a", repo="a", glob="/(*).csv", join_on="$1", outer_join=True),
                    GroupInput((PfsInput(name="b", repo="b", glob="/(*)/(*)", join_on="$2", group_by="$1-${2}"),)),
                )
            ),
            PfsInput(name="c", repo="c", glob="/*", batch=Batch(files=500, bytes=10**9), reference=True, propagation_spec=PropagationSpec(never=True)),
            PfsInput(name="first", repo="d", glob="/", branch="p-trigger-1", trigger=TriggerSpec(all=True, size="1K", commits=2, rate_limit_spec="@daily")),
            PfsInput(name="second", repo="d", glob="/", branch="p-trigger-2", trigger=TriggerSpec(branch="staging", cron_spec="@hourly")),
            PfsInput(name="third", repo="d", glob="/", branch="slow", trigger=TriggerSpec(commits=9)),
        )
    )
    assert parse_specs(spec.to_json(), source="p.json") == [PipelineSpec.from_json(spec.to_json())] == [spec]


def test_null_and_zero_stand_for_the_default() -> None:
    unset = {
        "description": None,
        "datum_tries": 0,
        "parallelism_spec": {"constant": 0},
        "output_branch": "",
        "datum_timeout": None,
        "s3_out": False,
        "egress": None,
    }
    pfs: dict[str, Any] = {
        "pfs": {"repo": "data", "glob": "/*", "name": "", "branch": "", "lazy": False, "join_on": "", "repo_type": "user"},
        "cross": [],
        "cron": None,
    }
    assert spec_of(**unset, input=pfs) == spec_of()


def test_names_of_1_x_become_todays() -> None:
    old = {"chunk_spec": {"number": 3}, "standby": True, "no_skip": True, "resource_limits": {"gpu": 1}}
    new = {
        "datum_set_spec": {"number": 3},
        "autoscaling": True,
        "reprocess_spec": "every_job",
        "resource_limits": {"gpu": {"type": "nvidia.com/gpu", "number": 1}},
    }
    assert spec_of(**old) == spec_of(**new)
    assert spec_of(chunk_spec={"number": 3}).datum_set_spec == DatumSetSpec(number=3)
    assert spec_of(no_skip=False) == spec_of()


def test_fields_of_1_x_without_effect_are_reported() -> None:
    effectless = {"cache_size": "1G", "enableStats": True, "max_queue_size": 5, "hashtree_spec": {"constant": 2}, "scale_down_threshold": "10m", "batch": True}
    assert spec_of(**effectless) == spec_of()
    assert [note.split(";")[0] for note in notes_of(**effectless)] == [f"p.json: {name}: without effect" for name in effectless]


def test_fields_without_effect_that_are_unset_are_not_reported() -> None:
    assert notes_of(enable_stats=False, cache_size="") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": {"cross": [DATA, {"pfs": {"repo": "b", "globb": "/*"}}]}}, "input.cross[1].pfs.globb: unknown field; did you mean 'glob'?"),
        ({"datum_tires": 3}, "datum_tires: unknown field; did you mean 'datum_tries'?"),
        ({"datumTires": 3}, "datumTires: unknown field; did you mean 'datum_tries'?"),
        ({"input": {"atmo": DATA["pfs"]}}, "input.atmo: unknown field; did you mean 'atom'?"),
        ({"parallelism_spec": {"constant": 10_001}}, "parallelism_spec.constant: 10,001 workers; a job takes up to 10,000"),
        ({"transform": {"cmd": ["x"], "working_dir": "tmp"}}, "transform.working_dir: 'tmp' is not an absolute path"),
        ({"transform": {"cmd": ["x"], "working_dir": "/" + "a" * 4095}}, "cannot be a path"),
        ({"transform": {"cmd": ["x"], "user": "4294967295"}}, "transform.user: '4294967295' is no user; name one, or a number from 0 to 4294967294"),
        ({"transform": {"cmd": ["x"], "user": "-1"}}, "transform.user: '-1' is no user; name one, or a number from 0 to 4294967294"),
        ({"parallelism_spec": {"zzz": 1}}, "parallelism_spec.zzz: unknown field; the fields here are constant"),
        ({"transform": {"cmd": "python x.py"}}, "transform.cmd: expected a list, found the string 'python x.py'"),
        ({"transform": {"cmd": ["a", 1]}}, "transform.cmd[1]: expected a string, found the number 1; put it in quotes"),
        ({"transform": {"env": {"A": True}}}, "transform.env.A: expected a string, found true; put it in quotes"),
        ({"transform": ["a"]}, "transform: expected an object, found a list"),
        ({"transform": None}, "transform: required, but not given"),
        ({"autoscaling": "yes"}, "autoscaling: expected true or false, found the string 'yes'"),
        ({"datum_tries": -1}, "datum_tries: expected a whole number, 0 or more, found the number -1"),
        ({"datum_tries": 1.5}, "datum_tries: expected a whole number, 0 or more, found the number 1.5"),
        ({"datum_tries": True}, "datum_tries: expected a whole number, 0 or more, found true"),
        ({"resource_limits": {"cpu": "many"}}, "resource_limits.cpu: expected a number, 0 or more, found the string 'many'"),
        ({"resource_limits": {"memory": "1 GB"}}, "resource_limits.memory: '1 GB' is no quantity of Kubernetes; write it as '512Mi' or '2G'"),
        ({"resource_limits": {"memory": "17Ei"}}, "resource_limits.memory: '17Ei' is more than a quantity of Kubernetes can be"),
        ({"resource_requests": {"disk": "1e30"}}, "resource_requests.disk: '1e30' is more than a quantity of Kubernetes can be"),
        ({"datum_timeout": "soon"}, "datum_timeout: 'soon' is no duration"),
        ({"datum_timeout": 0}, "datum_timeout: 0 is no time to wait"),
        ({"reprocess_spec": "never"}, "reprocess_spec: expected 'until_success' or 'every_job' or 'code_change', found the string 'never'"),
        ({"pod_patch": "[{"}, "pod_patch: expected a string that holds JSON"),
        ({"pod_patch": [{"op": "remove"}]}, "pod_patch: expected a string that holds JSON, found a list; write that JSON in quotes"),
        ({"tolerations": [{"key": "a"}]}, "tolerations[0].operator: required, but not given"),
        ({"pipeline": {"name": "a b"}}, "pipeline.name: 'a b' cannot name a pipeline"),
        ({"pipeline": {"name": "_a"}}, "pipeline.name: '_a' cannot name a pipeline"),
        ({"pipeline": {"name": "x" * 52}}, "cannot name a pipeline; it takes up to 51"),
        ({"pipeline": {"name": "x" * 51, "project": {"name": "projects"}}}, "is too long: with its project 'projects'"),
        ({"pipeline": {"name": "p", "project": {"name": "a/b"}}}, "pipeline.project: 'a/b' cannot name a project"),
        ({"output_branch": "a/b"}, "output_branch: 'a/b' cannot name a branch"),
        ({"input": {}}, "input: no input in it; write one of 'pfs', 'cron', 'cross', 'union', 'join', 'group'"),
        ({"input": {"cross": [{}]}}, "input.cross[0]: no input in it"),
        ({"input": DATA | {"cron": {"name": "t", "spec": "@daily"}}}, "input: has 'pfs' and 'cron'; an input is of one kind"),
        ({"input": {"cross": [DATA, DATA]}}, "input: two inputs have the name 'data'"),
        (with_input(glob=None), "input.pfs.glob: required, but not given"),
        (with_input(glob="/["), "input.pfs.glob: glob '/['"),
        (with_input(repo=None), "input.pfs.repo: required, but not given"),
        (with_input(repo="a/b"), "input.pfs.repo: 'a/b' cannot name a repo"),
        (with_input(branch="a@b"), "input.pfs.branch: 'a@b' cannot name a branch"),
        (with_input(name="out"), "input.pfs.name: 'out' cannot name an input"),
        (with_input(name=".env"), "input.pfs.name: '.env' cannot name an input"),
        (with_input(name="a/b"), "input.pfs.name: 'a/b' cannot name an input"),
        (with_input(glob="/*", join_on="$1"), "input.pfs.join_on: '$1' asks for group 1, but the glob '/*' has no groups"),
        (with_input(glob="/(*)", group_by="$2"), "input.pfs.group_by: '$2' asks for group 2, but the glob '/(*)' has 1 group"),
        (with_input(outer_join=True), "input: 'data' has 'outer_join' and is in no 'join'"),
        ({"input": {"join": [DATA]}}, "input: 'data' needs a 'join_on' to have a key"),
        ({"input": {"group": [{"cross": [DATA]}]}}, "input: 'data' needs a 'group_by' to have a key"),
        ({"input": {"group": [{"cron": {"name": "t", "spec": "@daily"}}]}}, "input: 't' is a clock, whose ticks have no key"),
        ({"input": {"group": [{"pfs": DATA["pfs"] | {"group_by": "a", "batch": {"files": 2}}}]}}, "input: 'data' has a 'batch' below a 'join' or 'group'"),
        (
            {"input": {"union": [DATA, {"pfs": DATA["pfs"] | {"glob": "/", "reference": True}}]}},
            "input: 'data' is read twice from one branch, and only once as a 'reference'",
        ),
        (with_input(batch={}), "input.pfs.batch: says neither 'files' nor 'bytes'"),
        (with_input(batch={"bytes": "many"}), "input.pfs.batch.bytes: 'many' is no size; write 500, 1K, 100M, 2.5GB or 1GiB"),
        (with_input(batch={"file": 1}), "input.pfs.batch.file: unknown field; did you mean 'files'?"),
        (with_input(trigger={"size": "big"}), "input.pfs.trigger: 'big' is no size"),
        (with_input(trigger={"cron_spec": "daily"}), "input.pfs.trigger: cron_spec of the trigger on 'master'"),
        (with_input(trigger={"branch": "a/b"}), "input.pfs.trigger.branch: 'a/b' cannot name a branch"),
        (with_input(branch="master", trigger={"commits": 1}), "input: 'data' reads branch 'master', which cannot follow itself"),
        (with_input(propagation_spec=True), "input.pfs.propagation_spec: expected an object, found true"),
        (with_input(emptyFiles=True, empty_files=True), "input.pfs.empty_files: given already as 'emptyFiles'; remove one"),
        ({"input": {"cron": {"name": "t", "spec": "@dayly"}}}, "input.cron.spec: '@dayly' is no schedule"),
        ({"input": {"cron": {"spec": "@daily"}}}, "input.cron.name: required, but not given"),
        ({"input": {"cron": {"name": "t t", "spec": "@daily"}}}, "input.cron.name: 't t' cannot name an input"),
        ({"input": {"cron": {"name": "t.t", "spec": "@daily"}}}, "input.cron.name: 't.t' cannot name a repo"),
        (
            {"input": {"cron": {"name": "t", "spec": "@daily", "start": "2020-01-01T00:00:00"}}},
            "input.cron.start: '2020-01-01T00:00:00' is no time with a zone",
        ),
        ({"transform": {"cmd": ["true"], "accept_return_code": [1, 300]}}, "transform.accept_return_code: 300 is no exit code; those are 0 to 255"),
        ({"chunk_spec": {"number": 1}, "datum_set_spec": {"number": 1}}, "datum_set_spec: given already as 'chunk_spec'; remove one"),
    ],
)
def test_wrong_field_is_refused_with_its_path(changes: dict[str, Any], message: str) -> None:
    found = refusal(**changes)
    assert found.startswith("p.json: ")
    assert message in found
    assert found.endswith("[spec-invalid]")


UNSUPPORTED = """
    s3_out s3Out tf_job determined spec_commit update reprocess dry_run inputs incremental
    spout.overwrite spout.marker parallelism_spec.coefficient parallelism_spec.strategy
    input.pfs.commit input.pfs.s3 input.pfs.from input.pfs.repo_type input.cron.project input.cron.commit input.git
"""


@pytest.mark.parametrize("path", UNSUPPORTED.split())
def test_what_is_not_supported_is_refused_with_a_way_out(path: str) -> None:
    *parents, name = path.split(".")
    changed: dict[str, Any] = {"pipeline": {"name": "p"}, "transform": {"cmd": ["true"]}}
    place = changed
    for parent in parents:
        place = place.setdefault(parent, {})
    place[name] = {"anything": 1}
    with pytest.raises(InvalidError) as caught:
        parse_specs(json.dumps(changed), source="p.json")
    assert caught.value.code == "spec-unsupported"
    assert caught.value.message.startswith(f"p.json: {path}: not supported; ")


def test_source_folder_brings_a_command_and_has_its_changes_count() -> None:
    plain, python = spec_of(transform={"build": {}}), spec_of(transform={"build": {"path": "src", "language": "python"}})
    assert (plain.transform.build, plain.transform.cmd, plain.reprocess_spec) == (Build(), ("sh", "./run.sh"), Reprocess.CODE_CHANGE)
    assert python.transform.cmd == ("python3", "main.py")
    own = spec_of(transform={"build": {}, "cmd": ["./go"]}, reprocess_spec="until_success")
    assert (own.transform.cmd, own.reprocess_spec) == (("./go",), Reprocess.UNTIL_SUCCESS)


def test_source_folder_that_cannot_be_had_is_refused() -> None:
    assert "transform.build.language: not supported; nothing is built for 'go'" in refusal(transform={"build": {"language": "go"}})
    assert "input: an input is called 'source'" in refusal(transform={"build": {}}, input={"pfs": {"repo": "a", "name": "source", "glob": "/"}})
    assert notes_of(transform={"build": {"image": "golang"}}) == [
        "p.json: transform.build.image: without effect; nothing is built in an image; the files of the folder are what runs"
    ]


def test_error_names_the_document_when_there_are_several() -> None:
    with pytest.raises(InvalidError, match=r"^p\.json \(document 2\): transform: required, but not given"):
        parse_specs(WORDCOUNT + '{"pipeline": {"name": "p"}, "input": {"pfs": {"repo": "r", "glob": "/"}}}', source="p.json")


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(InvalidError, match=r"^p\.json: expected an object, found the string 'hello'"):
        parse_specs("hello", source="p.json")


FIELDS = [
    "pipeline",
    "name",
    "project",
    "transform",
    "cmd",
    "env",
    "input",
    "pfs",
    "cron",
    "cross",
    "union",
    "join",
    "group",
    "join_on",
    "batch",
    "trigger",
    "repo",
    "glob",
    "spec",
    "datum_timeout",
    "tolerations",
    "gpu",
]
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.floats(allow_nan=False), st.sampled_from(["", "a", "/*", "@daily", "1h"])),
    lambda values: st.one_of(st.lists(values, max_size=3), st.dictionaries(st.sampled_from(FIELDS), values, max_size=4)),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(FIELDS), PLAIN))
def test_any_document_is_a_spec_or_refused(changes: dict[str, Any]) -> None:
    try:
        assert isinstance(spec_of(**changes), PipelineSpec)
    except InvalidError as error:
        event(error.code)


@pytest.mark.parametrize("name", ["", "A=B"])
def test_name_that_no_variable_can_have_is_refused(name: str) -> None:
    document = {"pipeline": {"name": "p"}, "transform": {"cmd": ["x"], "env": {name: "1"}}, "input": {"pfs": {"repo": "r", "glob": "/"}}}
    with pytest.raises(InvalidError, match=r"transform\.env: .* cannot name an environment variable"):
        parse_specs(json.dumps(document), source="p.json")


def test_text_that_no_command_can_hold_is_refused() -> None:
    document = {"pipeline": {"name": "p"}, "transform": {"cmd": ["x\x00"]}, "input": {"pfs": {"repo": "r", "glob": "/"}}}
    with pytest.raises(InvalidError, match=r"transform\.cmd\[0\]: .* holds a character"):
        parse_specs(json.dumps(document), source="p.json")
