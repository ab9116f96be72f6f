"""Pipelines of Kubeflow as steps of Dagster: `kubeflow_run` makes an op that has Kubeflow run a pipeline file, and follows it."""

import importlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.errors import PachydermError, UnreachableError
from pachyderm_dagster.kubeflow.runs import RunRequest, check_parameters, end_run, follow_run, parse_pipeline, start_run


@dataclass(frozen=True, slots=True)
class KubeflowPipeline:
    """What a step has Kubeflow run, and where.

    Args:
        file: the pipeline file.
        endpoint: the URL of the API server.
        token_file: where a token for it is; empty for none.
    """

    file: str
    endpoint: str
    token_file: str
    namespace: str
    experiment: str
    service_account: str


def kubeflow_run(
    file: str | Path,
    *,
    endpoint: str,
    name: str | None = None,
    token_file: str = "",
    namespace: str = "",
    experiment: str = "Default",
    service_account: str = "",
    **op: Any,
) -> dg.OpDefinition:
    """An op that has Kubeflow run a pipeline file, follows the run and ends with it; when Dagster's run is ended, so is Kubeflow's.

    ```python
    train = kubeflow_run("pipeline.yaml", endpoint="http://ml-pipeline.kubeflow:8888")


    @dg.job
    def training():
        train()
    ```

    A run's configuration may give parameters, `{"images_commit": ID}`; others have the defaults of the file. A step that is tried again while its run goes on
    follows that one. What the run commits is told by the commit sensor, with what it was made from.

    Args:
        file: as `pachyderm-dagster export kubeflow` and kfp's compiler write it; it is read when the step runs.
        endpoint: the URL of the API server.
        name: of the op; the file's name when left out.
        token_file: a file with the token that the API server wants, such as the one that a cluster gives a pod.
        namespace: of the runs, where the server serves several people.
        experiment: the runs' experiment, which is made when missing.
        service_account: of the pods.
        op: for `dg.op`: `ins`, `tags`, `retry_policy`, ...
    """
    pipeline = KubeflowPipeline(str(file), endpoint, token_file, namespace, experiment, service_account)
    settings: dict[str, Any] = {
        "name": name or dg_name(Path(file).stem),
        "description": f"Has Kubeflow run `{Path(file).name}`.",
        "out": dg.Out(str, description="The id of Kubeflow's run."),
        "config_schema": {"parameters": dg.Field(dict, default_value={}, description="Of the pipeline; the others have its defaults.")},
        "tags": {"dagster/compute_kind": "kubeflow"},
    }

    def run_in_kubeflow(context: dg.OpExecutionContext) -> dg.Output[str]:
        return run_step(pipeline, context)

    made: dg.OpDefinition = dg.op(**{**settings, **op})(run_in_kubeflow)
    return made


def dg_name(text: str) -> str:
    """A text as the name of an op."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in text)


def run_step(pipeline: KubeflowPipeline, context: dg.OpExecutionContext) -> dg.Output[str]:
    """Has Kubeflow run it.

    Raises:
        dg.Failure: it did not end well; Dagster may try again where the API server did not answer.
    """
    try:
        return _run(pipeline, context)
    except PachydermError as error:
        raise dg.Failure(str(error), allow_retries=isinstance(error, UnreachableError) or error.code == "kubeflow-run-failed") from error


def _run(pipeline: KubeflowPipeline, context: dg.OpExecutionContext) -> dg.Output[str]:
    api = _open_api(pipeline)
    request = _request(pipeline, context)
    run, was_there = start_run(api, request)
    run_id = str(run["run_id"])
    link = f"{pipeline.endpoint.rstrip('/')}/#/runs/details/{run_id}"
    context.log.info("%s run %s in Kubeflow: %s", "follows" if was_there else "started", run_id, link)
    try:
        ended = follow_run(api, run_id, wait=_wait, tell=context.log.info)
    except PachydermError:
        raise
    except BaseException:
        # Dagster ends the step: nobody is left who would take what the run makes.
        context.log.info("ends run %s in Kubeflow", run_id)
        try:
            end_run(api, run_id)
        except PachydermError as error:
            # Not raised: what ends the step is the interruption, and not a failure.
            context.log.error("run %s in Kubeflow goes on, since it cannot be ended: %s; end it there: %s", run_id, error, link)
        raise
    metadata = {labels.KUBEFLOW_RUN: dg.MetadataValue.url(link), labels.KUBEFLOW_STATE: dg.MetadataValue.text(str(ended["state"]))}
    return dg.Output(run_id, metadata=metadata)


def _request(pipeline: KubeflowPipeline, context: dg.OpExecutionContext) -> RunRequest:
    source = Path(pipeline.file)
    try:
        text = source.read_text(encoding="utf-8")
    except OSError as error:
        raise dg.Failure(f"{source} cannot be read: {error.strerror}; export the pipeline again", allow_retries=False) from error
    spec, platform = parse_pipeline(text, str(source))
    parameters: Mapping[str, Any] = context.op_config["parameters"]
    check_parameters(spec, parameters)
    name = f"{spec['pipelineInfo']['name']}, dagster {context.run_id} {_step_of(context)}"
    return RunRequest(name, spec, platform, parameters, pipeline.experiment, pipeline.service_account)


def _step_of(context: dg.OpExecutionContext) -> str:
    """What no other step of the Dagster run is called; of one that is mapped, with its key."""
    key = context.get_mapping_key()
    return f"{context.op_handle}[{key}]" if key is not None else str(context.op_handle)


def _open_api(pipeline: KubeflowPipeline) -> Any:
    # By its name: what speaks HTTP is imported with the first that does.
    module = importlib.import_module("pachyderm_dagster.kubeflow.api")
    return module.KubeflowApi(pipeline.endpoint, token_file=pipeline.token_file, namespace=pipeline.namespace)


def _wait(seconds: float) -> None:
    time.sleep(seconds)
