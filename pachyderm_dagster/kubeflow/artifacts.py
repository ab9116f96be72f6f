"""The transport `artifact`: for each pipeline a task that turns commits into an artifact, one that runs user code on it in its own image, one that commits."""

import json
from collections.abc import Mapping, Sequence

import msgspec

from pachyderm_dagster.exported.graph import Step
from pachyderm_dagster.kubeflow import ir
from pachyderm_dagster.kubeflow.fields import is_installed_function
from pachyderm_dagster.kubeflow.ir import Document
from pachyderm_dagster.kubeflow.options import Options
from pachyderm_dagster.kubeflow.pods import home_pod, resources, user_pod
from pachyderm_dagster.kubeflow.script import datum_script
from pachyderm_dagster.pfs.made_commits import full_name
from pachyderm_dagster.pfs.model import BranchName
from pachyderm_dagster.pps.inputs import Input
from pachyderm_dagster.pps.spec import PipelineName, PipelineSpec, Reprocess, Transform, to_document
from pachyderm_dagster.worker.function_code import ONE_DATUM

PROGRAM = "pachyderm-dagster"
HOME_RETRIES = 2
"""How often a task of ours is tried again: a database or a store that did not answer may do so then."""
_ITEM = "share-loop-item"


def tasks_of(step: Step, options: Options) -> dict[str, Document]:
    """The tasks of a pipeline, by name."""
    stage, run, commit = (f"{word}-{step.word}" for word in ("stage", "run", "commit"))
    pinned = is_pinned(step, options)
    shared = is_shared(step.spec)
    producers = [f"commit-{word}" for word in dict.fromkeys(step.made_by.values())]
    return {
        stage: ir.task(
            stage,
            f"comp-{stage}",
            title=f"get inputs of {step.spec.pipeline.name}",
            parameters={parameter: _commit_of(step, branch, parameter) for branch, parameter in step.reads.items()},
            after=producers,
            cached=pinned,
            retries=HOME_RETRIES,
        ),
        run: _shared_run(step) if shared else _run(step, artifact=ir.artifact_of(stage, "data"), after=[stage]),
        commit: ir.task(
            commit,
            f"comp-{commit}",
            title=f"commit {step.spec.pipeline.name}",
            parameters={"datums": ir.from_task(stage, "datums"), "made_from": ir.from_task(stage, "made_from")},
            artifacts={"out": ir.artifact_of(run, "out")},
            after=[stage, run],
            cached=False,
            retries=HOME_RETRIES,
        ),
    }


def components_of(step: Step, options: Options) -> dict[str, Document]:
    """The components of a pipeline's tasks."""
    stage, run, commit = (f"{word}-{step.word}" for word in ("stage", "run", "commit"))
    shared = is_shared(step.spec)
    made = {"datums": ir.parameter("NUMBER_INTEGER"), "made_from": ir.parameter()}
    inputs = {"data": ir.dataset()}
    found = {
        f"comp-{stage}": ir.component(
            f"exec-{stage}",
            ir.definitions({parameter: ir.parameter() for parameter in step.reads.values()}, {}),
            ir.definitions(made, {"data": ir.dataset()}),
        ),
        f"comp-{run}": ir.component(
            f"exec-{run}", ir.definitions({"share": ir.parameter()} if shared else {}, inputs), ir.definitions({}, {"out": ir.dataset()})
        ),
        f"comp-{commit}": ir.component(f"exec-{commit}", ir.definitions(made, {"out": ir.dataset(many=shared)}), ir.definitions({"commit": ir.parameter()}, {})),
    }
    return {**found, **({f"comp-{run}-shares": _shares(step)} if shared else {})}


def executors_of(step: Step, options: Options) -> dict[str, Document]:
    """The containers of a pipeline's tasks."""
    stage, run, commit = (f"exec-{word}-{step.word}" for word in ("stage", "run", "commit"))
    spec, target = step.spec, BranchName(step.name, options.output_branch)
    shares = spec.parallelism_spec.constant
    words = [word for branch, parameter in step.reads.items() for word in ("--commit", full_name(branch), ir.input_parameter(parameter))]
    pinned = ["--pinned"] if is_pinned(step, options) else []
    share = ir.input_parameter("share") if is_shared(spec) else "0"
    return {
        stage: ir.container(
            options.image,
            [PROGRAM, "kubeflow", "stage"],
            ["--spec", read_part(step), *words, "--shares", str(shares), *pinned, "--data", ir.output_path("data"), "--executor-input", ir.EXECUTOR_INPUT],
        ),
        run: ir.container(
            spec.transform.image,
            ["sh", "-c", datum_script(spec), spec.pipeline.name],
            [ir.input_path("data"), ir.output_path("out"), ir.output_uri("out"), ir.EXECUTOR_INPUT, share, *spec.transform.cmd],
            env=user_variables(step),
            resources=resources(spec),
        ),
        commit: ir.container(
            options.image,
            [PROGRAM, "kubeflow", "commit"],
            [
                *("--branch", full_name(target), "--made-from", ir.input_parameter("made_from"), "--datums", ir.input_parameter("datums")),
                *("--shares", str(shares), "--executor-input", ir.EXECUTOR_INPUT),
            ],
        ),
    }


def pods_of(step: Step, options: Options) -> dict[str, Document]:
    """What Kubernetes is told of a pipeline's tasks."""
    home = home_pod(options.home_secret)
    return {f"exec-stage-{step.word}": home, f"exec-run-{step.word}": user_pod(step.spec, pfs_volume=True), f"exec-commit-{step.word}": home}


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


def _commit_of(step: Step, branch: BranchName, parameter: str) -> Document:
    if branch in step.made_by:
        return ir.from_task(f"commit-{step.made_by[branch]}", "commit")
    return ir.from_pipeline(parameter)


def _run(step: Step, *, artifact: Document, after: Sequence[str] = (), parameters: Mapping[str, Document] | None = None) -> Document:
    spec = step.spec
    return ir.task(
        f"run-{step.word}",
        f"comp-run-{step.word}",
        title=spec.pipeline.name,
        parameters=parameters,
        artifacts={"data": artifact},
        after=after,
        cached=spec.reprocess_spec is not Reprocess.EVERY_JOB,
        retries=spec.datum_tries - 1,
    )


def _shared_run(step: Step) -> Document:
    """A graph in place of the task: one pod for each share."""
    stage, name = f"stage-{step.word}", f"run-{step.word}"
    shares = [str(share) for share in range(step.spec.parallelism_spec.constant)]
    return {
        "componentRef": {"name": f"comp-{name}-shares"},
        "dependentTasks": [stage],
        "inputs": ir.definitions({}, {"data": ir.artifact_of(stage, "data")}),
        "iteratorPolicy": {"parallelismLimit": len(shares)},
        "parameterIterator": {"itemInput": _ITEM, "items": {"raw": json.dumps(shares)}},
        "taskInfo": {"name": f"{step.spec.pipeline.name}, in shares"},
    }


def _shares(step: Step) -> Document:
    name = f"run-{step.word}"
    return {
        "dag": {
            "outputs": {"artifacts": {"out": {"artifactSelectors": [{"outputArtifactKey": "out", "producerSubtask": name}]}}},
            "tasks": {name: _run(step, artifact={"componentInputArtifact": "data"}, parameters={"share": ir.from_pipeline(_ITEM)})},
        },
        "inputDefinitions": ir.definitions({_ITEM: ir.parameter()}, {"data": ir.dataset()}),
        "outputDefinitions": ir.definitions({}, {"out": ir.dataset(many=True)}),
    }
