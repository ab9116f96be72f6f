"""Large files through a pod: 64 MiB each, read from the store, written to `/pfs/out` by user code, stored again; against `cp` of them on the same disk, and
against a script around obstore that does the same with the same program: what the store's server and its client cost whoever uses them.

It runs where there is a cluster, as `jobs_in_pods.py` does, whose node has its volumes and whose store has its objects on the disk of TMPDIR. User code swaps
bytes, so that all of its output is stored, and none found to be there already. Pod and peers weigh the same on the processors. Aims: 2.0 of `cp` + sync, 1.2
of the script.

The script's seconds of all processors, the server's among them, divided by their number, are the least that it can take here, however it is written: where
that is more than twice `cp`, so is whoever moves the same bytes by the same server on the same machine.

Usage: python -m benchmarks.transfer [MIB]   (10,240 unless told, when the disk has four times that)
"""

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import obstore

from benchmarks.cluster_load import ClusterLoad, own_seconds
from benchmarks.jobs_in_pods import IMAGE, NEEDED, add_pipeline, pods_home, run_seconds, share_of_pods
from benchmarks.jobs_in_pods import make_job as make_small_job
from benchmarks.measuring import Taken, command, line, work
from pachyderm_dagster.pps.model import Job
from pachyderm_dagster.storage.buckets import connect_bucket
from pachyderm_dagster.workspace import Workspace

MIB = 1024 * 1024
FILE_MIB, MOST_MIB, SPACE, AIM, SCRIPT_AIM = 64, 10_240, 4, 2.0, 1.2
CLIENT_THREADS = 4
CORES = len(os.sched_getaffinity(0))
# Another content in each chunk, at the speed of a copy.
SWAP = "busybox dd if={source} of={target} bs=1M conv=swab 2>/dev/null"
COMMAND = ("sh", "-c", f"for file in /pfs/large/*; do {SWAP.format(source='$file', target='/pfs/out/${file##*/}')}; done")
names = itertools.count()


def main() -> None:
    """Prints the figures; an argument is the size of all files."""
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        line(f"left out: there is no cluster to measure on ({', '.join(missing)} not set)", None)
        return
    with tempfile.TemporaryDirectory() as folder, pods_home(Path(folder)) as (home, settings):
        room = shutil.disk_usage(folder).free // MIB // SPACE
        count = (int(sys.argv[1]) if len(sys.argv) > 1 else min(MOST_MIB, room)) // FILE_MIB
        measure(home, settings, Path(folder), count)


def measure(home: Workspace, settings: Mapping[str, str], folder: Path, count: int) -> None:
    """So many files: in one pod each a datum, and all of them one; and the peer before and after."""
    assert home.settings.kubernetes is not None
    # What a node reads for its first worker is not what files cost, and a kubelet says nothing of pods before there was one.
    run_seconds(home, settings, make_small_job(home, 1, 1))
    load = ClusterLoad(home.settings.kubernetes)
    source = folder / "source"
    make_source(source, count)
    node = load.nodes()[0]
    with share_of_pods(node):
        copies, scripts = [copied(folder, source)], [done_by_script(folder, source)]
    repo = put(home, source)
    for what, glob in (("one datum", "/"), ("each a datum", "/*")):
        job, before = make_job(home, repo, glob), load.now()
        os.sync()
        taken = run_seconds(home, settings, job)
        usage = load.now() - before
        with share_of_pods(node):
            copies.append(copied(folder, source))
            scripts.append(done_by_script(folder, source))
        copy, script = (sum(one.seconds for one in peers[-2:]) / 2 for peers in (copies, [one.taken for one in scripts]))
        sizes = f"{taken:.1f} s ({count * FILE_MIB / taken:.0f} MiB/s), cp {copy:.1f} s"
        line(f"{count} files of {FILE_MIB} MiB through a pod, {what} / cp + sync", taken / copy, AIM, detail=sizes)
        line("the same / a script around obstore", taken / script, SCRIPT_AIM, detail=f"{script:.1f} s")
        own, machine = (sum(seconds) / 2 for seconds in zip(*((one.processor_seconds, one.machine_seconds) for one in scripts[-2:]), strict=True))
        line("the same, seconds of processors without the store's server", usage.pod_seconds / own, None, detail=f"{usage.pod_seconds:.1f} s, {own:.1f} s")
        least = machine / CORES
        line("the least that the script could take / cp + sync", least / copy, detail=f"{machine:.1f} s of all that ran, {CORES} processors")
        line("through the pod / that least", taken / least)


def make_source(folder: Path, count: int) -> None:
    """Files that nothing can compress, and that share nothing."""
    folder.mkdir()
    for number in range(count):
        with open(folder / f"{number:04}", "wb") as file:
            for _ in range(FILE_MIB):
                file.write(os.urandom(MIB))


def copied(folder: Path, source: Path) -> Taken:
    """A copy of them, until it is on the disk."""
    os.sync()
    copy = folder / "copy"
    taken = command("sh", "-c", f"cp -r {source} {copy} && sync", folder=folder)
    shutil.rmtree(copy)
    return taken


@dataclass(frozen=True)
class Script:
    """What the script took, its seconds of processors, and those of all that ran on this machine meanwhile: the store's server is one of them."""

    taken: Taken
    processor_seconds: float
    machine_seconds: float


def done_by_script(folder: Path, source: Path) -> Script:
    """Each file is fetched to the disk, swapped by the same program, and stored as one object."""
    bucket = connect_bucket(f"{os.environ['TEST_STORAGE_S3_URL']}/{uuid.uuid4().hex}")
    fetched, made = folder / "fetched", folder / "made"
    names = sorted(path.name for path in source.iterdir())
    for name in names:
        obstore.put(bucket, name, (source / name).read_bytes(), use_multipart=False)
    fetched.mkdir()
    made.mkdir()
    os.sync()

    def move(name: str) -> None:
        with open(fetched / name, "wb") as file:
            file.writelines(obstore.get(bucket, name).stream())
        subprocess.run(["sh", "-c", SWAP.format(source=fetched / name, target=made / name)], check=True)
        obstore.put(bucket, f"made/{name}", (made / name).read_bytes(), use_multipart=False)

    before, all_before = own_seconds(), machine_seconds()
    with ThreadPoolExecutor(CLIENT_THREADS) as pool:
        taken = work(lambda: list(pool.map(move, names)))
    processor_seconds, all_seconds = own_seconds() - before, machine_seconds() - all_before
    for name in names:
        obstore.delete(bucket, [name, f"made/{name}"])
    shutil.rmtree(fetched)
    shutil.rmtree(made)
    return Script(taken, processor_seconds, all_seconds)


def machine_seconds() -> float:
    """In which processors of this machine were not idle, since it began."""
    user, nice, system, _, _, interrupts, soft, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def put(home: Workspace, source: Path) -> str:
    """A repo with the files."""
    repo = f"large-{uuid.uuid4().hex[:6]}"
    home.pfs.create_repo(repo)
    with home.pfs.modify_file(f"{repo}@master") as changes:
        for path in sorted(source.iterdir()):
            with path.open("rb") as file:
                changes.put_stream(f"/{path.name}", file)
    return repo


def make_job(home: Workspace, repo: str, glob: str) -> Job:
    """A job of one worker."""
    spec = {
        "pipeline": {"name": f"swapped-{next(names)}-{int(time.time())}"},
        "input": {"pfs": {"repo": repo, "name": "large", "glob": glob}},
        "transform": {"image": IMAGE, "cmd": COMMAND},
        "parallelism_spec": {"constant": 1},
    }
    return add_pipeline(home, spec)


if __name__ == "__main__":
    main()
