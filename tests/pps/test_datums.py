import itertools
from collections.abc import Mapping

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pachyderm_dagster.codec import content_digest, digest
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pps.datums import DatumFile, Datums, datum_table, hex_strings
from pachyderm_dagster.pps.inputs import CronInput, CrossInput, Input, Leaf, PfsInput, UnionInput, find_repeated_name, leaf_key, leaves
from tests.pps.builders import branch, matches

LEFT = {"/1": "one", "/2": "two", "/3a": "three", "/3b": "three"}


def datums_of(input: Input, contents: Mapping[str, Mapping[str, str]], salt: str = "salt") -> Datums:
    """The datums when the repos hold `contents`."""
    return datum_table(input, {leaf_key(leaf): matches(contents[leaf.repo]) for leaf in leaves(input)}, salt)


def paths(datums: Datums) -> list[list[str]]:
    return [[f"{file.input}:{file.path}" for file in files] for files in datums.files_of(range(len(datums)))]


def test_id_is_the_digest_of_where_the_files_are() -> None:
    datums = datums_of(branch("in", repo="data"), {"data": {"/a": "1"}})
    assert datums.table["id"].to_pylist() == [digest("datum", [b"in", b"data", b"master", b"/a"]).hex()]


def test_hash_is_the_digest_of_id_contents_and_salt() -> None:
    datums = datums_of(CrossInput((branch("b"), branch("a"))), {"a": {"/x": "1"}, "b": {"/y": "2"}}, "pepper")
    id = digest("datum", [b"a", b"a", b"master", b"/x", b"b", b"b", b"master", b"/y"])
    assert datums.table["id"].to_pylist() == [id.hex()]
    assert datums.table["hash"].to_pylist() == [digest("datum-hash", [id, content_digest(b"1"), content_digest(b"2"), b"pepper"])]


def test_datum_tells_its_files_by_input_name() -> None:
    datums = datums_of(CrossInput((branch("b", repo="r"), branch("a", glob="/", project="p"))), {"a": {"/": "all"}, "r": {"/y": "2", "/z": "3"}})
    root = DatumFile("a", "p", "a", "master", "/", "dir", content_digest(b"all"), empty_files=False)
    assert datums.files(1) == (root, DatumFile("b", None, "r", "master", "/z", "file", content_digest(b"3"), empty_files=False))


def test_project_and_content_do_not_change_the_id() -> None:
    first = datums_of(branch("in"), {"in": {"/a": "1"}})
    second = datums_of(branch("in", project="other"), {"in": {"/a": "2"}})
    assert first.table["id"] == second.table["id"]
    assert first.table["hash"] != second.table["hash"]


def test_salt_changes_the_hash_only() -> None:
    first, second = (datums_of(branch("in"), {"in": {"/a": "1"}}, salt) for salt in ("one", "two"))
    assert first.table["id"] == second.table["id"]
    assert first.table["hash"] != second.table["hash"]


def test_renaming_an_input_changes_the_id() -> None:
    first, second = (datums_of(branch(name, repo="data"), {"data": {"/a": "1"}}) for name in ("in", "other"))
    assert first.table["id"] != second.table["id"]


@pytest.mark.parametrize(
    ("input", "contents", "count"),
    [
        pytest.param(CrossInput((branch("left"), branch("right", glob="/"))), {"left": LEFT, "right": {"/": "all"}}, 4, id="cross with one directory"),
        pytest.param(CrossInput((branch("left"), branch("right"))), {"left": LEFT, "right": {}}, 0, id="cross with an empty repo"),
        pytest.param(UnionInput((branch("left"), branch("left"))), {"left": LEFT}, 4, id="union of an input with itself"),
        pytest.param(UnionInput((branch("one", repo="left"), branch("two", repo="left"))), {"left": LEFT}, 8, id="union under two names"),
        pytest.param(UnionInput((branch("left"), branch("left", glob="/**"))), {"left": LEFT}, 4, id="union of two globs that find the same"),
        pytest.param(branch("left"), {"left": {}}, 0, id="empty repo"),
    ],
)
def test_number_of_datums_is_pachyderms(input: Input, contents: Mapping[str, Mapping[str, str]], count: int) -> None:
    datums = datums_of(input, contents)
    assert len(datums) == count
    assert len(set(datums.table["id"].to_pylist())) == count


def test_order_in_the_spec_decides_nothing() -> None:
    contents = {name: {f"/{name}{number}": str(number) for number in range(3)} for name in "abc"}
    forward = CrossInput((branch("a"), UnionInput((branch("b"), branch("c")))))
    backward = CrossInput((UnionInput((branch("c"), branch("b"))), branch("a")))
    assert datums_of(forward, contents).table == datums_of(backward, contents).table


