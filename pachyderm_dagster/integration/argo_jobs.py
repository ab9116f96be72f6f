"""Workflows of Argo as jobs of Dagster: a step for each of the workflow's where they only wait for one another, else one for the whole."""

import importlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.argo.parts import Part
from pachyderm_dagster.integration.argo_config import PARAMETERS, STEP_CONFIG, launch_mapping, map_of
from pachyderm_dagster.integration.argo_loading import Files, Granularity, LoadedWorkflow, find_workflow, identifier_of, load_workflows
from pachyderm_dagster.integration.automation import Environ
from pachyderm_dagster.integration.code_places import CodePlace, reference_metadata

AFTER = "after"
"""The input of steps that wait for others."""
ANSWER_JOB = "answer_workflow"


@dataclass(frozen=True, slots=True)
class WorkflowStep:
    """What a step is to run.

    Attributes:
        name: that Dagster shows.
        part: of the workflow; None for all of it.
        network: whether pods may reach other machines.
        environ: names the home, as the environment variables do; None takes those of the process.
        answered_by: the job that answers what waits.
    """

    workflow: LoadedWorkflow
    name: str
    part: Part | None
    network: bool
    environ: Mapping[str, str] | None
    answered_by: str


def argo_job(
    files: Files,
    *,
    workflow: str | None = None,
    name: str | None = None,
    entrypoint: str | None = None,
    granularity: Granularity = "auto",
    network: bool = False,
    environ: Environ | None = None,
    executor_def: dg.ExecutorDefinition | None = None,
    **job: Any,
) -> dg.JobDefinition:
    """A workflow of Argo as a job. Its launchpad asks for the workflow's parameters; its pods are those of `pachyderm-dagster argo submit`.

    ```python
    defs = dg.Definitions(jobs=[argo_job("train.yaml")])
    ```

    A run that is repeated from its failure runs the workflow on: nodes that succeeded are kept.

    Args:
        files: workflow files, or folders of them: the workflow, and what it names.
        workflow: the object's name, where the files hold several that can be run.
        name: of the job; the workflow's when left out.
        entrypoint: the template to begin with, in place of the file's own.
        granularity: `task` makes a step of each of the entrypoint's, and refuses a workflow in which they do more than wait for others to succeed;
            `workflow` makes one step; `auto` does what can be done.
        network: whether pods may reach other machines.
        environ: names the home, as the environment variables do; None takes those of the process.
        executor_def: None for a process a step where steps can run at the same time, and one process where they cannot.
        job: for `GraphDefinition.to_job`: `tags`, `hooks`, `op_retry_policy`, `run_tags`, ...

    Raises:
        InvalidError: `spec-invalid`, `spec-unsupported`, `workflow-not-single`, `workflow-not-flat`.
        NotFoundError: `source-not-found`, `workflow-not-found`, and for what the workflow names.
    """
    found = find_workflow(load_workflows(files, entrypoint=entrypoint, granularity=granularity), workflow)
    return job_of(found, name=name, network=network, environ=environ, executor_def=executor_def, **job)


def job_of(
    workflow: LoadedWorkflow,
    *,
    name: str | None = None,
    network: bool = False,
    environ: Environ | None = None,
    executor_def: dg.ExecutorDefinition | None = None,
    answered_by: str = ANSWER_JOB,
    **job: Any,
) -> dg.JobDefinition:
    """The job of a workflow that was loaded. Arguments as of `argo_job`, and `answered_by`, the name of the job that answers what waits in it."""
    job_name = identifier_of(name or workflow.name)
    names = _step_names(workflow.parts) if workflow.parts else {"": job_name}
    environ = None if environ is None else dict(environ)
    parts: Sequence[Part | None] = workflow.parts or (None,)
    steps: list[dg.OpDefinition] = []
    dependencies: Any = {}
    for part in parts:
        node = names[part.name if part else ""]
        # Ops of a code location have one name each, and two workflows may have steps of one name: those are aliases.
        step = _step(WorkflowStep(workflow, node, part, network, environ, answered_by), f"{job_name}__{node}")
        before = [dg.DependencyDefinition(names[name]) for name in (part.after if part else ())]
        steps.append(step)
        dependencies[dg.NodeInvocation(step.name, alias=node)] = {AFTER: dg.MultiDependencyDefinition(before)} if before else {}
    graph = dg.GraphDefinition(name=f"{job_name}_workflow", node_defs=steps, dependencies=dependencies, description=_description(workflow))
    given = {**job, "metadata": {**_metadata(workflow), **job.get("metadata", {})}}
    return graph.to_job(
        name=job_name,
        config=launch_mapping(workflow, list(names.values())),
        executor_def=executor_def or (dg.multiprocess_executor if _can_be_parallel(workflow.parts) else dg.in_process_executor),
        **given,
    )


