"""What came of a series of rounds, kept in a file, so that a series that was interrupted goes on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec


class Round(msgspec.Struct, frozen=True):
    """A job, and what was killed in its middle.

    Attributes:
        kinds: what was to be killed, in this order.
        answered: how many datums were answered when each of them was. Shorter than `kinds` when the job was over before the others.
        problem: what was not as it should be; empty when all was.
    """

    claims: str
    datums: int
    kinds: list[str]
    answered: list[int]
    seconds: float = 0
    driver_starts: int = 0
    problem: str = ""

    @property
    def came(self) -> Sequence[str]:
        return self.kinds[: len(self.answered)]


class Sum(msgspec.Struct, frozen=True):
    """Of one kind: how often it came in the middle of a job, in how many jobs that were not as they should be, and how often the job was over before."""

    kind: str
    times: int
    failures: int
    too_late: int


def read_rounds(file: Path, claims: str) -> Sequence[Round]:
    """Those with such claims, from the oldest. A line that was not written to its end is left out."""
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    rounds = [msgspec.json.decode(line, type=Round) for line in lines if line.endswith(b"\n")]
    return [one for one in rounds if one.claims == claims]


def add_round(file: Path, done: Round) -> None:
    """Writes one more line, on a line of its own also after one that was not written to its end."""
    whole = not file.exists() or not file.stat().st_size or file.read_bytes().endswith(b"\n")
    if not whole:
        file.write_bytes(file.read_bytes().rpartition(b"\n")[0] + b"\n")
    with file.open("ab") as stream:
        stream.write(msgspec.json.encode(done) + b"\n")


def due(rounds: Sequence[Round], kinds: Sequence[str], times: int) -> Sequence[str]:
    """The kinds that came less often than that, the rarest first. What did not come because its job failed before counts as come: that job is a finding."""
    counts = {kind: sum(kind in (one.kinds if one.problem else one.came) for one in rounds) for kind in kinds}
    return sorted((kind for kind in kinds if counts[kind] < times), key=lambda kind: counts[kind])


def sums(rounds: Sequence[Round], kinds: Sequence[str]) -> Iterator[Sum]:
    for kind in kinds:
        came = [one for one in rounds if kind in one.came]
        late = [one for one in rounds if kind in one.kinds and kind not in one.came and not one.problem]
        yield Sum(kind, len(came), sum(bool(one.problem) for one in came), len(late))
