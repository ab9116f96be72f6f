"""Pipelines for exports, and what a test asks of one."""

import json
from typing import Any

import yaml

from pachyderm_dagster.kubeflow.export import Exported, export_pipelines
from pachyderm_dagster.kubeflow.options import Options
from pachyderm_dagster.pfs.model import BranchName, RepoName
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.pps.spec_reading import parse_specs

Document = dict[str, Any]
ID = "5a1b2c3d4e5f60718293a4b5c6d7e8f9"
IMAGES = BranchName(RepoName("default", "images"), "master")
PINNED = Options(commits={IMAGES: ID})

EDGES: Document = {
    "pipeline": {"name": "edges"},
    "input": {"pfs": {"repo": "images", "glob": "/*"}},
    "transform": {"image": "pillow:11", "cmd": ["python", "/edges.py"]},
}
MONTAGE: Document = {
    "pipeline": {"name": "montage"},
    "input": {"cross": [{"pfs": {"repo": "images", "glob": "/"}}, {"pfs": {"repo": "edges", "glob": "/"}}]},
    "transform": {"image": "pillow:11", "cmd": ["sh"], "stdin": ["ls /pfs"]},
}


def specs(*documents: Document) -> list[PipelineSpec]:
    """The complete specifications of pipeline documents."""
    return parse_specs("\n".join(map(json.dumps, documents)), source="test", notes=[])


def changed(document: Document, **fields: Any) -> Document:
    """A pipeline document with other fields; those of the transform are `transform__NAME`."""
    transform = {name.removeprefix("transform__"): value for name, value in fields.items() if name.startswith("transform__")}
    others = {name: value for name, value in fields.items() if not name.startswith("transform__")}
    return {**document, "transform": {**document["transform"], **transform}, **others}


def exported(*documents: Document, options: Options = PINNED) -> Exported:
    """The export of pipelines."""
    return export_pipelines(specs(*documents), options)


def pod(found: Exported, executor: str) -> Document:
    """What Kubernetes is told of an executor."""
    document: Document = found.platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][executor]
    return document


def container(found: Exported, executor: str) -> Document:
    """The container of an executor."""
    document: Document = found.pipeline["deploymentSpec"]["executors"][executor]["container"]
    return document


def tasks(found: Exported) -> Document:
    """The tasks of the pipeline, by name."""
    document: Document = found.pipeline["root"]["dag"]["tasks"]
    return document


def documents_of(text: str) -> list[Document]:
    """The documents of a file."""
    return list(yaml.safe_load_all(text))
