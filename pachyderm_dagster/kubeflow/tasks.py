"""What the tasks of a pipeline are whatever way files take to user code: what they are called with, which of them may come from the cache."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from pachyderm_dagster.exported.graph import Step
from pachyderm_dagster.kubeflow import ir
from pachyderm_dagster.kubeflow.functions import is_installed_function
from pachyderm_dagster.kubeflow.ir import Document
from pachyderm_dagster.kubeflow.options import Options
from pachyderm_dagster.pfs.made_commits import full_name
from pachyderm_dagster.pfs.model import BranchName
from pachyderm_dagster.pps.inputs import Input
from pachyderm_dagster.pps.spec import PipelineName, PipelineSpec, Transform
from pachyderm_dagster.worker.function_code import ONE_DATUM

PROGRAM = "pachyderm-dagster"
HOME_RETRIES = 2
"""How often a task of ours is tried again: a database or a store that did not answer may do so then."""
ITEM = "share-loop-item"


@dataclass(frozen=True, slots=True)
class Parts:
    """What goes into the document of an export, by name.

    Args:
        pods: by executor what Kubernetes is told of it.
        parameters: of the whole pipeline, beside the commits.
    """

    tasks: Document = field(default_factory=dict)
    components: Document = field(default_factory=dict)
    executors: Document = field(default_factory=dict)
    pods: Document = field(default_factory=dict)
    parameters: Document = field(default_factory=dict)


def join_parts(parts: Iterable[Parts]) -> Parts:
    """All of them as one."""
    found = Parts()
    for one in parts:
        found.tasks.update(one.tasks)
        found.components.update(one.components)
        found.executors.update(one.executors)
        found.pods.update(one.pods)
        found.parameters.update(one.parameters)
    return found


def is_pinned(step: Step, options: Options) -> bool:
    """Whether what a pipeline reads is named by commits alone, so that its task may find its result in the cache."""
    return all(branch in options.commits for branch in step.read_outside)


def is_shared(spec: PipelineSpec) -> bool:
    """Whether several pods share the datums."""
    return spec.parallelism_spec.constant > 1


def user_variables(step: Step) -> Mapping[str, str]:
    """The variables of user code that are the same for all its datums."""
    once = {ONE_DATUM: "true"} if is_installed_function(step.spec) else {}
    own = {**once, "PACH_IN_WORKER": "true", "PPS_PIPELINE_NAME": step.name.name, "PPS_PROJECT_NAME": step.name.project}
    return {**step.spec.transform.env, **own}


def read_part(step: Step) -> str:
    """The part of a specification that decides datums, as JSON: nothing else of it is to make results in the cache useless."""
    input: Input | None = step.spec.input
    return PipelineSpec(pipeline=PipelineName(step.name.name, step.name.project), transform=Transform(image=""), input=input).to_json()


def stage_words(step: Step, options: Options) -> list[str]:
    """What `kubeflow stage` is told in every transport: what is read, from which commits, for how many pods."""
    words = [word for branch, parameter in step.reads.items() for word in ("--commit", full_name(branch), ir.input_parameter(parameter))]
    pinned = ["--pinned"] if is_pinned(step, options) else []
    return ["--spec", read_part(step), *words, "--shares", str(step.spec.parallelism_spec.constant), *pinned]


def commit_words(step: Step, options: Options) -> list[str]:
    """What `kubeflow commit` is told in every transport."""
    target = BranchName(step.name, options.output_branch)
    return [
        *("--branch", full_name(target), "--made-from", ir.input_parameter("made_from"), "--datums", ir.input_parameter("datums")),
        *("--shares", str(step.spec.parallelism_spec.constant), *_egress_words(step.spec), "--executor-input", ir.EXECUTOR_INPUT),
    ]


def _egress_words(spec: PipelineSpec) -> list[str]:
    """Where output goes beside its repo. The password of a database is a variable of the pod."""
    egress = spec.egress
    if egress is None:
        return []
    if egress.sql_database is not None:
        egress = msgspec.structs.replace(egress, sql_database=msgspec.structs.replace(egress.sql_database, secret=None))
    return ["--egress", msgspec.json.encode(egress).decode()]


def stage_task(step: Step, options: Options, *, cached: bool, parameters: Mapping[str, Document] | None = None, after: Sequence[str] = ()) -> Document:
    """The task that reads commits; `parameters` and `after` are beside those of the commits."""
    name = f"stage-{step.word}"
    commits = {parameter: _commit_of(step, branch, parameter) for branch, parameter in step.reads.items()}
    producers = [f"commit-{word}" for word in step.made_by.values()]
    return ir.task(
        name,
        f"comp-{name}",
        title=f"get inputs of {_title(step, options)}",
        parameters={**commits, **(parameters or {})},
        after=[*after, *producers],
        cached=cached,
        retries=HOME_RETRIES,
    )


def run_task(
    step: Step,
    options: Options,
    *,
    cached: bool,
    parameters: Mapping[str, Document] | None = None,
    artifacts: Mapping[str, Document] | None = None,
    after: Sequence[str] = (),
) -> Document:
    """The task that runs user code, on all datums or on a share of them."""
    name = f"run-{step.word}"
    retries = step.spec.datum_tries - 1
    title = _title(step, options)
    return ir.task(name, f"comp-{name}", title=title, parameters=parameters, artifacts=artifacts, after=after, cached=cached, retries=retries)


def shares_task(step: Step, options: Options, *, inputs: Document, after: Sequence[str]) -> Document:
    """A graph in place of the task that runs user code: one pod for each share."""
    shares = [str(share) for share in range(step.spec.parallelism_spec.constant)]
    return {
        "componentRef": {"name": f"comp-run-{step.word}-shares"},
        "dependentTasks": sorted(after),
        "inputs": inputs,
        "iteratorPolicy": {"parallelismLimit": len(shares)},
        "parameterIterator": {"itemInput": ITEM, "items": {"raw": json.dumps(shares)}},
        "taskInfo": {"name": f"{_title(step, options)}, in shares"},
    }


def commit_task(step: Step, options: Options, *, artifacts: Mapping[str, Document] | None = None, after: Sequence[str] = ()) -> Document:
    """The task that commits; `after` is beside the two before it."""
    stage, run, name = (f"{word}-{step.word}" for word in ("stage", "run", "commit"))
    return ir.task(
        name,
        f"comp-{name}",
        title=f"commit {_title(step, options)}",
        parameters={"datums": ir.from_task(stage, "datums"), "made_from": ir.from_task(stage, "made_from")},
        artifacts=artifacts,
        after=[*after, stage, run],
        cached=False,
        retries=HOME_RETRIES,
    )


def _title(step: Step, options: Options) -> str:
    """What people see of the task that runs user code."""
    return options.titles.get(step.name, step.name.name)


def _commit_of(step: Step, branch: BranchName, parameter: str) -> Document:
    if branch in step.made_by:
        return ir.from_task(f"commit-{step.made_by[branch]}", "commit")
    return ir.from_pipeline(parameter)
