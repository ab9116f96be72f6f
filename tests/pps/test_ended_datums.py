"""What datums left becomes the trees of their job, whatever is in memory of it at a time."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pps.assembly import JobTrees, assemble_meta, assemble_output
from pachyderm_dagster.pps.datums import DatumState, datum_table
from pachyderm_dagster.pps.ended_datums import EndedDatums
from pachyderm_dagster.pps.inputs import leaf_key
from pachyderm_dagster.pps.plan import Plan
from pachyderm_dagster.pps.results import Done, meta_rows, output_rows
from pachyderm_dagster.storage import sorted_rows
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.storage.file_columns import FileColumns
from pachyderm_dagster.storage.objects import Ref
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.rows import DATUM_ROWS, FILE_ROWS
from pachyderm_dagster.storage.trees import Trees
from tests.pps.builders import branch, matches

DATA = branch("data")
KEYS = st.lists(st.sampled_from(["a", "b", "a!", "é"]), min_size=1, max_size=3).map("\x00".join)


def done(name: str, *keys: str) -> Done:
    digest = content_digest(name.encode())
    content = Content(digest, 5, (Ref(digest, 0, 5),))
    return Done(digest.hex(), digest, DatumState.PROCESSED, "job", FileColumns.of((key, content) for key in keys), content)


def dropping(*gone: Done) -> Plan:
    """A plan of which only what it drops counts."""
    none = pa.array([], pa.int64())
    ids = pa.array(sorted(one.id for one in gone), pa.string())
    return Plan(none, none, ids[:0], ids, datum_table(DATA, {leaf_key(DATA): matches({})}, ""), may_restore=True)


def clash(keys: list[str]) -> bool:
    """Whether two files have one path, or one is where another has a directory."""
    return len(set(keys)) < len(keys) or any(other.startswith(f"{key}\x00") for key in keys for other in keys)


@given(base=st.lists(KEYS, max_size=4), gone=st.lists(KEYS, max_size=3), new=st.lists(KEYS, max_size=5), most_bytes=st.sampled_from([1, 200, 1 << 20]))
def test_output_is_what_stays_and_what_is_new_unless_files_clash(
    tmp_path_factory: pytest.TempPathFactory, base: list[str], gone: list[str], new: list[str], most_bytes: int
) -> None:
    base = [key for place, key in enumerate(base) if not clash([*base[:place], key])]
    gone = [key for place, key in enumerate(gone) if not clash([*base, *gone[:place], key])]
    files, metas = Trees(open_store("memory://"), FILE_ROWS), Trees(open_store("memory://"), DATUM_ROWS)
    stays, goes = done("stays", *base), done("goes", *gone)
    trees = JobTrees(files.build(output_rows([stays, goes])), metas.build(meta_rows([stays, goes])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_rows, "MOST_BYTES", most_bytes)
        ended = EndedDatums(tmp_path_factory.getbasetemp())
    ran = [done(f"datum {place}", key) for place, key in enumerate(new)]
    for one in ran:
        ended.add([one])
    if clash([*base, *new]):
        with pytest.raises(InvalidError, match="let each write a path of its own"):
            assemble_output(files, metas, trees, dropping(goes), ended.output)
    else:
        assert assemble_output(files, metas, trees, dropping(goes), ended.output).id == files.build(output_rows([stays, *ran])).id
    assert assemble_meta(metas, trees.meta, dropping(goes), ended.meta).id == metas.build(meta_rows([stays, *ran])).id


def test_memory_for_the_trees_of_a_job_hardly_grows_with_its_datums(tmp_path: Path) -> None:
    few, many = (in_a_new_process(tmp_path, count) for count in (5_000, 50_000))
    # A block of each run is in memory, and 50,000 datums have 130 of these.
    assert many < 3 * few


def in_a_new_process(folder: Path, count: int) -> int:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        return processes.submit(most_memory, folder, count).result()


def most_memory(folder: Path, count: int) -> int:
    """How much Arrow holds in this process at most for the trees of a job with so many datums, in bytes."""
    sorted_rows.MOST_BYTES = 1 << 17
    store = open_store((folder / f"store-{count}").as_uri())
    files, metas = (Trees(store, kind, cache_bytes=1 << 16) for kind in (FILE_ROWS, DATUM_ROWS))
    ended = EndedDatums(folder)
    ended.add_all((done(f"{number}", f"{number}") for number in range(count)), "job")
    meta = assemble_meta(metas, metas.empty, dropping(), ended.meta)
    output = assemble_output(files, metas, JobTrees(files.empty, metas.empty), dropping(), ended.output)
    assert (meta.count, output.count) == (count, count)
    return int(pa.default_memory_pool().max_memory())
