"""Storage inside the process, as ratios in one run: import and export of many small files, one changed file, one large file.

Aims: importing 100,000 files of 1 KiB (read, stored, tree built, durable) at most 1.5 of `tar cf` + sync of the same folder to the same file system, both warm;
one changed file in less than 20 ms, at most 1.5 times as long on 1,000,000 files as on 100,000.

Usage: python benchmarks/storage.py [FOLDER]   (work there; default: the temporary folder)
"""

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from pachyderm_dagster.storage.content import ContentReader, ContentWriter
from pachyderm_dagster.storage.export import export_files
from pachyderm_dagster.storage.ingest import ingest_files
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.rows import HASH_TYPE, REF_TYPE, content_array, contents_of
from pachyderm_dagster.storage.trees import FILE_ROWS, TreeRoot, Trees

FOLDERS, FILES_PER_FOLDER, FILE_BYTES = 100, 1000, 1024
LARGE_BYTES = 256 * 1024 * 1024
ROUNDS = 3
IMPORT_AIM, CHANGE_AIM_MS, GROWTH_AIM = 1.5, 20, 1.5


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def interleaved(contestants: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """The median of each contestant's seconds over some rounds, after one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for round_number in range(ROUNDS + 1):
        for name, measure in contestants.items():
            os.sync()  # nobody pays for what another has left to write
            taken = measure()
            if round_number:
                times[name].append(taken)
    return {name: statistics.median(taken) for name, taken in times.items()}


def new_store(folder: Path) -> tuple[Path, ObjectStore]:
    place = Path(tempfile.mkdtemp(dir=folder))
    return place, open_store(place.as_uri())


def make_small_files(folder: Path) -> list[str]:
    source = random.Random(1)
    names = [f"f{number // FILES_PER_FOLDER:03}/n{number % FILES_PER_FOLDER:04}" for number in range(FOLDERS * FILES_PER_FOLDER)]
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.randbytes(FILE_BYTES))
    return names


def import_files(store: ObjectStore, source: Path, names: list[str]) -> TreeRoot:
    contents = ingest_files(store, [f"{source}/{name}" for name in names])
    columns = [pa.array([name.replace("/", "\0") for name in names]), pa.array([b""] * len(names), pa.binary()), *contents.columns]
    return Trees(store, FILE_ROWS).build(pa.Table.from_arrays(columns, schema=FILE_ROWS.schema))


def measure_small_files(folder: Path) -> None:
    source = folder / "source"
    names = make_small_files(source)

    def tar() -> float:
        archive = folder / "archive.tar"
        taken = seconds(lambda: run("sh", "-c", f"tar cf {archive} -C {folder} source && sync -f {archive}"))
        archive.unlink()
        return taken

    def ours() -> float:
        place, store = new_store(folder)
        taken = seconds(lambda: import_files(store, source, names))
        shutil.rmtree(place)
        return taken

    found = interleaved({"tar": tar, "ours": ours})
    print(f"import {len(names):,} x {FILE_BYTES} B: {found['ours']:.2f} s, tar cf + sync {found['tar']:.2f} s")
    print(f"  ratio {found['ours'] / found['tar']:.2f} (aim {IMPORT_AIM})")
    measure_export(folder, source, names)


def measure_export(folder: Path, source: Path, names: list[str]) -> None:
    _, store = new_store(folder)
    contents = contents_of(ingest_files(store, [f"{source}/{name}" for name in names]))
    archive = folder / "archive.tar"
    run("tar", "cf", str(archive), "-C", str(folder), "source")
    target = folder / "target"
    target.mkdir()
    ours = seconds(lambda: export_files(store, contents, [f"{target}/{name}" for name in names]))
    shutil.rmtree(target)
    target.mkdir()
    tar = seconds(lambda: run("tar", "xf", str(archive), "-C", str(target)))
    print(f"export the same, once: {ours:.2f} s, tar xf {tar:.2f} s\n  ratio {ours / tar:.2f}")


def tree_rows(count: int) -> pa.Table:
    keys = pa.array([f"folder{number % FOLDERS:03}\0file{number:07}" for number in range(count)])
    object_id = os.urandom(32)
    places = [pa.array([object_id] * count, pa.binary(32)), pa.array(np.arange(count) * FILE_BYTES), pa.array([FILE_BYTES] * count)]
    refs = pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32)), pa.StructArray.from_arrays(places, fields=list(REF_TYPE)))
    hashes = pa.Array.from_buffers(HASH_TYPE, count, [None, pa.py_buffer(os.urandom(32 * count))])
    return pa.Table.from_arrays([keys, pa.array([b""] * count), pa.array([FILE_BYTES] * count), hashes, refs], schema=FILE_ROWS.schema)


def measure_changes(folder: Path) -> None:
    place, store = new_store(folder)
    counts = (100_000, 1_000_000)
    roots = {count: Trees(store, FILE_ROWS).build(tree_rows(count)) for count in counts}
    source = random.Random(2)
    for changed in (1, 100):
        times: dict[int, list[tuple[float, float]]] = {count: [] for count in counts}
        for _ in range(5 * ROUNDS):
            for count in counts:
                numbers = source.sample(range(count), changed)
                times[count].append(change(store, roots[count], [f"folder{number % FOLDERS:03}\0file{number:07}" for number in numbers]))
        applied, compared = ({count: statistics.median(pair[at] for pair in times[count]) * 1000 for count in counts} for at in (0, 1))
        print(f"change {changed} of 100,000 files: {applied[counts[0]]:.1f} ms, of 1,000,000: {applied[counts[1]]:.1f} ms")
        if changed == 1:
            print(f"  (aim {CHANGE_AIM_MS} ms) ratio {applied[counts[1]] / applied[counts[0]]:.2f} (aim {GROWTH_AIM})")
        print(f"  their difference: {compared[counts[0]]:.1f} ms and {compared[counts[1]]:.1f} ms")
    shutil.rmtree(place)


def change(store: ObjectStore, root: TreeRoot, keys: list[str]) -> tuple[float, float]:
    """Seconds to write new contents for `keys` and change the tree, durable, with nothing cached; and to find the difference."""
    trees = Trees(store, FILE_ROWS)
    bodies = [os.urandom(FILE_BYTES) for _ in keys]
    started = time.perf_counter()
    with ContentWriter(store) as writer:
        contents = [writer.write(body) for body in bodies]
    columns = [pa.array(keys), pa.array([b""] * len(keys), pa.binary()), *content_array(contents).flatten()]
    changed = trees.apply(root, pa.Table.from_arrays(columns, schema=FILE_ROWS.schema))
    applied = time.perf_counter() - started
    compared = seconds(lambda: Trees(store, FILE_ROWS).diff(root, changed))
    return applied, compared


def measure_large_file(folder: Path) -> None:
    source, inserted, copy = folder / "large", folder / "inserted", folder / "copy"
    source_of_bytes = random.Random(3)
    data = b"".join(source_of_bytes.randbytes(FILE_BYTES) for _ in range(LARGE_BYTES // FILE_BYTES))
    source.write_bytes(data)
    inserted.write_bytes(data[: LARGE_BYTES // 2] + b"!" + data[LARGE_BYTES // 2 :])
    stores: list[ObjectStore] = []

    def write(path: Path) -> None:
        with ContentWriter(stores[-1]) as writer, open(path, "rb", buffering=0) as file:
            writer.write_stream(file)

    def first() -> float:
        stores.append(new_store(folder)[1])
        return seconds(lambda: write(source))

    def copied() -> float:
        copy.unlink(missing_ok=True)
        return seconds(lambda: run("sh", "-c", f"cp {source} {copy} && sync -f {copy}"))

    found = interleaved({"cp": copied, "ours": first, "again": lambda: seconds(lambda: write(inserted))})
    print(f"one file of {LARGE_BYTES >> 20} MiB: {found['ours']:.2f} s, cp + sync {found['cp']:.2f} s\n  ratio {found['ours'] / found['cp']:.2f}")
    print(f"again with a byte inserted: {found['again']:.2f} s\n  ratio {found['again'] / found['cp']:.2f}")
    with ContentWriter(stores[-1]) as writer:
        content = writer.write(data)

    def read() -> None:
        with open(copy, "wb", buffering=0) as file:
            for piece in ContentReader(stores[-1]).stream(content):
                file.write(piece)

    found = interleaved({"cp": lambda: seconds(lambda: run("cp", str(source), str(copy))), "ours": lambda: seconds(read)})
    print(f"read back: {found['ours']:.2f} s, cp {found['cp']:.2f} s\n  ratio {found['ours'] / found['cp']:.2f}")


def main() -> None:
    base = sys.argv[1] if len(sys.argv) > 1 else None
    for measure in (measure_changes, measure_small_files, measure_large_file):
        with tempfile.TemporaryDirectory(dir=base, prefix="storage-benchmark-") as folder:
            measure(Path(folder))


if __name__ == "__main__":
    main()
