"""What Dagster is told of a job that ended: metadata of its output, tags of its provenance, why it failed."""

import base64
import itertools
from collections.abc import Iterable, Mapping

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.errors import PachydermError, StateError
from pachyderm_dagster.integration.commit_events import commit_metadata
from pachyderm_dagster.pfs import commits
from pachyderm_dagster.pfs.model import BranchName, Commit
from pachyderm_dagster.pfs.paths import path_of
from pachyderm_dagster.pps.datum_listing import ShownState
from pachyderm_dagster.pps.model import Counters, Job
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.rows import contents_of
from pachyderm_dagster.storage.trees import TreeDiff
from pachyderm_dagster.workspace import Workspace

LISTED_FILES = 20
LISTED_FAILURES = 20
PICTURES = 2
PICTURE_BYTES = 256 * 1024
PICTURE_SUFFIX = ".png"
SEARCHED_LEAVES = 20
"""Where a job changed no picture, one is looked for in so many leaves of its output, about twenty thousand files."""

Metadata = dict[str, dg.MetadataValue]


def output_metadata(workspace: Workspace, job: Job, commit: Commit, consumed: Mapping[BranchName, Commit]) -> Metadata:
    """Metadata of the materialization that a successful job is."""
    known = {labels.JOB: dg.MetadataValue.text(str(job)), **commit_metadata(commit), labels.INPUTS: _inputs(consumed), **counter_metadata(job)}
    try:
        pictures, listing = _content_metadata(workspace, commit)
    except PachydermError as error:
        # The job is done, and its commit finished; a store that cannot be read now is no reason to call that a failure.
        return {**known, labels.UNREADABLE: dg.MetadataValue.text(str(error))}
    return {**pictures, **known, **listing}


def counter_metadata(job: Job) -> Metadata:
    """The job's counters and times as numbers, which Dagster plots over its runs."""
    counters = job.counters
    found: dict[str, int | float] = {
        labels.DATUMS_TOTAL: counters.data_total,
        labels.DATUMS_PROCESSED: counters.data_processed,
        labels.DATUMS_SKIPPED: counters.data_skipped,
        labels.DATUMS_FAILED: counters.data_failed,
        labels.DATUMS_RECOVERED: counters.data_recovered,
        labels.DOWNLOAD_BYTES: counters.download_bytes,
        labels.UPLOAD_BYTES: counters.upload_bytes,
        labels.PROCESS_SECONDS: round(counters.process_seconds, 3),
    }
    if job.started is not None and job.finished is not None:
        found[labels.SECONDS] = round((job.finished - job.started).total_seconds(), 3)
    return {name: dg.MetadataValue.int(value) if isinstance(value, int) else dg.MetadataValue.float(value) for name, value in found.items()}


def failure_metadata(workspace: Workspace, job: Job) -> Metadata:
    """Why a job did not succeed, with the files of datums that failed."""
    found: Metadata = {labels.JOB: dg.MetadataValue.text(str(job)), labels.REASON: dg.MetadataValue.text(job.reason), **counter_metadata(job)}
    if not job.counters.data_failed:
        return found
    datums = workspace.pps.list_datum(job, states={ShownState.FAILED})
    records = [
        dg.TableRecord({"datum": info.id[:12], "files": ", ".join(info.details.inputs), "reason": info.details.reason})
        for info in itertools.islice(datums, min(LISTED_FAILURES, job.counters.data_failed))
    ]
    if records:
        found[labels.FAILED_DATUMS] = dg.MetadataValue.table(records, schema=_text_columns("datum", "files", "reason"))
    return found


def describe_progress(counters: Counters) -> str:
    """A line for the run's log: `12/30 datums: 2 processed, 10 skipped`."""
    named = {
        "processed": counters.data_processed,
        "skipped": counters.data_skipped,
        "failed": counters.data_failed,
        "recovered": counters.data_recovered,
    }
    shown = ", ".join(f"{number} {name}" for name, number in named.items() if number)
    return f"{sum(named.values())}/{counters.data_total} datums" + (f": {shown}" if shown else "")


def _parent_tree(workspace: Workspace, commit: Commit) -> bytes | None:
    """What the commit was put upon; nothing when that has been forgotten."""
    with workspace.database.read() as txn:
        try:
            return commits.base_tree(txn, commit.key)
        except StateError:
            return None


def _content_metadata(workspace: Workspace, commit: Commit) -> tuple[Metadata, Metadata]:
    """What an output shows of itself: pictures, and how many files changed with the first of all files."""
    trees = workspace.pfs.trees
    parent = _parent_tree(workspace, commit)
    root, before = map(trees.decode, (commit.tree, parent))
    difference = trees.diff(before, root)
    pictures: Metadata = {}
    for path, content in _pictures([difference.new_rows]) or _pictures(itertools.islice(trees.read(root), SEARCHED_LEAVES)):
        data = base64.b64encode(workspace.pfs.reader.read(content)).decode()
        pictures[f"{labels.PICTURE} {path}"] = dg.MetadataValue.md(f"![{path}](data:image/png;base64,{data})")
    listing = _changes(difference)
    if root.count:
        listing[labels.LISTING] = _listing(next(trees.read(root)).slice(0, LISTED_FILES))
    return pictures, listing


def _inputs(consumed: Mapping[BranchName, Commit]) -> dg.MetadataValue:
    records = [
        dg.TableRecord({"branch": str(branch), "commit": commit.id, "bytes": commit.size_bytes, "message": commit.description})
        for branch, commit in sorted(consumed.items())
    ]
    columns = [dg.TableColumn("branch"), dg.TableColumn("commit"), dg.TableColumn("bytes", "int"), dg.TableColumn("message")]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


def _listing(rows: pa.Table) -> dg.MetadataValue:
    columns = (rows.column(name).to_pylist() for name in ("key", "size", "hash"))
    records = [dg.TableRecord({"path": path_of(key), "bytes": size, "hash": hash.hex()[:16]}) for key, size, hash in zip(*columns, strict=True)]
    schema = dg.TableSchema([dg.TableColumn("path"), dg.TableColumn("bytes", "int"), dg.TableColumn("hash")])
    return dg.MetadataValue.table(records, schema=schema)


def _changes(difference: TreeDiff) -> Metadata:
    """How many files are other than in the version before."""
    old, new = difference.old_rows.column("key"), difference.new_rows.column("key")
    changed = pc.sum(pc.is_in(new, value_set=old)).as_py() or 0
    numbers = {labels.FILES_ADDED: len(new) - changed, labels.FILES_CHANGED: changed, labels.FILES_DELETED: len(old) - changed}
    return {name: dg.MetadataValue.int(number) for name, number in numbers.items()}


def _pictures(leaves: Iterable[pa.Table]) -> list[tuple[str, Content]]:
    """The first few small pictures among some files."""
    found: list[tuple[str, Content]] = []
    for rows in leaves:
        fits = pc.and_(pc.ends_with(rows.column("key"), PICTURE_SUFFIX), pc.less_equal(rows.column("size"), PICTURE_BYTES))
        chosen = rows.filter(fits).slice(0, PICTURES - len(found))
        found += zip(map(path_of, chosen.column("key").to_pylist()), contents_of(chosen), strict=True)
        if len(found) == PICTURES:
            break
    return found


def _text_columns(*names: str) -> dg.TableSchema:
    return dg.TableSchema([dg.TableColumn(name) for name in names])
