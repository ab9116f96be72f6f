"""Writers that meet: 64 one-off puts to a branch at once, and the read of a file while 10 writers run; inside the process, on SQLite, and on PostgreSQL
where TEST_METADATA_URL names one.

Aims: all kept, 200 puts a second on SQLite, 500 on PostgreSQL; 99 of 100 reads within 20 ms.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.measuring import line, milliseconds, percentile, places, work
from pachyderm_dagster.workspace import Workspace, open_workspace
from tests.records import new_record_url

WRITERS, PUTS = 64, 10
READERS_WRITERS, READS = 10, 500


def main() -> None:
    """Prints the figures, on disk and on tmpfs."""
    for folder in places():
        measure(folder / "sqlite", None, aim=200)
        if os.environ.get("TEST_METADATA_URL"):
            # A record of its own for each place, since each has a store of its own.
            with new_record_url(folder) as url:
                measure(folder / "postgresql", url, aim=500)
        else:
            line("on PostgreSQL: no server (TEST_METADATA_URL is not set)", None)


def measure(home: Path, record: str | None, *, aim: float) -> None:
    """Puts, then reads beside puts."""
    workspace = open_workspace({"PACHYDERM_HOME": str(home), **({"PACHYDERM_METADATA_URL": record} if record else {})})
    repo = f"concurrency-{os.getpid()}-{home.parent.name}"
    workspace.pfs.create_repo(repo)
    put(workspace, repo, "/first", b"first")

    def write(writer: int) -> None:
        for number in range(PUTS):
            put(workspace, repo, f"/{writer:02}/{number:02}", b"%d" % number)

    def write_all() -> None:
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(write, range(WRITERS)))

    taken = work(write_all)
    kept = len(workspace.pfs.glob_file(f"{repo}@master", "/*/*"))
    if kept != WRITERS * PUTS:
        raise SystemExit(f"{kept} of {WRITERS * PUTS} puts were kept")
    rate = kept / taken.seconds
    verdict = "met" if rate >= aim else "MISSED"
    line(f"{WRITERS} writers at once, puts a second on {home.name}", rate, detail=f"aim {aim:g} or more: {verdict}; all {kept} kept")
    times = read_beside_writers(workspace, repo)
    line(
        f"read of one file while {READERS_WRITERS} write, 99th percentile",
        percentile(times, 0.99),
        20,
        unit="ms",
        detail=f"median {percentile(times, 0.5):.1f} ms",
    )
    workspace.pfs.delete_repo(repo)
    workspace.close()


def read_beside_writers(workspace: Workspace, repo: str) -> list[float]:
    """Milliseconds of reads of one file, with writers beside them."""
    done = threading.Event()

    def write_until_done(writer: int) -> None:
        number = 0
        while not done.is_set():
            put(workspace, repo, f"/beside/{writer}/{number}", b"x")
            number += 1

    with ThreadPoolExecutor(READERS_WRITERS) as pool:
        writers = [pool.submit(write_until_done, writer) for writer in range(READERS_WRITERS)]
        try:
            times = milliseconds(lambda _: b"".join(workspace.pfs.get_file(f"{repo}@master:/first")), READS)
        finally:
            done.set()
        for writer in writers:
            writer.result()
    return times


def put(workspace: Workspace, repo: str, path: str, data: bytes) -> None:
    """A one-off put: a commit of its own."""
    with workspace.pfs.modify_file(f"{repo}@master") as files:
        files.put_bytes(path, data)


if __name__ == "__main__":
    main()
