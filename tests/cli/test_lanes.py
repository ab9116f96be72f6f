"""Drawings of graphs say what the graphs are."""

from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.cli.lanes import draw_graph, in_order

NAMES = "abcdefghij"


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Graphs without loops whose nodes have names in no order."""
    names = draw(st.permutations(NAMES[: draw(st.integers(1, len(NAMES)))]))
    return {name: draw(st.lists(st.sampled_from(names[:place]), unique=True)) if place else [] for place, name in enumerate(names)}


def read_back(lines: list[str]) -> dict[str, set[str]]:
    """What a person reads in a drawing."""
    found: dict[str, set[str]] = {}
    owners: dict[int, str] = {}
    for line in lines:
        marks, _, name = line.rpartition(" ")
        lanes = {place // 2: mark for place, mark in enumerate(marks) if place % 2 == 0 and mark in "*+|"}
        owners = {lane: owner for lane, owner in owners.items() if lane in lanes}
        own = next(lane for lane, mark in lanes.items() if mark == "*")
        found[name] = {owners[lane] for lane, mark in lanes.items() if mark == "+"} | ({owners[own]} if own in owners else set())
        owners[own] = name
    return found


@given(graphs())
def test_drawing_shows_every_edge_and_no_other(reads: dict[str, list[str]]) -> None:
    lines = list(draw_graph(reads, {name: name for name in reads}))
    assert read_back(lines) == {name: set(sources) for name, sources in reads.items()}


@given(graphs())
def test_readers_come_behind_what_they_read(reads: dict[str, list[str]]) -> None:
    order = in_order(reads)
    assert sorted(order) == sorted(reads)
    assert all(order.index(source) < order.index(node) for node, sources in reads.items() for source in sources)


def test_chain_goes_straight_down() -> None:
    reads: dict[str, list[str]] = {"a": [], "b": ["a"], "c": ["b"]}
    assert list(draw_graph(reads, {"a": "A", "b": "B", "c": "C"})) == ["* A", "* B", "* C"]


def test_what_has_nothing_to_do_with_the_line_above_is_moved_aside() -> None:
    assert list(draw_graph({"a": [], "b": []}, {"a": "a", "b": "b"})) == ["* a", "  * b"]


def test_fork_and_join_are_marked() -> None:
    reads = {"images": [], "edges": ["images"], "montage": ["images", "edges"]}
    assert list(draw_graph(reads, {name: name for name in reads})) == ["* images", "+-* edges", "*-+ montage"]


def test_loop_is_drawn_without_one_of_its_edges() -> None:
    assert sorted(in_order({"a": ["b"], "b": ["a"], "c": ["b"]})) == ["a", "b", "c"]
    assert len(list(draw_graph({"a": ["b"], "b": ["a"]}, {"a": "a", "b": "b"}))) == 2
