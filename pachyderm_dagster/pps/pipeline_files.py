"""Which files of a folder are pipeline files."""

import os
from collections.abc import Sequence

from pachyderm_dagster.errors import InvalidError, NotFoundError, PachydermError
from pachyderm_dagster.pps.documents import read_documents

ENDINGS = (".json", ".yaml", ".yml")
USUAL_NAMES = tuple(f"pipeline{ending}" for ending in ENDINGS)


def find_pipeline_file(folder: str) -> str:
    """The file `pipeline.json`, `.yaml` or `.yml` of a folder, else the only one of these kinds with pipelines in it.

    Raises:
        NotFoundError: `source-not-found`, `pipeline-file-not-found`.
        InvalidError: `pipeline-file-ambiguous`.
    """
    if not os.path.isdir(folder):
        raise NotFoundError("source-not-found", f"{folder!r} is no folder; name one with a pipeline file in it")
    names = sorted(name for name in os.listdir(folder) if name.endswith(ENDINGS))
    found = [name for name in USUAL_NAMES if name in names] or [name for name in names if _holds_pipelines(os.path.join(folder, name))]
    if not found:
        raise NotFoundError("pipeline-file-not-found", f"{folder!r} holds no pipeline file; write one as {USUAL_NAMES[1]} there, or name it with -f")
    if len(found) > 1:
        raise InvalidError("pipeline-file-ambiguous", f"{folder!r} holds several pipeline files: {', '.join(found)}; name one with -f")
    return os.path.join(folder, found[0])


def _holds_pipelines(path: str) -> bool:
    try:
        with open(path, encoding="utf-8-sig") as file:
            documents: Sequence[object] = read_documents(file.read(), path)
    except (OSError, UnicodeDecodeError, PachydermError):
        return False
    return all(map(is_pipeline, documents))


def is_pipeline(document: object) -> bool:
    """Whether a document of a file is about a pipeline, right or wrong."""
    return isinstance(document, dict) and "pipeline" in document
