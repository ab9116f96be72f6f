"""A workflow's nodes as a tree of lines, as Argo prints them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pachyderm_dagster.argo.nodes import Node, NodeType, Phase

_ICONS: Mapping[Phase, str] = {
    Phase.PENDING: "◷",
    Phase.RUNNING: "●",
    Phase.SUCCEEDED: "✔",
    Phase.FAILED: "✖",
    Phase.ERROR: "⚠",
    Phase.SKIPPED: "○",
    Phase.OMITTED: "○",
}
_SUSPENDED = "ǁ"


@dataclass(frozen=True, slots=True)
class Line:
    """A node of the tree: its name with what draws the tree before it."""

    step: str
    node: Node


def tree_lines(nodes: Sequence[Node], root: str) -> Iterator[Line]:
    """The lines of the tree whose root is the node of that name; those of its exit handler after them.

    Args:
        nodes: all, in the order in which they began.
    """
    children: dict[str, list[Node]] = {}
    for node in nodes:
        children.setdefault(node.parent, []).append(node)
    tops = [node for node in nodes if node.name == root] + [node for node in nodes if node.name == f"{root}.onExit"]
    for top in tops:
        yield Line(f"{icon(top)} {top.display_name}", top)
        yield from _below(top, children, "")


def _below(node: Node, children: Mapping[str, list[Node]], indent: str) -> Iterator[Line]:
    groups = _groups(children.get(node.id, []), children)
    for number, group in enumerate(groups):
        is_last_group = number == len(groups) - 1
        for index, child in enumerate(group):
            first, following = _marks(index, len(group), is_last=is_last_group)
            yield Line(f"{indent}{first}{icon(child)} {child.display_name}", child)
            yield from _below(child, children, indent + following)


def _groups(found: Sequence[Node], children: Mapping[str, list[Node]]) -> list[list[Node]]:
    """The children of a node that are drawn together: those of a group of steps, which is not drawn itself, or a single one."""
    groups: list[list[Node]] = []
    for child in found:
        if child.type is NodeType.STEP_GROUP:
            groups.append(children.get(child.id, []))
        else:
            groups.append([child])
    return [group for group in groups if group]


def _marks(index: int, count: int, *, is_last: bool) -> tuple[str, str]:
    """What stands before a child, and before what is below it."""
    outer, rest = ("└", " ") if is_last else ("├", "│")
    if count == 1:
        return f"{outer}───", f"{rest}   "
    if index == 0:
        return f"{outer}─┬─", f"{rest} │ "
    return (f"{rest} └─", f"{rest}   ") if index == count - 1 else (f"{rest} ├─", f"{rest} │ ")


def icon(node: Node) -> str:
    """The sign of a node's phase."""
    if node.type is NodeType.SUSPEND and node.phase is Phase.RUNNING:
        return _SUSPENDED
    return _ICONS[node.phase]
