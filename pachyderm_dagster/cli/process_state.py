"""How the process of a service or spout is: for `inspect pipeline`."""

import datetime as dt
from pathlib import Path

from pachyderm_dagster.cli.documents import Fields
from pachyderm_dagster.executors.kept_processes import process_folder, read_record
from pachyderm_dagster.executors.process_marks import is_alive
from pachyderm_dagster.pps.model import Pipeline, PipelineState


def process_document(home: Path, pipeline: Pipeline) -> Fields | None:
    """The process of a pipeline, as `kept_state.as_kept` gives it, on this machine; None of a transformation.

    `kept` says whether some process looks after it, `elsewhere` whether that is on another machine
    or in another container, which shares the home.
    """
    if not pipeline.spec.runs_on:
        return None
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
    }


def show_process(process: Fields | None) -> str:
    """For people; empty where there is none."""
    if process is None:
        return ""
    if not process["kept"]:
        return "none: `pachctl run service` or `pachyderm-dagster dev` starts it"
    if process["elsewhere"]:
        return "kept by another machine or container, which shares this home"
    if not process["runs"]:
        return f"none now, started again {process['restarts']} times"
    port = f", port {process['port']}" if process["port"] is not None else ""
    return f"{process['pid']}{port}, started again {process['restarts']} times"
