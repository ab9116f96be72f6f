"""What Dagster shows of an output that an IO manager keeps: commit, path, sizes, and of tables their rows and columns."""

from collections.abc import Mapping, Sequence

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.integration.commit_events import commit_metadata
from pachyderm_dagster.integration.io_reading import StoredFolder, find_hash
from pachyderm_dagster.integration.io_versions import ChosenCommit
from pachyderm_dagster.pfs.model import Commit
from pachyderm_dagster.pfs.open_files import ReadableContent
from pachyderm_dagster.pfs.paths import ROOT
from pachyderm_dagster.workspace import Workspace

SCHEMA_FILES = 20
LISTED_FILES = 20


def output_metadata(workspace: Workspace, commit: Commit, folders: Sequence[str], *, partitioned: bool) -> dict[str, dg.MetadataValue]:
    """What Dagster shows of an output; read from what is stored, so that it is true for a commit that an earlier attempt made too."""
    home = str(workspace.settings.home)
    stored = [StoredFolder.open(workspace.pfs, home, commit, folder) for folder in folders if find_hash(workspace.pfs, commit, folder) is not None]
    folder = folders[0] if len(folders) == 1 else ROOT
    found = {
        **commit_metadata(commit),
        labels.REPO: dg.MetadataValue.text(str(commit.repo)),
        labels.BRANCH: dg.MetadataValue.text(commit.branch or ""),
        labels.PATH: dg.MetadataValue.text(folder),
        labels.URI: dg.MetadataValue.text(f"pfs://{commit.repo.project}/{commit.repo.name}@{commit.id}{folder.rstrip('/')}"),
        labels.FILES: dg.MetadataValue.int(sum(len(one.contents) for one in stored)),
        labels.BYTES: dg.MetadataValue.int(sum(one.size_bytes for one in stored)),
        labels.LISTING: _listing(stored),
    }
    return {**found, **_table_metadata(stored, partitioned=partitioned)}


def input_table(read: Mapping[str, ChosenCommit]) -> dg.MetadataValue:
    """The commits that a step read, by asset, and why those."""
    records = [
        dg.TableRecord({"asset": asset, "branch": choice.commit.branch or "", "commit": choice.commit.id, "because": str(choice.reason)})
        for asset, choice in sorted(read.items())
    ]
    return dg.MetadataValue.table(records, schema=dg.TableSchema([dg.TableColumn(name) for name in ("asset", "branch", "commit", "because")]))


def _listing(stored: Sequence[StoredFolder]) -> dg.MetadataValue:
    rows = [(f"{folder.path.rstrip('/')}/{name}", content.size) for folder in stored for name, content in list(folder.contents.items())[:LISTED_FILES]]
    records = [dg.TableRecord({"path": path, "bytes": size}) for path, size in rows[:LISTED_FILES]]
    return dg.MetadataValue.table(records, schema=dg.TableSchema([dg.TableColumn("path"), dg.TableColumn("bytes", "int")]))


def _table_metadata(stored: Sequence[StoredFolder], *, partitioned: bool) -> dict[str, dg.MetadataValue]:
    """Rows and columns, where all files are Parquet and not too many."""
    contents = [content for folder in stored for name, content in folder.contents.items() if name.endswith(".parquet")]
    if not contents or len(contents) != sum(len(folder.contents) for folder in stored) or len(contents) > SCHEMA_FILES:
        return {}
    try:
        footers = [pq.ParquetFile(ReadableContent(stored[0].pfs.reader, content)) for content in contents]
        columns = [
            dg.TableColumn(field.name, str(field.type), constraints=dg.TableColumnConstraints(nullable=field.nullable)) for field in footers[0].schema_arrow
        ]
    except pa.ArrowException:
        # A user's own files may only be called so.
        return {}
    return {
        labels.PARTITION_ROW_COUNT if partitioned else labels.ROW_COUNT: dg.MetadataValue.int(sum(footer.metadata.num_rows for footer in footers)),
        labels.COLUMN_SCHEMA: dg.MetadataValue.table_schema(dg.TableSchema(columns)),
    }
