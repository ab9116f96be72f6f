"""Pipelines as a pipeline of Kubeflow: its IR and what Kubernetes is told beside it. Needs neither kfp nor a home."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.exported.graph import Step, plan_steps
from pachyderm_dagster.kubeflow import artifacts, importing, ir, volumes
from pachyderm_dagster.kubeflow.fields import check_pipeline
from pachyderm_dagster.kubeflow.ir import Document
from pachyderm_dagster.kubeflow.options import Options, Transport
from pachyderm_dagster.kubeflow.tasks import Parts, join_parts
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, BranchName
from pachyderm_dagster.pps.spec import PipelineSpec


@dataclass(frozen=True, slots=True)
class Exported:
    """A pipeline of Kubeflow.

    Attributes:
        pipeline: its PipelineSpec.
        platform: its PlatformSpec.
        notes: what a user should know: fields that have no effect there.
    """

    pipeline: Document
    platform: Document
    notes: tuple[str, ...]

    def to_yaml(self) -> str:
        """The file that `kfp` and the API server take; equal exports give equal texts."""
        return ir.to_yaml(self.pipeline, self.platform)


def export_pipelines(specs: Sequence[PipelineSpec], options: Options, *, project: str = DEFAULT_PROJECT) -> Exported:
    """Pipelines as one pipeline of Kubeflow, in which each reads what the others commit, and the commits of all else are parameters.

    Args:
        project: of names that have none.

    Raises:
        InvalidError: `export-unsupported`, for what cannot be expressed; `export-invalid`.
    """
    notes = [note for spec in specs for note in check_pipeline(spec)]
    steps = plan_steps(specs, project)
    last = steps[-1].spec
    parts = _parts(steps, options)
    name = options.name or last.pipeline.name.lower().replace("_", "-")
    if f"comp-{name}" in parts.components:
        raise InvalidError("export-invalid", f"kfp would take the task {name!r} for the whole pipeline {name!r}; give that another --name")
    commits = {parameter: _parameter(branch, options) for step in steps for branch, parameter in step.read_outside.items()}
    pipeline = ir.pipeline(
        name,
        last.description,
        inputs=ir.definitions({**commits, **parts.parameters}, {}),
        tasks=parts.tasks,
        components=parts.components,
        executors=parts.executors,
    )
    return Exported(pipeline, ir.platform(parts.pods), tuple(notes))


def _parameter(branch: BranchName, options: Options) -> Document:
    commit = options.commits.get(branch, "")
    what = f"A commit of {branch.repo}, by its id" if commit else f"A commit of {branch.repo}; the head of {branch.name} when empty"
    return ir.parameter(default=commit, description=what)


def _parts(steps: Sequence[Step], options: Options) -> Parts:
    match options.transport:
        case Transport.ARTIFACT:
            return join_parts(artifacts.parts_of(step, options) for step in steps)
        case Transport.VOLUME:
            return join_parts([volumes.around(steps, options), *(volumes.parts_of(step, options) for step in steps)])
        case Transport.IMPORTER:
            return join_parts([importing.around(steps, options), *(artifacts.parts_of(step, options) for step in steps)])
        case _:
            assert_never(options.transport)
