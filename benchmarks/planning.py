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
from pachyderm_dagster.pfs.reading import glob_files
from pachyderm_dagster.pps.datums import Datums, datum_table
from pachyderm_dagster.pps.inputs import Batch, GroupInput, Input, JoinInput, PfsInput, leaf_key, leaves
from pachyderm_dagster.pps.plan import plan
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.rows import DATUM_ROWS, FILE_ROWS
from pachyderm_dagster.storage.trees import TreeRoot, Trees

ROUNDS = 3
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


def plan_once(trees: Trees, input: Input, roots: dict[str, TreeRoot], base: pa.Table) -> Datums:
    """What a job does before it runs a datum."""
    datums = datum_table(input, {leaf_key(leaf): glob_files(trees, roots[leaf.repo], leaf.glob) for leaf in leaves(input)}, "salt")
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
        seconds.append(work(lambda: made.append(plan_once(trees, input, roots, base))).seconds)
        processor.append(time.process_time() - began)
    print(json.dumps({"seconds": min(seconds), "processor": min(processor), "peak": own_peak_mib(), "datums": len(made[0])}))


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
        measure(sys.argv[1], sys.argv[2])
        return
    with tempfile.TemporaryDirectory() as folder:
        trees = Trees(open_store(f"file://{folder}"), FILE_ROWS)
        built: dict[str, str] = {}
        for case, (_, repos, _, _) in CASES.items():
            built |= {f"{case}/{name}": build(trees, keys()).hex() for name, keys in repos.items()}
        (Path(folder) / "roots.json").write_text(json.dumps(built))
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
