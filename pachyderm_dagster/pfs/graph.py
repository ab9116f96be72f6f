"""Draws histories as text, as `git log --graph` does: newest first, a column a line of descent."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Node:
    """A commit in a drawing: `parent` is the key of another node, or of one that is left out."""

    key: int
    parent: int | None
    label: str


def draw(nodes: Iterable[Node]) -> Iterator[str]:
    """The lines of a drawing. Nodes come newest first, children before parents."""
    columns: list[int] = []
    for node in nodes:
        if node.key in columns:
            at = columns.index(node.key)
            for other in [column for column, key in reversed(list(enumerate(columns))) if key == node.key and column != at]:
                yield _joined(len(columns), at, other)
                del columns[other]
        else:
            at = len(columns)
            columns.append(node.key)
        marks = ["*" if column == at else "|" for column in range(len(columns))]
        yield f"{' '.join(marks)} {node.label}"
        if node.parent is not None:
            columns[at] = node.parent
            continue
        if at < len(columns) - 1:
            yield _shifted(len(columns), at)
        del columns[at]


def _joined(columns: int, at: int, other: int) -> str:
    """Column `other` runs into column `at`, and those to its right move over."""
    line = _bars(column for column in range(columns) if column < other)
    for column in range(other, columns):
        line = _put(line, 2 * column - 1, "/")
    for place in range(2 * at + 1, 2 * other - 1, 2):
        line = _put(line, place, "_")
    return line.rstrip()


def _shifted(columns: int, ended: int) -> str:
    """Column `ended` is over, and those to its right move into its place."""
    line = _bars(range(ended))
    for column in range(ended + 1, columns):
        line = _put(line, 2 * column - 1, "/")
    return line.rstrip()


def _bars(columns: Iterable[int]) -> str:
    line = ""
    for column in columns:
        line = _put(line, 2 * column, "|")
    return line


def _put(line: str, place: int, mark: str) -> str:
    line = line.ljust(place + 1)
    return line[:place] + mark + line[place + 1 :]
