"""The source folder of a pipeline: kept beside the specification in the commit that makes a version, known by a digest of its files (docs/design/0016)."""

import datetime as dt
from collections.abc import Iterable

import msgspec

from pachyderm_dagster.codec import digest
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.metadata.database import Transaction
from pachyderm_dagster.pfs.requests import SpecContent
from pachyderm_dagster.pps import pipelines
from pachyderm_dagster.pps.model import Pipeline
from pachyderm_dagster.pps.spec import PipelineSpec


class Source(msgspec.Struct, frozen=True):
    """The files of a source folder as they were at one moment.

    Args:
        digest: equal exactly when names and contents are, 64 hex digits.
        tree: encoded root of a tree that has them below `/source`; None when they were looked at and not stored.
        since: when storing them began.
    """

    digest: str
    tree: bytes | None
    since: dt.datetime


def source_digest(files: Iterable[tuple[str, bytes]]) -> str:
    """The digest of files by key and hash of their content, in the order of their keys."""
    return digest("source", [part for key, hash in files for part in (key.encode(), hash)]).hex()


def with_source(txn: Transaction, spec: PipelineSpec, given: Source | None, before: Pipeline | None) -> tuple[PipelineSpec, SpecContent]:
    """A specification that knows its source folder, and what the commit of its version is to hold.

    Args:
        given: the folder; None for that of the version before.
        before: the pipeline as it is now; None when it is to be made.

    Raises:
        InvalidError: `source-missing`, when there is neither.
    """
    if spec.transform.build is None:
        return spec, SpecContent(spec.to_json())
    if given is not None:
        known = spec.with_source(given.digest)
        return known, SpecContent(known.to_json(), given.tree, given.since)
    if before is None or before.spec.transform.build is None:
        name = spec.pipeline.name
        raise InvalidError(
            "source-missing",
            f"pipeline '{name}' has transform.build, and its source folder {spec.transform.build.path!r} did not come along; "
            f"name it: `pachctl update pipeline -f FILE --build FOLDER`",
        )
    known = spec.with_source(before.spec.transform.build.source)
    return known, SpecContent(known.to_json(), pipelines.spec_tree(txn, before.name)[0])
