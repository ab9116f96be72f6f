"""Which datum a text means."""

import pyarrow as pa
import pytest

from pachyderm_dagster.errors import InvalidError, NotFoundError
from pachyderm_dagster.pps.datum_choice import choose_datum
from pachyderm_dagster.pps.datums import Datums, datum_table
from pachyderm_dagster.pps.inputs import CrossInput, PfsInput, leaf_key

LEFT, RIGHT = PfsInput(name="left", repo="data", glob="/*"), PfsInput(name="right", repo="data", glob="/*")


def table(*paths: str) -> pa.Table:
    """Files; what ends in a / is a directory."""
    rows = [{"path": path.rstrip("/") or "/", "hash": bytes(32), "type": "dir" if path.endswith("/") else "file", "size": 1} for path in paths]
    return pa.Table.from_pylist(rows, pa.schema([("path", pa.string()), ("hash", pa.binary(32)), ("type", pa.string()), ("size", pa.int64())]))


def files(datums: Datums, text: str) -> list[tuple[str, str]]:
    return [(file.input, file.path) for file in datums.files(choose_datum(datums, text))]


def test_datum_is_meant_by_a_file_or_what_holds_it() -> None:
    datums = datum_table(LEFT, {leaf_key(LEFT): table("/a", "/b/", "/bb")}, "")
    assert files(datums, "/a") == files(datums, "a") == files(datums, "left:/a") == [("left", "/a")]
    assert files(datums, "/b/deep/file") == files(datums, "b/") == [("left", "/b")]
    assert files(datums, "/bb") == [("left", "/bb")]
    whole = datum_table(LEFT, {leaf_key(LEFT): table("/")}, "")
    assert files(whole, "/") == files(whole, "/any/file") == [("left", "/")]


@pytest.mark.parametrize("text", ["/a", "abcd"])
def test_nothing_is_meant_where_there_are_no_datums(text: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        choose_datum(datum_table(LEFT, {leaf_key(LEFT): table()}, ""), text)
    assert caught.value.code == "datum-not-found"


def test_datum_is_meant_by_the_beginning_of_its_id() -> None:
    datums = datum_table(LEFT, {leaf_key(LEFT): table("/a", "/b")}, "")
    ids = datums.table.column("id").to_pylist()
    assert [choose_datum(datums, id[:6]) for id in ids] == [0, 1]
    assert choose_datum(datums, ids[1]) == 1


def test_what_several_datums_read_is_refused_with_their_ids() -> None:
    datums = datum_table(CrossInput((LEFT, RIGHT)), {leaf_key(LEFT): table("/a", "/b"), leaf_key(RIGHT): table("/c", "/a")}, "")
    with pytest.raises(InvalidError) as caught:
        choose_datum(datums, "/c")
    assert caught.value.code == "datum-ambiguous"
    assert "/a, /c" in caught.value.message
    single = datum_table(CrossInput((LEFT, RIGHT)), {leaf_key(LEFT): table("/a"), leaf_key(RIGHT): table("/c", "/a")}, "")
    assert files(single, "right:/a") == [("left", "/a"), ("right", "/a")]
    for text in ("/z", "left:/c", "other:/a", "abcd"):
        with pytest.raises(NotFoundError) as missing:
            choose_datum(single, text)
        assert missing.value.code == "datum-not-found"
