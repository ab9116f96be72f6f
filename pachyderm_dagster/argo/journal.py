"""What is kept of the nodes of a run: a line for every change, of which the last one of a node counts."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import msgspec

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
    """Keeps nodes in a file, one line a change. A last line that was torn, because whoever wrote it was killed, counts for nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def load(self) -> dict[str, Node]:
        found: dict[str, Node] = {}
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}
        for line in lines[:-1]:
            node = _decode(line)
            found[node.name] = node
        return found

    def keep(self, node: Node) -> None:
        if self._file is None:
            self._file = self._open()
        os.write(self._file, _encode(node) + b"\n")

    def _open(self) -> int:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        data = self._path.read_bytes()
        if not data.endswith(b"\n"):
            os.ftruncate(file, data.rfind(b"\n") + 1)
        return file

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
