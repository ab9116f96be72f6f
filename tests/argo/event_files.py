"""Files of Argo Events that tests read."""

from pachyderm_dagster.argo.checking import check_object
from pachyderm_dagster.argo.library import Library, library_of
from pachyderm_dagster.argo.reading import parse_objects
from pachyderm_dagster.argo.triggering import SensorTrigger
from pachyderm_dagster.argo.workflows import Read, Sensor

SOURCE = """apiVersion: argoproj.io/v1alpha1
kind: EventSource
metadata: {name: source}
spec:
"""
HOOK = 'webhook: {example: {port: "12000", endpoint: /example, method: POST}}'
DEPENDENCY = "- {name: dep, eventSourceName: source, eventName: example}"
PARAMETER = "- {src: {dependencyName: dep, dataKey: body.message}, dest: spec.arguments.parameters.0.value}"
WORKFLOW = """apiVersion: argoproj.io/v1alpha1
            kind: Workflow
            metadata: {generateName: say-}
            spec:
              entrypoint: main
              arguments: {parameters: [{name: message, value: nothing}, {name: unit, value: of}]}
              templates: [{name: main, container: {image: busybox, command: [echo, "{{workflow.parameters.message}}"]}}]"""
SENSOR = """apiVersion: argoproj.io/v1alpha1
kind: Sensor
metadata: {{name: sensor}}
spec:
  dependencies:
  {dependencies}
  triggers:
  - template:
      name: go
      {conditions}
      {kind}:
        source:
          resource:
            {workflow}
        {operation}
        parameters:
        {parameters}
"""


def source(text: str = HOOK) -> str:
    """An EventSource, `source`, of what is below its `spec`."""
    return SOURCE + "".join(f"  {line}\n" for line in text.splitlines())


def sensor(dependencies: str = DEPENDENCY, parameters: str = PARAMETER, *, conditions: str = "", operation: str = "", kind: str = "argoWorkflow") -> str:
    """A Sensor, `sensor`, with a trigger, `go`."""
    return SENSOR.format(
        dependencies=dependencies.replace("\n", "\n  "),
        parameters=parameters.replace("\n", "\n        "),
        conditions=f"conditions: {conditions}" if conditions else "",
        operation=f"operation: {operation}" if operation else "",
        kind=kind,
        workflow=WORKFLOW,
    )


def read(*texts: str) -> tuple[list[Read], Library]:
    """The objects of texts, all checked."""
    found = [one for text in texts for one in parse_objects(text, source="e.yaml")]
    library = library_of(found)
    for one in found:
        check_object(one, library)
    return found, library


def trigger(*texts: str) -> SensorTrigger:
    """The first trigger of the only Sensor."""
    found, library = read(*texts)
    (one,) = [read.object for read in found if isinstance(read.object, Sensor)]
    return SensorTrigger(one, 0, library)