def test_last_member_of_a_cross_changes_fastest() -> None:
    contents = {"a": {"/1": "", "/2": ""}, "b": {"/x": "", "/y": ""}}
    assert paths(datums_of(CrossInput((branch("b"), branch("a"))), contents)) == [["a:/1", "b:/x"], ["a:/1", "b:/y"], ["a:/2", "b:/x"], ["a:/2", "b:/y"]]


def test_members_of_a_union_keep_their_own_files() -> None:
    contents = {"a": {"/1": ""}, "b": {"/x": ""}, "c": {"/c": ""}}
    found = paths(datums_of(CrossInput((UnionInput((branch("a"), branch("b"))), branch("c"))), contents))
    assert found == [["a:/1", "c:/c"], ["b:/x", "c:/c"]]


def test_cron_input_gives_a_datum_for_each_tick() -> None:
    cron = CronInput(name="tick", spec="@hourly", repo="p_tick")
    assert paths(datums_of(cron, {"p_tick": {"/2026-01-01T00:00:00Z": "", "/2026-01-01T01:00:00Z": ""}})) == [
        ["tick:/2026-01-01T00:00:00Z"],
        ["tick:/2026-01-01T01:00:00Z"],
    ]


def test_datum_of_many_blocks_is_that_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    input, contents = (
        UnionInput((CrossInput((branch("a"), branch("b"))), branch("a"))),
        {name: {f"/{number:03}": str(number) for number in range(20)} for name in "ab"},
    )
    whole = datums_of(input, contents)
    monkeypatch.setattr("pachyderm_dagster.pps.datums._BLOCK", 7)
    pieces = datums_of(input, contents)
    assert pieces.table.combine_chunks() == whole.table.combine_chunks()
    assert paths(pieces) == paths(whole)


def test_a_cross_of_too_many_datums_is_refused_before_it_is_made() -> None:
    many = {f"/{number}": "" for number in range(6000)}
    with pytest.raises(InvalidError, match=r"36,000,000 datums; at most 33,554,431 are possible.*\[datums-too-many\]"):
        datums_of(CrossInput((branch("a"), branch("b"))), {"a": many, "b": many})


def test_hex_strings_respect_a_slice() -> None:
    hashes = matches({f"/{number}": str(number) for number in range(5)})["hash"].combine_chunks()
    assert hex_strings(hashes.slice(1, 3)).to_pylist() == [content_digest(str(number).encode()).hex() for number in (1, 2, 3)]


def slow_datums(input: Input, contents: Mapping[str, Mapping[str, str]]) -> list[dict[str, tuple[Leaf, str]]]:
    """For each datum, by input name, the leaf and the path: as the facts say it, with duplicates."""
    match input:
        case PfsInput() | CronInput():
            return [{input.name: (input, path)} for path in contents[input.repo]]
        case CrossInput():
            parts = (slow_datums(member, contents) for member in input.members)
            return [{name: file for part in parts for name, file in part.items()} for parts in itertools.product(*parts)]
        case UnionInput():
            return [datum for member in input.members for datum in slow_datums(member, contents)]


def slow_identity(datum: dict[str, tuple[Leaf, str]], contents: Mapping[str, Mapping[str, str]]) -> tuple[str, bytes]:
    files = [datum[name] for name in sorted(datum)]
    id = digest("datum", [part.encode() for leaf, path in files for part in (leaf.name, leaf.repo, leaf.branch, path)])
    return id.hex(), digest("datum-hash", [id, *(content_digest(contents[leaf.repo][path].encode()) for leaf, path in files), b"salt"])


@st.composite
def nested_inputs(draw: st.DrawFn) -> Input:
    """Inputs of any shape; within a cross every name is another."""
    names = iter(f"{draw(st.sampled_from('abz'))}{number}" for number in itertools.count())
    repos = st.sampled_from(["one", "two", "none"])
    leaf = st.builds(lambda repo: branch(next(names), repo=repo), repos)

    def grow(members: st.SearchStrategy[Input]) -> st.SearchStrategy[Input]:
        lists = st.lists(members, min_size=1, max_size=3).map(tuple)
        return st.one_of(
            st.builds(CrossInput, lists), st.builds(UnionInput, lists), st.builds(lambda repo: UnionInput((branch("same", repo=repo),) * 2), st.just("one"))
        )

    input = draw(st.recursive(leaf, grow, max_leaves=5))
    assume(find_repeated_name(input) is None)
    return input


@given(nested_inputs())
def test_nested_inputs_give_the_datums_of_the_slow_model(input: Input) -> None:
    contents = {"one": {"/a": "1", "/b": "2"}, "two": {"/a": "3", "/c": "4", "/d": "1"}, "none": {}}
    datums = datums_of(input, contents)
    expected = dict(slow_identity(datum, contents) for datum in slow_datums(input, contents))
    assert len(datums) == len(expected)
    assert dict(zip(datums.table["id"].to_pylist(), datums.table["hash"].to_pylist(), strict=True)) == expected
