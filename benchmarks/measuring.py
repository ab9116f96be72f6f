"""How the benchmarks measure: whole commands with their peak memory, work inside the process, contestants in turns, one line a figure."""

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PACHCTL = (sys.executable, "-m", "pachyderm_dagster")
PEERS = Path(__file__).parents[1] / "build" / "peers" / "bin"
"""Where `make bench-peers` puts what Debian does not have."""


@dataclass(frozen=True)
class Taken:
    """What one run took; the last two are 0 for work inside this process.

    Attributes:
        processor_seconds: of the command and of all that it waited for.
    """

    seconds: float
    peak_mib: float = 0
    processor_seconds: float = 0


def command(*words: str | Path, folder: Path, environment: Mapping[str, str] | None = None) -> Taken:
    """Runs a command without its output. The peak is that of the largest of its processes."""
    began = time.perf_counter()
    process = subprocess.Popen(words, cwd=folder, env={**os.environ, **(environment or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    taken = Taken(time.perf_counter() - began, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} failed: {complaint.decode(errors='replace')}")
    return taken


def work(function: Callable[[], object]) -> Taken:
    """Runs a function in this process."""
    began = time.perf_counter()
    function()
    return Taken(time.perf_counter() - began)


def in_turns(contestants: Mapping[str, Callable[[], Taken]], *, rounds: int = 3) -> dict[str, Taken]:
    """The median of each contestant over some rounds, after one that does not count."""
    found: dict[str, list[Taken]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, contestant in contestants.items():
            os.sync()  # nobody pays for what another has left to write
            taken = contestant()
            if number:
                found[name].append(taken)
    return {
        name: Taken(
            statistics.median(taken.seconds for taken in runs),
            max(taken.peak_mib for taken in runs),
            statistics.median(taken.processor_seconds for taken in runs),
        )
        for name, runs in found.items()
    }


def milliseconds(function: Callable[[int], object], times: int) -> list[float]:
    """How long `function(0)`, `function(1)`, … take each."""
    return [work(lambda number=number: function(number)).seconds * 1000 for number in range(times)]  # type: ignore[misc]


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of `values` lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def own_peak_mib() -> float:
    """The most memory that this process has held since its program began: what `getrusage` tells includes that of the parent that it was forked from."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def places() -> Iterator[Path]:
    """An empty folder on disk, then one on tmpfs where there is one; each is removed afterwards. `PLACES=disk` or `tmpfs` takes only that."""
    wanted = os.environ.get("PLACES", "disk,tmpfs").split(",")
    for name, parent in (("disk", os.environ.get("TMPDIR")), ("tmpfs", "/dev/shm")):
        if name not in wanted or (parent and not Path(parent).is_dir()):
            continue
        folder = Path(tempfile.mkdtemp(prefix="benchmark-", dir=parent))
        print(f"on {name}:", flush=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


def find_peer(name: str) -> str | None:
    """Where another program of this kind is; says so when it is missing."""
    found = shutil.which(name) or shutil.which(name, path=str(PEERS))
    if found is None:
        line(f"{name} is not installed (where it comes from: benchmarks/README.md)", None)
    return found


def line(what: str, ratio: float | None, aim: float | None = None, *, unit: str = "", detail: str = "") -> None:
    """Prints one figure: what it is, the figure, its aim and whether it is met, and what it was made of."""
    figure = "" if ratio is None else f"{ratio:.2f}{unit and ' ' + unit}"
    verdict = "" if aim is None or ratio is None else f"aim {aim:g}: {'met' if ratio <= aim else 'MISSED'}"
    print(f"  {what:<68} {figure:>10}  {verdict:<18} {detail}".rstrip(), flush=True)


def make_files(folder: Path, count: int, size: int, *, folders: int = 100) -> None:
    """Writes so many files of random bytes, spread evenly over folders."""
    source = random.Random(count)
    for number in range(folders):
        (folder / f"dir{number}").mkdir(parents=True)
    for number in range(count):
        descriptor = os.open(folder / f"dir{number % folders}" / f"file{number:07}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(descriptor, source.randbytes(size))
        os.close(descriptor)
