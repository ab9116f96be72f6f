"""The datums that changes touch: compared with a look at all of them."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.pfs.paths import key_of
from pachyderm_dagster.pfs.reading import glob_files
from pachyderm_dagster.pps.changed_datums import MOST_CHANGED, changed_datums
from pachyderm_dagster.pps.datums import Datums, DatumState, datum_table
from pachyderm_dagster.pps.inputs import Batch, CrossInput, Input, PfsInput, leaf_key
from pachyderm_dagster.pps.plan import Plan, plan
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.rows import DATUM_ROWS, FILE_ROWS
from pachyderm_dagster.storage.trees import TreeRoot, Trees

Files = dict[str, int]
names = st.sampled_from(["a", "b", "c", "a.txt"])
# No name is a file in one version and a directory in the same one.
paths = st.one_of(names.map(lambda name: f"/{name}"), st.tuples(names, names).map(lambda pair: f"/dir-{pair[0]}/{pair[1]}"))
versions = st.dictionaries(paths, st.integers(0, 2), max_size=8)
globs = st.sampled_from(["/*", "/**", "/dir-*", "/dir-*/*", "/*.txt", "/dir-a", "/dir-a/*", "/{a,dir-b}*", "/*/a", "/a", "/dir-?/*.txt"])


class World:
    """Trees in memory."""

    def __init__(self) -> None:
        store = open_store("memory://")
        self.files, self.meta = Trees(store, FILE_ROWS), Trees(store, DATUM_ROWS)

    def tree(self, files: Files) -> TreeRoot:
        keys = sorted(map(key_of, files))
        contents = {key_of(path): content_digest(bytes([content])) for path, content in files.items()}
        none = pa.array([[]] * len(keys), FILE_ROWS.schema.field("refs").type)
        columns = [pa.array(keys), pa.array([b""] * len(keys), pa.binary()), pa.array([1] * len(keys), pa.int64())]
        return self.files.build(pa.table([*columns, pa.array([contents[key] for key in keys], pa.binary(32)), none], schema=FILE_ROWS.schema))

    def all_datums(self, input: PfsInput, root: TreeRoot) -> Datums:
        return datum_table(input, {leaf_key(input): glob_files(self.files, root, input.glob)}, "salt")

    def done(self, datums: Datums) -> TreeRoot:
        """The meta tree of a job that did all of these."""
        rows = datums.table.select(["id", "hash"]).to_pylist()
        details = {"size": 0, "hash": bytes(32), "refs": []}
        done = [{"key": row["id"], "hash": row["hash"], "state": DatumState.PROCESSED.value, "job": "", "outputs": [], "details": details} for row in rows]
        return self.meta.build(pa.Table.from_pylist(sorted(done, key=lambda row: str(row["key"])), schema=DATUM_ROWS.schema))


def decided(chosen: Plan) -> tuple[set[str], set[str]]:
    """The ids that run, and those that leave the base."""
    return set(chosen.ids(chosen.run).to_pylist()), set(chosen.drop.to_pylist())


@given(before=versions, now=versions, glob=globs)
def test_plan_is_that_of_a_look_at_all_datums(before: Files, now: Files, glob: str) -> None:
    world, input = World(), PfsInput(name="data", repo="data", glob=glob)
    old, new = world.tree(before), world.tree(now)
    base = world.done(world.all_datums(input, old))
    every_one = world.all_datums(input, new)
    found = changed_datums(world.files, world.meta, input, "salt", old, new, base)
    assert found is not None
    assert found.total == len(every_one)
    assert decided(plan(found.datums, found.base_rows)) == decided(plan(every_one, world.meta.table(base)))
    assert files_by_id(found.datums).items() <= files_by_id(every_one).items()


def files_by_id(datums: Datums) -> dict[str, Any]:
    return dict(zip(datums.table.column("id").to_pylist(), datums.files_of(range(len(datums))), strict=True))


@pytest.mark.parametrize(
    "input",
    [
        PfsInput(name="data", repo="data", glob="/"),
        PfsInput(name="data", repo="data", glob="/*", batch=Batch(files=2)),
        CrossInput((PfsInput(name="a", repo="data", glob="/*"), PfsInput(name="b", repo="data", glob="/*"))),
    ],
    ids=["the whole", "batches", "several inputs"],
)
def test_what_a_change_does_is_not_known_of_these(input: Input) -> None:
    world = World()
    old, new = world.tree({"/a": 1}), world.tree({"/a": 2})
    assert changed_datums(world.files, world.meta, input, "salt", old, new, world.meta.empty) is None


def test_many_changes_are_a_look_at_all() -> None:
    world, input = World(), PfsInput(name="data", repo="data", glob="/*")
    old, new = (world.tree({f"/{number}": content for number in range(MOST_CHANGED + 1)}) for content in (0, 1))
    assert changed_datums(world.files, world.meta, input, "salt", old, new, world.done(world.all_datums(input, old))) is None
