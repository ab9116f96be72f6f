"""Nodes that are in memory already, among nodes that are not."""

import pyarrow as pa

from pachyderm_dagster.storage.content import EMPTY_CONTENT
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.rows import FILE_ROWS, content_array
from pachyderm_dagster.storage.trees import Trees


def test_scan_after_a_lookup_reads_every_leaf(store: ObjectStore) -> None:
    keys = [f"{number:05}" for number in range(20_000)]
    rows = pa.table([keys, pa.repeat(b"", len(keys)), *content_array([EMPTY_CONTENT] * len(keys)).flatten()], schema=FILE_ROWS.schema)
    root = Trees(store, FILE_ROWS).build(rows)
    trees = Trees(store, FILE_ROWS)
    assert trees.find(root, pa.array(["00000", "15000"])).column("key").to_pylist() == ["00000", "15000"]
    assert trees.table(root).column("key").to_pylist() == keys
