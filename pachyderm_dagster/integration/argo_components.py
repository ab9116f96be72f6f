"""Workflows of Argo as a component for `dg`."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import dagster as dg

from pachyderm_dagster.integration.argo_building import argo_definitions
from pachyderm_dagster.integration.component_types import component_type
from pachyderm_dagster.settings import HOME

EXAMPLE = """\
# Counts up to a number, and adds up the squares. `pachyderm-dagster argo submit workflow.yaml` runs it without Dagster.
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata:
  generateName: squares-
spec:
  entrypoint: main
  arguments:
    parameters:
    - {name: upto, value: 3, description: The last number.}
  templates:
  - name: main
    steps:
    - - {name: count, template: count}
    - - name: square
        template: square
        arguments: {parameters: [{name: number, value: "{{item}}"}]}
        withParam: "{{steps.count.outputs.result}}"
    - - name: total
        template: add
        arguments: {parameters: [{name: all, value: "{{steps.square.outputs.result}}"}]}
  - name: count
    script: {image: "python:3.12-alpine", command: [python], source: "print(list(range(1, {{workflow.parameters.upto}} + 1)))"}
  - name: square
    inputs: {parameters: [{name: number}]}
    script: {image: "python:3.12-alpine", command: [python], source: "print({{inputs.parameters.number}} ** 2)"}
  - name: add
    inputs: {parameters: [{name: all}]}
    script: {image: "python:3.12-alpine", command: [python], source: "print(sum({{inputs.parameters.all}}))"}
"""


def _said(description: str, *examples: object) -> Any:
    """What forms and editors say of a field."""
    return dg.Resolver.default(description=description, examples=list(examples))


class ArgoScaffolder(dg.Scaffolder[Any]):
    """Writes `defs.yaml` and a workflow to start from."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """As `dg scaffold defs` asks for it."""
        dg.scaffold_component(request, {"files": "workflow.yaml"})
        (Path(request.target_path) / "workflow.yaml").write_text(EXAMPLE)


@dg.scaffold_with(ArgoScaffolder)
class ArgoWorkflows(dg.Component, dg.Model, dg.Resolvable):
    """Workflows of Argo from their YAML: jobs whose launchpad asks for the workflow's parameters, schedules of CronWorkflows, and schedules and sensors of the
    triggers of Sensors, without Kubernetes.

    Steps that only wait for one another are steps in Dagster; what is more than that is one step, with all its nodes in the run's log.
    """

    files: Annotated[
        str | list[str],
        _said("Workflow files and what they name: a file, a folder, or a list; beside defs.yaml.", "workflow.yaml", "workflows", ["a.yaml", "b.yaml"]),
    ]
    granularity: Annotated[
        Literal["auto", "task", "workflow"],
        _said("`task`: a step of Dagster for each of a workflow's; `workflow`: one for all; `auto`: the first where it is possible.", "auto"),
    ] = "auto"
    network: Annotated[bool, _said("Whether pods may reach other machines.", True)] = False
    home: Annotated[str | None, _said("The workspace's folder, as PACHYDERM_HOME, which is the default.", "{{ env.PACHYDERM_HOME }}")] = None

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """How `dg` lists it."""
        return component_type("argo", "job", "schedule", "sensor")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Jobs, schedules and sensors; only the files are read."""
        sources = [self.files] if isinstance(self.files, str) else self.files
        return argo_definitions(
            [Path(context.path) / source for source in sources],
            granularity=self.granularity,
            network=self.network,
            environ={**os.environ, HOME: self.home} if self.home else None,
        )
