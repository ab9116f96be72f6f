"""Inputs and their files, in few words."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.pps.inputs import PfsInput


def branch(name: str, *, repo: str | None = None, glob: str = "/*", project: str | None = None, **further: Any) -> PfsInput:
    """The input `name`, which reads the repo of that name."""
    return PfsInput(name=name, repo=repo or name, glob=glob, project=project, **further)


def matches(contents: Mapping[str, str]) -> pa.Table:
    """What a glob found: files by path with their content; a path that ends with `/` is a directory."""
    paths = sorted(contents)
    return pa.table(
        {
            "path": pa.array([path.rstrip("/") or "/" for path in paths], pa.string()),
            "hash": pa.array([content_digest(contents[path].encode()) for path in paths], pa.binary(32)),
            "size": pa.array([len(contents[path]) for path in paths], pa.int64()),
            "type": pa.array(["dir" if path.endswith("/") else "file" for path in paths], pa.string()),
        }
    )
