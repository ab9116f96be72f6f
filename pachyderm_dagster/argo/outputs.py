"""What is made of how the containers of a pod ended, and of what it wrote: the same wherever it ran."""

from collections.abc import Callable, Mapping

from pachyderm_dagster.argo.nodes import KeptArtifact, NodeOutputs, Phase
from pachyderm_dagster.argo.parameters import Artifact, Parameter
from pachyderm_dagster.argo.pods import ContainerEnd, Pod, PodEnd
from pachyderm_dagster.errors import ExecutionError, PachydermError, UnreachableError

MAIN = "main"


def pod_end(pod: Pod, ends: Mapping[str, ContainerEnd], logs: Mapping[str, KeptArtifact], outputs: Callable[[NodeOutputs], NodeOutputs]) -> PodEnd:
    """How a pod ended.

    Args:
        ends: of its main containers, by name.
        logs: artifacts that what it printed is.
        outputs: adds what it gave; is not asked where no container ran.

    Raises:
        UnreachableError: what it gave cannot be fetched now.
    """
    worst = next((end for end in ends.values() if end.phase.is_failure), ends.get(MAIN, ContainerEnd(Phase.SUCCEEDED)))
    of_set = ends if pod.template.container_set is not None else {}
    bare = NodeOutputs(exit_code=ends[MAIN].exit_code if MAIN in ends else None, artifacts=dict(logs))
    if worst.phase.is_failure and worst.exit_code is None:
        return PodEnd(worst.phase, worst.message, bare, of_set)
    try:
        found = outputs(bare)
    except UnreachableError:
        raise
    except PachydermError as error:
        if worst.phase.is_failure:
            return PodEnd(worst.phase, worst.message, bare, of_set)
        return PodEnd(Phase.ERROR, error.message, bare, of_set)
    return PodEnd(worst.phase, worst.message, found, of_set)


def has_main(pod: Pod) -> bool:
    """Whether the pod has the container whose outputs are its own."""
    return pod.template.container_set is None or any(one.name == MAIN for one in pod.template.containers)


def parameter_of(one: Parameter, written: Callable[[str], str | None]) -> str:
    """The value of an output parameter.

    Args:
        written: the text of a file of the main container, None when there is none.

    Raises:
        ExecutionError: `output-not-written`.
    """
    if one.value_from is None:
        return one.value or ""
    found = written(one.value_from.path)
    if found is not None:
        return found
    if one.value_from.default is None:
        message = f"the output parameter {one.name!r} has no value: nothing was written to {one.value_from.path}; write it, or give a default"
        raise ExecutionError("output-not-written", message)
    return one.value_from.default


def not_written(artifact: Artifact) -> ExecutionError:
    """An output artifact that is not there, and must be."""
    message = f"the output artifact {artifact.name!r} is not there: nothing was written to {artifact.path}; write it, or make it optional"
    return ExecutionError("output-not-written", message)
