"""A run of a pipeline file in Kubeflow: started once, followed to its end, ended when whoever follows is."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import yaml

from pachyderm_dagster.errors import ExecutionError, InvalidError, UnreachableError
from pachyderm_dagster.kubeflow.ir import Document

POLL_SECONDS = 5.0
SILENT_SECONDS = 300.0
"""So long the API server may not answer before whoever follows gives up; the run goes on meanwhile."""
ENDED = ("SUCCEEDED", "SKIPPED", "FAILED", "CANCELED")
_GOOD = ("SUCCEEDED", "SKIPPED")
_NO_SHELL = 'exec: "sh"'
"""What the launcher and the container's runtime say of an image without one."""


class Api(Protocol):
    """What is asked of the API server; `KubeflowApi` does it."""

    def create_run(self, run: Document) -> Document: ...
    def get_run(self, run_id: str) -> Document: ...
    def terminate_run(self, run_id: str) -> None: ...
    def list_run(self, name: str) -> list[Document]: ...
    def ensure_experiment(self, name: str) -> str: ...


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What is to run.

    Args:
        name: of the run, which nothing else that is to run has: by it a run is found again.
        parameters: of the pipeline; those that are left out have its defaults.
        service_account: of the pods; Kubeflow's default when empty.
    """

    name: str
    pipeline: Document
    platform: Document
    parameters: Mapping[str, Any] = field(default_factory=dict)
    experiment: str = "Default"
    service_account: str = ""

    def as_run(self, experiment_id: str) -> Document:
        """A V2beta1Run, as kfp's own client sends one."""
        spec = {"pipeline_spec": self.pipeline, "platform_spec": self.platform} if self.platform else self.pipeline
        return {
            "display_name": self.name,
            "experiment_id": experiment_id,
            "pipeline_spec": spec,
            "runtime_config": {"parameters": dict(self.parameters)},
            **({"service_account": self.service_account} if self.service_account else {}),
        }


def parse_pipeline(text: str, source: str) -> tuple[Document, Document]:
    """The PipelineSpec and the PlatformSpec of a pipeline file.

    Raises:
        InvalidError: `pipeline-file-invalid`.
    """
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise InvalidError("pipeline-file-invalid", f"{source} is no YAML: {error}") from error
    if not documents or not all(isinstance(one, dict) for one in documents) or "pipelineInfo" not in documents[0]:
        raise InvalidError("pipeline-file-invalid", f"{source} is no pipeline of Kubeflow; `export kubeflow` and kfp's compiler write them")
    platform: Document = {}
    for one in documents[1:]:
        platform |= one
    return documents[0], platform


def check_parameters(pipeline: Document, given: Mapping[str, Any]) -> None:
    """Does nothing when a run can be started with these parameters.

    Raises:
        InvalidError: `parameter-unknown`, `parameter-missing`.
    """
    known = pipeline["root"].get("inputDefinitions", {}).get("parameters", {})
    for name in given:
        if name not in known:
            raise InvalidError("parameter-unknown", f"the pipeline has no parameter {name!r}; it has {', '.join(sorted(known)) or 'none'}")
    missing = [name for name, one in known.items() if name not in given and not one.get("isOptional") and "defaultValue" not in one]
    if missing:
        raise InvalidError("parameter-missing", f"the pipeline needs {', '.join(missing)}, which has no default; give a value")


def start_run(api: Api, request: RunRequest) -> tuple[Document, bool]:
    """The run of a request, and whether it was there: whoever was killed after it was made starts no second one. Errors as `KubeflowApi`."""
    for found in api.list_run(request.name):
        if found.get("display_name") == request.name and found.get("state") not in (*ENDED, "CANCELING"):
            return found, True
    return api.create_run(request.as_run(api.ensure_experiment(request.experiment))), False


def follow_run(api: Api, run_id: str, *, wait: Callable[[float], None], tell: Callable[[str], None]) -> Document:
    """The run when it has ended well; what changes is told, a line each.

    Raises:
        ExecutionError: `kubeflow-run-failed`.
        UnreachableError: `kubeflow-unreachable`, when nobody answers for long.
        NotFoundError: `kubeflow-not-found`, when somebody deleted it.
    """
    told: dict[str, str] = {}
    silent = 0.0
    while True:
        try:
            run = api.get_run(run_id)
            silent = 0.0
        except UnreachableError as error:
            silent += POLL_SECONDS
            if silent > SILENT_SECONDS:
                raise
            tell(f"note: {error.message}")
            wait(POLL_SECONDS)
            continue
        for name, state in _states(run):
            if told.get(name) != state:
                told[name] = state
                tell(f"{name}: {state}")
        if run.get("state") in ENDED:
            return _ended(run)
        wait(POLL_SECONDS)


def end_run(api: Api, run_id: str) -> None:
    """Asks for the end of a run, if it has not ended. Errors as `KubeflowApi`."""
    if api.get_run(run_id).get("state") not in (*ENDED, "CANCELING"):
        api.terminate_run(run_id)


def _states(run: Document) -> Iterator[tuple[str, str]]:
    for task in run.get("run_details", {}).get("task_details", []):
        if task.get("display_name") and task.get("state"):
            yield f"task {task['display_name']}", task["state"]
    if run.get("state"):
        yield "run", run["state"]


def _ended(run: Document) -> Document:
    if run["state"] in _GOOD:
        return run
    failed = [task for task in run.get("run_details", {}).get("task_details", []) if task.get("state") == "FAILED"]
    names = ", ".join(dict.fromkeys(str(task.get("display_name")) for task in failed))
    said = (run.get("error") or {}).get("message") or next((task["error"]["message"] for task in failed if (task.get("error") or {}).get("message")), "")
    problem = f"run {run['run_id']} in Kubeflow ended as {run['state']}" + (f", in {names}" if names else "") + (f": {said}" if said else "")
    way_out = "; its image has no shell: export the pipeline with --transport volume" if _NO_SHELL in said else ""
    raise ExecutionError("kubeflow-run-failed", f"{problem}{way_out}; its logs are in Kubeflow's UI")
