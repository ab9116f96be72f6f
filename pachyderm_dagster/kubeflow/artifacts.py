"""The transport `artifact`: for each pipeline a task that turns commits into an artifact, one that runs user code on it in its own image, one that commits."""

from collections.abc import Mapping, Sequence

from pachyderm_dagster.exported.graph import Step
from pachyderm_dagster.kubeflow import ir
from pachyderm_dagster.kubeflow.importing import ARTIFACT, Imported, imports_of
from pachyderm_dagster.kubeflow.ir import Document
from pachyderm_dagster.kubeflow.options import Options
from pachyderm_dagster.kubeflow.pods import committing_pod, home_pod, resources, user_pod
from pachyderm_dagster.kubeflow.script import datum_script
from pachyderm_dagster.kubeflow.tasks import (
    ITEM,
    PROGRAM,
    Parts,
    commit_task,
    commit_words,
    is_pinned,
    is_shared,
    run_task,
    shares_task,
    stage_task,
    stage_words,
    user_variables,
)
from pachyderm_dagster.pfs.made_commits import full_name
from pachyderm_dagster.pps.spec import Reprocess


def parts_of(step: Step, options: Options) -> Parts:
    """A pipeline."""
    home = home_pod(options.home_secret)
    pods = {
        f"exec-stage-{step.word}": home,
        f"exec-run-{step.word}": user_pod(step.spec, brings_shell=False),
        f"exec-commit-{step.word}": committing_pod(step.spec, options.home_secret),
    }
    imports = imports_of(step, options)
    return Parts(_tasks(step, options, imports), _components(step, options, imports), _executors(step, options, imports), pods)


def _tasks(step: Step, options: Options, imports: Sequence[Imported]) -> dict[str, Document]:
    stage, run, commit = (f"{word}-{step.word}" for word in ("stage", "run", "commit"))
    files = {"data": ir.artifact_of(stage, "data"), **{one.files: ir.artifact_of(one.task, ARTIFACT) for one in imports}}
    after = [stage, *(one.task for one in imports)]
    shares = is_shared(step.spec)
    return {
        stage: stage_task(step, options, cached=is_pinned(step, options), parameters={one.uri: ir.from_pipeline(one.uri) for one in imports}),
        run: shares_task(step, options, inputs=ir.definitions({}, files), after=after) if shares else _run(step, options, files, after=after),
        commit: commit_task(step, options, artifacts={"out": ir.artifact_of(run, "out")}),
    }


def _components(step: Step, options: Options, imports: Sequence[Imported]) -> dict[str, Document]:
    stage, run, commit = (f"{word}-{step.word}" for word in ("stage", "run", "commit"))
    shared = is_shared(step.spec)
    made = {"datums": ir.parameter("NUMBER_INTEGER"), "made_from": ir.parameter()}
    inputs = {"data": ir.dataset(), **{one.files: ir.dataset() for one in imports}}
    found = {
        f"comp-{stage}": ir.component(
            f"exec-{stage}",
            ir.definitions({parameter: ir.parameter() for parameter in [*step.reads.values(), *(one.uri for one in imports)]}, {}),
            ir.definitions(made, {"data": ir.dataset()}),
        ),
        f"comp-{run}": ir.component(
            f"exec-{run}", ir.definitions({"share": ir.parameter()} if shared else {}, inputs), ir.definitions({}, {"out": ir.dataset()})
        ),
        f"comp-{commit}": ir.component(
            f"exec-{commit}", ir.definitions(made, {"out": ir.dataset(many=shared)}), ir.definitions({"commit": ir.parameter()}, {})
        ),
    }
    return {**found, **({f"comp-{run}-shares": _shares(step, options, inputs)} if shared else {})}


def _executors(step: Step, options: Options, imports: Sequence[Imported]) -> dict[str, Document]:
    stage, run, commit = (f"exec-{word}-{step.word}" for word in ("stage", "run", "commit"))
    spec = step.spec
    share = ir.input_parameter("share") if is_shared(spec) else "0"
    imported = [word for one in imports for word in ("--imported", full_name(one.branch), ir.input_parameter(one.uri))]
    folders = [ir.input_path(one.files) for one in imports]
    return {
        stage: ir.container(
            options.image,
            [PROGRAM, "kubeflow", "stage"],
            [*stage_words(step, options), *imported, "--data", ir.output_path("data"), "--executor-input", ir.EXECUTOR_INPUT],
        ),
        run: ir.container(
            spec.transform.image,
            ["sh", "-c", datum_script(spec, imports=len(imports)), spec.pipeline.name],
            [ir.input_path("data"), ir.output_path("out"), ir.output_uri("out"), ir.EXECUTOR_INPUT, share, *folders, *spec.transform.cmd],
            env=user_variables(step),
            resources=resources(spec),
        ),
        commit: ir.container(options.image, [PROGRAM, "kubeflow", "commit"], commit_words(step, options)),
    }


def _run(
    step: Step, options: Options, files: Mapping[str, Document], *, after: Sequence[str] = (), parameters: Mapping[str, Document] | None = None
) -> Document:
    cached = step.spec.reprocess_spec is not Reprocess.EVERY_JOB
    return run_task(step, options, cached=cached, parameters=parameters, artifacts=files, after=after)


def _shares(step: Step, options: Options, inputs: Mapping[str, Document]) -> Document:
    name = f"run-{step.word}"
    return {
        "dag": {
            "outputs": {"artifacts": {"out": {"artifactSelectors": [{"outputArtifactKey": "out", "producerSubtask": name}]}}},
            "tasks": {name: _run(step, options, {name: {"componentInputArtifact": name} for name in inputs}, parameters={"share": ir.from_pipeline(ITEM)})},
        },
        "inputDefinitions": ir.definitions({ITEM: ir.parameter()}, inputs),
        "outputDefinitions": ir.definitions({}, {"out": ir.dataset(many=True)}),
    }
