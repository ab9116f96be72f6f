"""What is kept of the nodes of a run: a line for every change, of which the last one of a node counts."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import msgspec

from pachyderm_dagster.argo.kept_files import LineFile, read_lines
from pachyderm_dagster.argo.nodes import Node

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Node).decode


class Journal(Protocol):
    """Where nodes are kept."""

    def load(self) -> dict[str, Node]:
        """The nodes by name, in the order in which they began."""
        ...

    def keep(self, node: Node) -> None:
        """Keeps a node as it is now."""
        ...


class MemoryJournal:
    """Keeps nodes for as long as the process lives."""

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        self._nodes = {node.name: node for node in nodes}

    def load(self) -> dict[str, Node]:
        return dict(self._nodes)

    def keep(self, node: Node) -> None:
        self._nodes[node.name] = node


class FileJournal:
    """Keeps nodes in a file, one line a change. A last line that was torn counts for nothing."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, LineFile(path)

    def load(self) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for line in read_lines(self._path):
            node = _decode(line)
            found[node.name] = node
        return found

    def keep(self, node: Node) -> None:
        self._file.append(_encode(node) + b"\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
