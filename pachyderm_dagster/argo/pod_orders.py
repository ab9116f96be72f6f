"""What the process that runs pods (`pod_host`) is asked and what it answers: a line of JSON each.

Plain classes, since that process has nothing of ours that takes memory: neither msgspec nor dataclasses.
"""

import json
from collections.abc import Mapping, Sequence

READY = -1
"""The id of the first answer: the host is ready, or why not."""


class Order:
    """A pod to run, or, without `argv`, to end.

    Attributes:
        root: the folder that becomes its root.
        folders: of the machine, by where the pod sees them; and whether it may write there.
        result: where its standard output goes too, if that is wanted.
        tells_start: there is an answer when its program runs, too.
        ports: in place of which port which other one is taken, where it listens and on the loopback.
        grace: seconds that it has to end before it is killed.
    """

    def __init__(
        self,
        id: int,
        root: str = "",
        argv: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        *,
        working_dir: str = "/",
        folders: Sequence[tuple[str, str, bool]] = (),
        log: str = "",
        result: str = "",
        tells_start: bool = False,
        ports: Sequence[tuple[int, int]] = (),
        grace: float = 2.0,
    ) -> None:
        self.id, self.root, self.argv, self.environment, self.working_dir = id, root, argv, environment or {}, working_dir
        self.folders, self.log, self.result, self.tells_start, self.ports, self.grace = folders, log, result, tells_start, ports, grace

    def line(self, id: int, *, tells_start: bool) -> bytes:
        """The order as it is sent, under another id."""
        return _line({**vars(self), "id": id, "tells_start": tells_start})


class Answer:
    """How a pod ended: its exit code, or why it did not start; or that it was started."""

    def __init__(self, id: int, code: int = 0, problem: str = "", *, started: bool = False) -> None:
        self.id, self.code, self.problem, self.started = id, code, problem, started

    def line(self) -> bytes:
        """The answer as it is sent."""
        return _line(vars(self))


def _line(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def order_of(line: bytes) -> Order:
    """The order that a line is."""
    return Order(**json.loads(line))


def answer_of(line: bytes) -> Answer:
    """The answer that a line is."""
    return Answer(**json.loads(line))
