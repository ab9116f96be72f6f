"""What can be seen of the files in a commit: the first of them, how many there are, tables, pictures. Of a million files a few thousand are looked at."""

import base64
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.integration.shown_tables import table_metadata
from pachyderm_dagster.pfs.paths import ROOT, directory_range, path_of
from pachyderm_dagster.storage.content import Content, ContentReader
from pachyderm_dagster.storage.rows import FILE_ROWS, contents_of
from pachyderm_dagster.storage.trees import TreeRoot, Trees

LISTED_FILES = 20
LOOKED_AT = 1000
"""Tables are looked for among so many files."""
PICTURES = 2
PICTURE_BYTES = 256 * 1024
PICTURE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml"}
SEARCHED_LEAVES = 20
"""Where a commit changed no picture, one is looked for in so many leaves, about twenty thousand files."""
_PICTURE_NAMES = rf"(?i)\.({'|'.join(suffix[1:] for suffix in PICTURE_TYPES)})$"

Metadata = dict[str, dg.MetadataValue]


@dataclass(frozen=True, slots=True)
class ShownFiles:
    """The first files in some directories of a tree, and how many files there are in them, with their bytes."""

    rows: pa.Table
    count: int
    size_bytes: int

    @staticmethod
    def of(trees: Trees, root: TreeRoot, folders: Sequence[str] = (ROOT,)) -> "ShownFiles":
        """Looks at a leaf of each directory, until that is enough; directories that do not exist are empty."""
        sums = [trees.sums(root, *directory_range(folder)) for folder in folders]
        leaves, found = [FILE_ROWS.schema.empty_table()], 0
        for folder in folders:
            leaf = next(trees.read(root, *directory_range(folder)), None) if found < LOOKED_AT else None
            if leaf is not None:
                leaves.append(leaf.slice(0, LOOKED_AT - found))
                found += len(leaves[-1])
        return ShownFiles(pa.concat_tables(leaves), sum(count for count, _ in sums), sum(size for _, size in sums))

    def listing(self) -> dg.MetadataValue:
        """The first of them, as a table."""
        columns = (self.rows.slice(0, LISTED_FILES).column(name).to_pylist() for name in ("key", "size", "hash"))
        records = [dg.TableRecord({"path": path_of(key), "bytes": size, "hash": hash.hex()[:16]}) for key, size, hash in zip(*columns, strict=True)]
        return dg.MetadataValue.table(records, schema=dg.TableSchema([dg.TableColumn("path"), dg.TableColumn("bytes", "int"), dg.TableColumn("hash")]))

    def tables(self, reader: ContentReader, *, partitioned: bool = False) -> Metadata:
        """Columns and rows of the tables among them. Errors as `table_metadata`."""
        paths = map(path_of, self.rows.column("key").to_pylist())
        files = dict(zip(paths, contents_of(self.rows), strict=True))
        return table_metadata(reader, files, is_all=len(files) == self.count, partitioned=partitioned)


def picture_metadata(trees: Trees, reader: ContentReader, root: TreeRoot, changed: pa.Table | None) -> Metadata:
    """The first few small pictures that a commit changed, or that are in it when it changed none; each as Markdown that holds it.

    Args:
        changed: file rows, if it is known which.
    """
    found = _pictures([] if changed is None else [changed]) or _pictures(itertools.islice(trees.read(root), SEARCHED_LEAVES))
    return {f"{labels.PICTURE} {path}": dg.MetadataValue.md(f"![{path}]({_data_url(path, reader.read(content))})") for path, content in found}


def _data_url(path: str, data: bytes) -> str:
    return f"data:{PICTURE_TYPES[PurePosixPath(path).suffix.lower()]};base64,{base64.b64encode(data).decode()}"


def _pictures(leaves: Iterable[pa.Table]) -> list[tuple[str, Content]]:
    found: list[tuple[str, Content]] = []
    for rows in leaves:
        fits = pc.and_(pc.match_substring_regex(rows.column("key"), _PICTURE_NAMES), pc.less_equal(rows.column("size"), PICTURE_BYTES))
        chosen = rows.filter(fits).slice(0, PICTURES - len(found))
        found += zip(map(path_of, chosen.column("key").to_pylist()), contents_of(chosen), strict=True)
        if len(found) == PICTURES:
            break
    return found
