"""Histories drawn as text."""

from pachyderm_dagster.pfs.graph import Node, draw


def drawn(*nodes: tuple[int, int | None]) -> list[str]:
    return list(draw(Node(key, parent, str(key)) for key, parent in nodes))


def test_line_of_descent_is_a_column() -> None:
    assert drawn((3, 2), (2, 1), (1, None)) == ["* 3", "* 2", "* 1"]


def test_forks_run_together_above_their_parent() -> None:
    assert drawn((6, 3), (5, 2), (4, 2), (3, 2), (2, 1), (1, None)) == [
        "* 6",
        "| * 5",
        "| | * 4",
        "* | | 3",
        "|_|/",
        "|/",
        "* 2",
        "* 1",
    ]


def test_column_that_ends_makes_room() -> None:
    assert drawn((4, None), (3, 2), (2, None)) == ["* 4", "* 3", "* 2"]
    assert drawn((5, 3), (4, 1), (3, None), (1, None)) == ["* 5", "| * 4", "* | 3", " /", "* 1"]


def test_parent_that_is_left_out_leaves_its_column_open() -> None:
    assert drawn((5, 4), (3, 2)) == ["* 5", "| * 3"]
