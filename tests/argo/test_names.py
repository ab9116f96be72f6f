import pytest

from pachyderm_dagster.argo.names import fnv1a_32, item_suffix, node_id, pod_name


@pytest.mark.parametrize(("text", "expected"), [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968)])
def test_hash_is_fnv_1a(text: str, expected: int) -> None:
    # The vectors of the hash's authors.
    assert fnv1a_32(text) == expected


def test_ids_and_pods_are_named_after_the_hash() -> None:
    assert node_id("wf", "wf") == "wf"
    assert node_id("foo", "foobar") == f"foo-{0xBF9CF968}"
    assert pod_name("foo", "foobar", "say") == f"foo-say-{0xBF9CF968}"
    assert pod_name("foo", "foo", "say") == "foo"


@pytest.mark.parametrize(
    ("item", "expected"),
    [("apple", "(0:apple)"), (1.5, "(0:1.5)"), (True, "(0:true)"), ([1, 2], "(0:[1 2])"), ({"b": 2, "a": "x"}, "(0:a:x,b:2)"), ("a(b)", "(0:ab)")],
)
def test_items_are_described(item: object, expected: str) -> None:
    assert item_suffix(0, item) == expected
