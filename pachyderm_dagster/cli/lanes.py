"""Draws a graph as text: a node a line, what is read above what reads it, a lane for each node that has readers below."""

import graphlib
from collections.abc import Iterator, Mapping, Sequence


def in_order(reads: Mapping[str, Sequence[str]]) -> list[str]:
    """The nodes, each behind those that it reads and otherwise by name. Of a loop, which only stopped pipelines can make, one edge does not count."""
    edges = {node: set(sources) for node, sources in reads.items()}
    while True:
        sorter = graphlib.TopologicalSorter(edges)
        try:
            sorter.prepare()
        except graphlib.CycleError as error:
            source, reader = error.args[1][:2]
            edges[reader].discard(source)
            continue
        found: list[str] = []
        while sorter.is_active():
            ready = sorted(sorter.get_ready())
            found += ready
            sorter.done(*ready)
        return found


def draw_graph(reads: Mapping[str, Sequence[str]], labels: Mapping[str, str]) -> Iterator[str]:
    """The lines of a drawing.

    `*` is the node that its line names, `+` one from above that it reads, `|` one from above whose readers come further down.
    A `*` right below a lane reads that one too.

    Args:
        reads: of each node those that it reads.
        labels: what stands behind each node.
    """
    order = in_order(reads)
    last = {source: place for place, node in enumerate(order) for source in reads[node]}
    lanes: list[str | None] = []
    used: set[int] = set()
    for place, node in enumerate(order):
        above = order[:place]
        inputs = [lane for lane, source in enumerate(lanes) if source is not None and source in reads[node] and source in above]
        ending = [lane for lane in inputs if last[str(lanes[lane])] == place]
        own = ending[0] if ending else _free_lane(lanes, used)
        lanes.extend([None] * (own + 1 - len(lanes)))
        marked = set(inputs) - {own}
        yield f"{_line(lanes, own, marked)} {labels[node]}"
        used = {lane for lane, source in enumerate(lanes) if source is not None} | {own}
        for lane in ending:
            lanes[lane] = None
        lanes[own] = node if last.get(node, -1) > place else None
        while lanes and lanes[-1] is None:
            lanes.pop()


def _free_lane(lanes: Sequence[str | None], used: set[int]) -> int:
    """The first one that nobody has, nor had in the line above, where it would look as if it went on."""
    return next(lane for lane in range(len(lanes) + len(used) + 1) if lane not in used and (lane >= len(lanes) or lanes[lane] is None))


def _line(lanes: Sequence[str | None], own: int, marked: set[int]) -> str:
    first, final = min({own, *marked}), max({own, *marked})
    line = ""
    for lane in range(max(len(lanes), final + 1)):
        inside = first <= lane <= final
        if lane == own:
            line += "*"
        elif lane in marked:
            line += "+"
        else:
            line += "|" if lanes[lane] is not None else "-" if inside else " "
        line += "-" if first <= lane < final else " "
    return line.rstrip()
