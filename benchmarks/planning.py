"""What planning takes: a million files of one `/*` input, batches of them, a join of a hundred thousand with as many, a group.

A figure is seconds and the memory that a process of its own needs for it, imports included. The peer is the slow, obvious way: dictionaries and `hashlib`,
one file after the other, without reading a tree.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa

from benchmarks.measuring import line, own_peak_mib, work
from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.pfs.entries import ENTRIES
from pachyderm_dagster.pfs.reading import glob_files, glob_in_parts
from pachyderm_dagster.pps.changed_datums import ConsideredDatums, changed_datums
from pachyderm_dagster.pps.datums import Datums, DatumState, datum_table
from pachyderm_dagster.pps.inputs import Batch, GroupInput, Input, JoinInput, PfsInput, leaf_key, leaves
from pachyderm_dagster.pps.plan import plan
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.rows import DATUM_ROWS, FILE_ROWS
from pachyderm_dagster.storage.scratch import Scratch
from pachyderm_dagster.storage.trees import TreeRoot, Trees

ROUNDS = 3
CHANGE = "1,000,000 datums of which one changed"
MEMORY_MIB = 512


def build(trees: Trees, keys: list[str]) -> bytes:
    """A tree of files with these keys, each with a content of its own; its root."""
    hashes = [content_digest(key.encode()) for key in keys]
    none = pa.array([[]] * len(keys), FILE_ROWS.schema.field("refs").type)
    columns = [pa.array(keys), pa.array([b""] * len(keys), pa.binary()), pa.array([1] * len(keys), pa.int64()), pa.array(hashes, pa.binary(32)), none]
    return trees.build(pa.table(columns, schema=FILE_ROWS.schema)).encode()


def million() -> list[str]:
    return [f"file-{number:07}" for number in range(1_000_000)]


def side(letter: str) -> list[str]:
    return [f"{number:06}-{letter}" for number in range(100_000)]


def keyed(name: str) -> PfsInput:
    return PfsInput(name=name, repo=name, glob="/(*)-*", join_on="$1", group_by="$1")


CASES: dict[str, tuple[Input, dict[str, Callable[[], list[str]]], float, int]] = {
    "1,000,000 datums of /*": (PfsInput(name="a", repo="a", glob="/*"), {"a": million}, 3.0, 1_000_000),
    "1,000,000 files in batches of 500": (PfsInput(name="a", repo="a", glob="/*", batch=Batch(files=500)), {"a": million}, 3.0, 2_664),
    "join of 100,000 with 100,000": (JoinInput((keyed("a"), keyed("b"))), {"a": lambda: side("a"), "b": lambda: side("b")}, 2.0, 100_000),
    "group of 100,000 with 100,000": (GroupInput((keyed("a"), keyed("b"))), {"a": lambda: side("a"), "b": lambda: side("b")}, 2.0, 100_000),
}


def plan_once(trees: Trees, input: Input, roots: dict[str, TreeRoot], base: pa.Table, folder: Path) -> Datums:
    """What a job does before it runs a datum."""
    scratch = Scratch(folder)
    files = {leaf_key(leaf): scratch.keep(ENTRIES, glob_in_parts(trees, roots[leaf.repo], leaf.glob)) for leaf in leaves(input)}
    datums = datum_table(input, files, "salt", scratch)
    plan(datums, base)
    return datums


def measure(case: str, folder: str) -> None:
    """Plans one case a few times and prints its best time, its memory and the number of datums, as JSON."""
    input, repos, _, _ = CASES[case]
    trees = Trees(open_store(f"file://{folder}"), FILE_ROWS)
    stored = json.loads((Path(folder) / "roots.json").read_text())
    roots = {name: trees.decode(bytes.fromhex(stored[f"{case}/{name}"])) for name in repos}
    made: list[Datums] = []
    base = DATUM_ROWS.schema.empty_table()
    seconds, processor = [], []
    for _ in range(ROUNDS):
        made.clear()
        began = time.process_time()
        seconds.append(work(lambda: made.append(plan_once(trees, input, roots, base, Path(folder)))).seconds)
        processor.append(time.process_time() - began)
    print(json.dumps({"seconds": min(seconds), "processor": min(processor), "peak": own_peak_mib(), "datums": len(made[0])}))


def measure_change(folder: str) -> None:
    """Plans a job that reads a million files of which one changed since the job before did all of them; prints as `measure`."""
    case = next(iter(CASES))
    input, _, _, _ = CASES[case]
    assert isinstance(input, PfsInput)
    store = open_store(f"file://{folder}")
    trees, meta_trees = Trees(store, FILE_ROWS), Trees(store, DATUM_ROWS)
    before = trees.decode(bytes.fromhex(json.loads((Path(folder) / "roots.json").read_text())[f"{case}/a"]))
    changed = trees.find(before, pa.array(["file-0500000"]))
    changed = changed.set_column(changed.schema.get_field_index("hash"), changed.schema.field("hash"), [pa.array([content_digest(b"new")], pa.binary(32))])
    now = trees.apply(before, changed)
    base = meta_trees.build(done(datum_table(input, {leaf_key(input): glob_files(trees, before, input.glob)}, "salt")))
    made: list[ConsideredDatums | None] = []

    def once() -> None:
        made.append(changed_datums(trees, meta_trees, input, "salt", before, now, base))
        assert made[-1] is not None
        plan(made[-1].datums, made[-1].base_rows)

    seconds = [work(once).seconds for _ in range(ROUNDS)]
    assert made[-1] is not None
    print(json.dumps({"seconds": min(seconds), "processor": min(seconds), "peak": own_peak_mib(), "datums": made[-1].total}))


def done(datums: Datums) -> pa.Table:
    """The rows of a job that did all of these."""
    rows = datums.table.select(["id", "hash"]).rename_columns(["key", "hash"]).sort_by("key").combine_chunks()
    count = len(rows)
    nothing = pa.array([[]] * count, DATUM_ROWS.schema.field("outputs").type)
    details = pa.array([{"size": 0, "hash": bytes(32), "refs": []}] * count, DATUM_ROWS.schema.field("details").type)
    columns = {"state": pa.array([DatumState.PROCESSED.value] * count, pa.uint8()), "job": pa.array([""] * count), "outputs": nothing, "details": details}
    columns |= {name: rows.column(name) for name in ("key", "hash")}
    return pa.table([columns[field.name] for field in DATUM_ROWS.schema], schema=DATUM_ROWS.schema)


def slow(input: Input, repos: dict[str, list[str]]) -> int:
    """As many ids and hashes by dictionaries; the number of datums."""
    by_key: dict[str, list[str]] = defaultdict(list)
    for name, keys in repos.items():
        for key in keys:
            by_key[key.partition("-")[0] if isinstance(input, JoinInput | GroupInput) else key].append(f"{name}/{key}")
    return len({_identity(paths) for paths in by_key.values()})


def _identity(paths: Iterable[str]) -> tuple[str, bytes]:
    id, hash = hashlib.blake2b(digest_size=32), hashlib.blake2b(digest_size=32)
    for path in paths:
        for part in ("name", "repo", "master", path):
            id.update(len(part).to_bytes(8, "little") + part.encode())
        hash.update(hashlib.blake2b(path.encode(), digest_size=32).digest())
    return id.hexdigest(), hash.digest()


def main() -> None:
    """Prints a figure a case; with a case and a folder as arguments it is the process that is measured."""
    if len(sys.argv) > 1:
        if sys.argv[1] == CHANGE:
            measure_change(sys.argv[2])
        else:
            measure(sys.argv[1], sys.argv[2])
        return
    with tempfile.TemporaryDirectory() as folder:
        trees = Trees(open_store(f"file://{folder}"), FILE_ROWS)
        built: dict[str, str] = {}
        for case, (_, repos, _, _) in CASES.items():
            built |= {f"{case}/{name}": build(trees, keys()).hex() for name, keys in repos.items()}
        (Path(folder) / "roots.json").write_text(json.dumps(built))
        ran = subprocess.run([sys.executable, __file__, CHANGE, folder], check=True, capture_output=True, text=True)
        found = json.loads(ran.stdout)
        line(f"plan {CHANGE}", 1000 * found["seconds"], 100, unit="ms", detail=f"{found['datums']:,} datums")
        for case, (input, repos, aim, expected) in CASES.items():
            ran = subprocess.run([sys.executable, __file__, case, folder], check=True, capture_output=True, text=True)
            found = json.loads(ran.stdout)
            line(f"plan {case}", found["seconds"], aim, unit="s", detail=f"{found['processor']:.2f} s of a processor, {found['datums']:,} datums")
            line("  its memory", found["peak"], MEMORY_MIB, unit="MiB")
            if isinstance(input, PfsInput) and input.batch:
                continue
            if found["datums"] != expected:
                raise SystemExit(f"{case}: {found['datums']:,} datums instead of {expected:,}")
            files = {name: keys() for name, keys in repos.items()}
            peer = work(lambda input=input, files=files: slow(input, files)).seconds  # type: ignore[misc]
            line("  against dictionaries", found["seconds"] / peer, detail=f"{peer:.2f} s")


if __name__ == "__main__":
    main()