def answer_job(environ: Environ | None = None, *, name: str = ANSWER_JOB) -> dg.JobDefinition:
    """A job that resumes nodes which wait for somebody, in a workflow that another run runs: `pachyderm-dagster argo resume` from the UI."""
    fields = {
        "workflow": dg.Field(str, description="Its name, as the run that waits tells it."),
        "node": dg.Field(str, default_value="", description="Only the node of this name; all that wait when it is empty."),
        PARAMETERS: dg.Field(map_of(str, str), default_value={}, description="What the nodes ask for."),
    }

    @dg.op(name=name, out=dg.Out(dg.Nothing), config_schema=fields, description="Resumes nodes of a workflow.")
    def resume(context: dg.OpExecutionContext) -> None:
        _work().answer_workflow(environ, context)

    graph = dg.GraphDefinition(name=f"{name}_graph", node_defs=[resume])
    return graph.to_job(name=name, executor_def=dg.in_process_executor, description="Resumes what waits for somebody in a workflow of Argo.")


def _step(step: WorkflowStep, name: str) -> dg.OpDefinition:
    workflow, part = step.workflow, step.part
    said = f"Step `{part.name}`, template `{part.template}`." if part is not None else f"All of workflow `{workflow.name}`: {workflow.whole}."

    @dg.op(
        name=name,
        ins={AFTER: dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        config_schema=STEP_CONFIG,
        description=said,
        tags={"dagster/compute_kind": "argo"},
    )
    def run_workflow(context: dg.OpExecutionContext) -> dg.Output[None]:
        result: dg.Output[None] = _work().run_step(step, context)
        return result

    return run_workflow


def _step_names(parts: Sequence[Part]) -> dict[str, str]:
    """A step's name for each part; where two would get the same, they are counted."""
    plain = {part.name: identifier_of(part.name) for part in parts}
    uses = Counter(plain.values())
    return {name: found if uses[found] == 1 else f"{found}__{index}" for index, (name, found) in enumerate(plain.items())}


def _can_be_parallel(parts: Sequence[Part]) -> bool:
    """Whether two parts may run at the same time: they do not all follow one another."""
    before: dict[str, set[str]] = {}
    waiting = list(parts)
    while waiting:
        ready = [part for part in waiting if all(name in before for name in part.after)]
        for part in ready:
            before[part.name] = {part.name, *(name for needed in part.after for name in before[needed])}
        waiting = [part for part in waiting if part.name not in before]
    return any(one.name not in before[other.name] and other.name not in before[one.name] for one in parts for other in parts)


def _description(workflow: LoadedWorkflow) -> str:
    annotations = workflow.metadata.annotations
    title = annotations.get("workflows.argoproj.io/title") or f"{workflow.kind} {workflow.name} of Argo."
    return "\n\n".join(text for text in (title, annotations.get("workflows.argoproj.io/description")) if text)


def _metadata(workflow: LoadedWorkflow) -> dict[str, Any]:
    places = reference_metadata([CodePlace(file) for file in workflow.files])
    found = {labels.WORKFLOW: workflow.name, labels.WORKFLOW_FILES: ", ".join(workflow.files), **places}
    return {**found, labels.WHOLE: workflow.whole} if workflow.whole else found


def _work() -> Any:
    """What steps do (`integration.argo_runs`), imported with the first one."""
    return importlib.import_module("pachyderm_dagster.integration.argo_runs")
