"""What is made of how the containers of a pod ended, and of what it wrote: the same wherever it ran."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from pachyderm_dagster.argo.artifact_files import ArtifactFolder
from pachyderm_dagster.argo.nodes import KeptArtifact, NodeOutputs, Phase
from pachyderm_dagster.argo.parameters import Archive, Artifact, Parameter
from pachyderm_dagster.argo.pods import LOGS, ContainerEnd, Pod, PodEnd
from pachyderm_dagster.errors import ExecutionError, PachydermError, UnreachableError

MAIN = "main"
MOST_RESULT_BYTES = 256 * 1024
OWN_FAILURE = 64
"""The exit code of what runs user code, when it cannot."""
OMITTED = ContainerEnd(Phase.OMITTED, "a container that it depends on has failed")


def exit_end(code: int) -> ContainerEnd:
    """How a container ended whose program ended with a code."""
    if code:
        return ContainerEnd(Phase.FAILED, f"Error (exit code {code})", str(code))
    return ContainerEnd(Phase.SUCCEEDED, "", str(code))


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


def _parameter_of(one: Parameter, written: Callable[[Parameter], str | None]) -> str:
    if one.value_from is None:
        return one.value or ""
    found = written(one)
    if found is not None:
        return found
    if one.value_from.default is None:
        message = f"the output parameter {one.name!r} has no value: nothing was written to {one.value_from.path}; write it, or give a default"
        raise ExecutionError("output-not-written", message)
    return one.value_from.default


def result_of(file: BinaryIO) -> str:
    """The result: the end of what a program printed, without its last line break."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - MOST_RESULT_BYTES - 1))
    return file.read().removesuffix(b"\n")[-MOST_RESULT_BYTES:].decode("utf-8", "replace")


def outputs_of(
    pod: Pod,
    bare: NodeOutputs,
    *,
    keep: Callable[[Artifact], KeptArtifact | None],
    written: Callable[[Parameter], str | None],
    result: Callable[[], str],
) -> NodeOutputs:
    """What a pod that has a main container gave.

    Args:
        bare: what it gave without that container.
        keep: keeps an artifact; None when it is not there.
        written: the text that an output parameter is to be of, None when there is none.
        result: what its program printed.

    Raises:
        ExecutionError: `output-not-written`. Others as `keep`.
    """
    artifacts = dict(bare.artifacts)
    for artifact in pod.template.outputs.artifacts:
        kept = keep(artifact)
        if kept is not None:
            artifacts[artifact.name] = kept
        elif not artifact.optional:
            message = f"the output artifact {artifact.name!r} is not there: nothing was written to {artifact.path}; write it, or make it optional"
            raise ExecutionError("output-not-written", message)
    return NodeOutputs(
        parameters={one.name: _parameter_of(one, written) for one in pod.template.outputs.parameters},
        artifacts=artifacts,
        result=result() if pod.keeps_result else None,
        exit_code=bare.exit_code,
    )


def log_artifact(store: ArtifactFolder, pod: Pod, log: Path, workflow: str) -> dict[str, KeptArtifact]:
    """What a pod printed as an artifact, if that is wanted and there is a file of it."""
    if not pod.archives_log or not log.exists():
        return {}
    return {LOGS: store.put(str(log), Artifact(name=LOGS, archive=Archive(none={})), f"{workflow}/{pod.name}/main.log")}
