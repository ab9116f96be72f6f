"""Pipelines that come from Pachyderm: read as users' pipeline files are, and what is refused here is told."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.pps.spec_reading import parse_specs


@dataclass(frozen=True, slots=True)
class ArrivingPipeline:
    """A pipeline that is ready to be created, and how its author would write it."""

    spec: PipelineSpec
    document: Mapping[str, Any]


def find_arriving(name: str, get_document: Callable[[], Mapping[str, Any]], skipped: list[str]) -> ArrivingPipeline | None:
    """Reads a pipeline; None when it is refused. `skipped` is told why, and of fields that do nothing here."""
    try:
        document = get_document()
        notes: list[str] = []
        (spec,) = parse_specs(json.dumps(document), source=f"pipeline '{name}'", notes=notes)
    except PachydermError as error:
        skipped.append(f"pipeline '{name}': {error}")
        return None
    skipped += notes
    return ArrivingPipeline(spec, document)
