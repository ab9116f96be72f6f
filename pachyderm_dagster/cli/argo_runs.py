"""What the commands for runs of workflows share: the runs of the home, and what is shown of one."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from pachyderm_dagster.argo.driving import run_to_end
from pachyderm_dagster.argo.go_values import scalar_text
from pachyderm_dagster.argo.go_yaml import read_documents
from pachyderm_dagster.argo.nodes import Node, NodeType, Phase
from pachyderm_dagster.argo.open_objects import open_objects
from pachyderm_dagster.argo.open_place import open_place
from pachyderm_dagster.argo.run_folder import Ending, RunFolder
from pachyderm_dagster.argo.runs import Runs
from pachyderm_dagster.argo.tree import tree_lines
from pachyderm_dagster.cli.failures import DONE, FAILED
from pachyderm_dagster.cli.lazy import load
from pachyderm_dagster.cli.printing import Printer, rfc3339, table_lines
from pachyderm_dagster.cli.spec_files import read_text
from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.settings import load_settings

Fields = dict[str, Any]


def runs_of(environ: Mapping[str, str]) -> Runs:
    """The runs of the home that the environment names. What has artifacts opens the rest of the home at its end, and nothing else does."""

    def keep(run: RunFolder) -> None:
        load("pachyderm_dagster.argo.artifact_commits:commit_artifacts")(environ, run)

    settings = load_settings(environ)
    return Runs(settings.home, keep, lambda: open_objects(environ), open_place(settings))


def given_parameters(pairs: tuple[str, ...]) -> dict[str, str]:
    """Parameters as `NAME=VALUE`.

    Raises:
        InvalidError: `parameter-invalid`.
    """
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidError("parameter-invalid", f"{pair!r} is no parameter; write it as NAME=VALUE")
        found[name] = value
    return found


def file_parameters(source: str) -> dict[str, str]:
    """Parameters of a file: names with values.

    Raises:
        InvalidError: `parameter-invalid`, or as `read_text`.
    """
    text = read_text(source)
    found = [document for document, _ in read_documents(text.text, text.source)]
    document = found[0] if len(found) == 1 else None
    if not isinstance(document, dict) or any(isinstance(value, list | dict) for value in document.values()):
        raise InvalidError("parameter-invalid", f"{text.source} holds no parameters; write a line NAME: VALUE for each")
    return {str(name): scalar_text(value) for name, value in document.items()}


def given_files(pairs: tuple[str, ...]) -> dict[str, Path]:
    """Artifacts as `NAME=PATH`.

    Raises:
        InvalidError: `artifact-invalid`.
    """
    found = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or not name or "/" in name:
            raise InvalidError("artifact-invalid", f"{pair!r} is no artifact; write it as NAME=PATH")
        if not Path(path).exists():
            raise InvalidError("artifact-invalid", f"the artifact {name!r} is to be {path!r}, where there is nothing; name a file or folder")
        found[name] = Path(path)
    return found


def run_document(run: RunFolder) -> Fields:
    """A run in short. `phase` is `Running` also while nobody runs it on."""
    subject, _ = run.subject()
    ending = run.ending()
    root = run.nodes().get(run.name)
    return {
        "name": run.name,
        "phase": run.phase().value,
        "message": ending.message if ending else "",
        "created": subject.created,
        "suspended": run.is_suspended(),
        "started": None if root is None else _time(root.started),
        "finished": None if ending is None else _time(ending.finished),
        "parameters": {one.name: one.value for one in subject.spec.arguments.parameters},
        "artifacts": run.commit(),
    }


def inspection(run: RunFolder) -> Fields:
    """A run with its nodes and what the whole gave."""
    nodes = list(run.nodes().values())
    outputs = next((node.outputs for node in nodes if node.name == run.name), None)
    return {
        **run_document(run),
        "outputs": {} if outputs is None else msgspec.to_builtins(outputs),
        "nodes": [node_document(node) for node in nodes],
    }


def node_document(node: Node) -> Fields:
    """A node."""
    return {
        "name": node.name,
        "id": node.id,
        "display_name": node.display_name,
        "type": node.type.value,
        "template": node.template,
        "phase": node.phase.value,
        "message": node.message,
        "parent": node.parent or None,
        "pod": node.pod or None,
        "started": _time(node.started),
        "finished": _time(node.finished) if node.finished else None,
        "inputs": node.inputs,
        "outputs": msgspec.to_builtins(node.outputs),
        "metrics": msgspec.to_builtins(node.metrics),
        "from_cache": node.from_cache,
    }


def _time(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def show(run: RunFolder, printer: Printer) -> None:
    """Shows a run: for programs as a document, for people as Argo does."""
    if printer.for_programs:
        printer.always_documents(inspection(run))
        return
    document = run_document(run)
    rows = [
        ("Name:", run.name),
        ("Status:", document["phase"] + (" (Suspended)" if document["suspended"] else "")),
        ("Message:", document["message"]),
        ("Created:", rfc3339(document["created"])),
    ]
    rows += [("Finished:", rfc3339(document["finished"]) if document["finished"] else ""), ("Artifacts:", document["artifacts"])]
    for title, value in rows:
        if value:
            click.echo(f"{title:<20}{value}")
    if document["parameters"]:
        click.echo("Parameters:")
        for name, value in document["parameters"].items():
            click.echo(f"  {name + ':':<18}{value}")
    nodes = list(run.nodes().values())
    if nodes:
        click.echo("")
        lines = ([line.step, line.node.template or "", line.node.pod, _duration(line.node), line.node.message] for line in tree_lines(nodes, run.name))
        for text in table_lines(["STEP", "TEMPLATE", "PODNAME", "DURATION", "MESSAGE"], lines):
            click.echo(text)


def _duration(node: Node) -> str:
    return f"{node.finished - node.started:.0f}s" if node.finished and node.type is not NodeType.SKIPPED else ""


def run_on(runs: Runs, run: RunFolder, printer: Printer, *, stop: str = "") -> int:
    """Runs a workflow in this process to its end, and shows it; what it waits for is told. The exit status."""
    ending = run_to_end(runs, run, SystemClock(), lambda node: None, stop=stop)
    show(run, printer)
    return status_of(run, ending)


def status_of(run: RunFolder, ending: Ending | None) -> int:
    """0 for a workflow that succeeded, or waits for a resume."""
    if ending is None:
        waiting = "the workflow" if run.is_suspended() else ", ".join(node.display_name for node in run.suspended())
        click.echo(f"note: {waiting} waits: `pachctl argo resume {run.name}` goes on", err=True)
        return DONE
    return DONE if ending.phase is Phase.SUCCEEDED else FAILED
