"""What the pods of a workflow print, as it comes, for the run's log."""

import os
from collections.abc import Iterator

from pachyderm_dagster.argo.nodes import Node, Phase
from pachyderm_dagster.argo.run_folder import RunFolder

MOST_OF_A_POD = 256 * 1024
MOST_AT_ONCE = 64 * 1024


class PodLogs:
    """The logs of pods that run, and of those that ended since it was asked last."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._open: dict[str, Node] = {}
        self._read: dict[str, int] = {}

    def note(self, node: Node) -> None:
        """Takes note of a node that changed."""
        if node.pod and node.phase is not Phase.PENDING:
            if not node.phase.is_fulfilled and node.pod not in self._open:
                # Of an attempt that was interrupted, the pod begins anew.
                self._read.pop(node.pod, None)
            self._open[node.pod] = node

    def read(self) -> str:
        """The lines that are new, each with the name of its node."""
        found: list[str] = []
        for pod, node in list(self._open.items()):
            found += self._lines(pod, node)
            if node.phase.is_fulfilled:
                del self._open[pod]
        return "\n".join(found)

    def _lines(self, pod: str, node: Node) -> Iterator[str]:
        at = self._read.get(pod, 0)
        while at < MOST_OF_A_POD:
            data = self._piece(pod, at)
            # A line that is not whole waits for its rest, unless the pod has ended or the line is endless.
            whole = data if node.phase.is_fulfilled or (len(data) == MOST_AT_ONCE and b"\n" not in data) else data[: data.rfind(b"\n") + 1]
            if not whole:
                return
            at = self._read[pod] = at + len(whole)
            yield from (f"[{node.display_name}] {line}" for line in whole.decode("utf-8", "replace").removesuffix("\n").split("\n"))
            if at >= MOST_OF_A_POD:
                yield f"[{node.display_name}] … the rest: pachctl argo logs {self._folder.name} {pod}"

    def _piece(self, pod: str, at: int) -> bytes:
        try:
            with open(self._folder.path / "pods" / pod / "log", "rb") as file:
                file.seek(at, os.SEEK_SET)
                return file.read(MOST_AT_ONCE)
        except FileNotFoundError:
            return b""
