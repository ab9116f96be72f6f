"""How the process of a service or spout is: for `inspect pipeline`."""

import datetime as dt
from collections.abc import Sequence

from pachyderm_dagster.cli.documents import Fields
from pachyderm_dagster.executors.kept_processes import process_folder, read_record
from pachyderm_dagster.executors.kubernetes.names import kept_name
from pachyderm_dagster.executors.process_marks import is_alive
from pachyderm_dagster.pps.model import Pipeline, PipelineState
from pachyderm_dagster.settings import KubernetesSettings, Settings


def process_document(settings: Settings, pipeline: Pipeline, workers: Sequence[Fields] | None) -> Fields | None:
    """The process of a pipeline, as `kept_state.as_kept` gives it; None of a transformation.

    `kept` says whether some process looks after it, `elsewhere` whether that is on another machine or in another container, which shares the home. Where it is
    a pod, `deployment` is what makes that, and `service` where clients of the cluster find it; `runs` is null where the cluster does not say.

    Args:
        workers: as `workers_documents` gives them.
    """
    if not pipeline.spec.runs_on:
        return None
    if settings.kubernetes is not None:
        return _in_pods(settings.kubernetes, pipeline, workers)
    home = settings.home
    record = read_record(process_folder(home, pipeline.key))
    elsewhere = pipeline.state is not PipelineState.STANDBY and record is not None and not record.keeper.is_here
    # What a machine wrote that is gone, or cannot reach the record, stays: only its lease ends.
    kept = pipeline.state is not PipelineState.STANDBY and (elsewhere or (record is not None and is_alive(record.keeper)))
    runs = record is not None and record.runs
    return {
        "kept": kept,
        "elsewhere": elsewhere,
        "runs": runs,
        "pid": record.worker.pid if record is not None and record.worker is not None and runs else None,
        "started": dt.datetime.fromtimestamp(record.started, dt.UTC) if record is not None and runs else None,
        "restarts": record.restarts if record is not None and kept else 0,
        "job": (record.job or None) if record is not None and runs else None,
        "port": pipeline.spec.port,
        "deployment": None,
        "service": None,
    }


def _in_pods(settings: KubernetesSettings, pipeline: Pipeline, workers: Sequence[Fields] | None) -> Fields:
    spec, name = pipeline.spec, kept_name(pipeline.name)
    service = spec.service if spec.spout is None else spec.spout.service
    return {
        "kept": True,
        "elsewhere": True,
        "runs": None if workers is None else any(one["running"] for one in workers),
        "pid": None,
        "started": None,
        "restarts": None,
        "job": None,
        "port": spec.port,
        "deployment": f"{settings.namespace}/{name}",
        "service": None if service is None else f"{name}.{settings.namespace}:{service.external_port or service.port}",
    }


def show_process(process: Fields | None) -> str:
    """For people; empty where there is none."""
    if process is None:
        return ""
    if process["deployment"] is not None:
        return f"Deployment {process['deployment']}" + (f", reached at {process['service']}" if process["service"] is not None else "")
    if not process["kept"]:
        return "none: `pachctl run service` or `pachyderm-dagster dev` starts it"
    if process["elsewhere"]:
        return "kept by another machine or container, which shares this home"
    if not process["runs"]:
        return f"none now, started again {process['restarts']} times"
    port = f", port {process['port']}" if process["port"] is not None else ""
    return f"{process['pid']}{port}, started again {process['restarts']} times"
