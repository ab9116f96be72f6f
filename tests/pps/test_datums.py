import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from pachyderm_dagster.codec import content_digest, digest
from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.globs import Glob
from pachyderm_dagster.pps.datums import DatumFile, Datums, datum_table, hex_strings
from pachyderm_dagster.pps.inputs import CronInput, CrossInput, GroupInput, Input, JoinInput, Leaf, PfsInput, UnionInput, find_repeated_name, leaf_key, leaves
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


@dataclass(frozen=True)
class File:
    """What the slow model has of one file: its input and its path."""

    leaf: Leaf
    path: str

    @property
    def place(self) -> tuple[str, str | None, str, str, str]:
        return self.leaf.name, self.leaf.project, self.leaf.repo, self.leaf.branch, self.path

    def key(self, template: str) -> str:
        return Glob.parse(self.leaf.glob).expand(template, self.path)


SlowDatum = tuple[File, ...]


def files_below(members: list[list[SlowDatum]]) -> list[list[File]]:
    """The files of each member, in whichever datums they are, each once."""
    return [list(dict.fromkeys(file for datum in member for file in datum)) for member in members]


def slow_join(members: list[list[File]]) -> list[SlowDatum]:
    found: list[SlowDatum] = []
    for key in {file.key(file.leaf.join_on) for member in members for file in member}:
        shares = [[file for file in member if file.key(file.leaf.join_on) == key] for member in members]
        if not all(shares):
            shares = [kept for share in shares if (kept := [file for file in share if file.leaf.outer_join])]
        if shares:
            found += itertools.product(*shares)
    return found


def slow_group(members: list[list[File]]) -> list[SlowDatum]:
    groups: dict[str, dict[object, File]] = {}
    for member in members:
        # Of two globs that find one file, each with a key of its own for it, the order in the spec does not decide either.
        for file in sorted(member, key=lambda file: leaf_key(file.leaf)):
            groups.setdefault(file.key(file.leaf.group_by), {}).setdefault(file.place, file)
    return [tuple(group.values()) for group in groups.values()]


def slow_datums(input: Input, contents: Mapping[str, Mapping[str, str]]) -> list[SlowDatum]:
    """The files of each datum: as the facts say it, with duplicates."""
    match input:
        case PfsInput() | CronInput():
            return [(File(input, path),) for path in contents[input.repo]]
    members = [slow_datums(member, contents) for member in input.members]
    match input:
        case CrossInput():
            return [tuple(file for part in parts for file in part) for parts in itertools.product(*members)]
        case UnionInput():
            return [datum for member in members for datum in member]
        case JoinInput():
            return slow_join(files_below(members))
        case GroupInput():
            return slow_group(files_below(members))


def slow_identity(datum: SlowDatum, contents: Mapping[str, Mapping[str, str]]) -> tuple[str, bytes]:
    files = sorted(datum, key=lambda file: (file.leaf.name, leaf_key(file.leaf), file.path))
    id = digest("datum", [part.encode() for file in files for part in (file.leaf.name, file.leaf.repo, file.leaf.branch, file.path)])
    hashes = [content_digest(contents[file.leaf.repo][file.path].encode()) for file in files if not file.leaf.reference]
    return id.hex(), digest("datum-hash", [id, *hashes, b"salt"])


@st.composite
def nested_inputs(draw: st.DrawFn) -> Input:
    """Inputs of any shape; only members of one union share a name."""
    names = iter(f"{draw(st.sampled_from('abz'))}{number}" for number in itertools.count())
    templates = st.sampled_from(["$1", "$2", "$1$2", "all"])
    options = {
        "repo": st.sampled_from(["one", "two", "none"]),
        "join_on": templates,
        "group_by": templates,
        "outer_join": st.booleans(),
        "reference": st.booleans(),
    }
    leaf = st.builds(lambda **fields: branch(next(names), glob="/(?)(*)", **fields), **options)

    def shared(one: dict[str, Any], other: dict[str, Any]) -> Input:
        name = next(names)
        if one["repo"] == other["repo"]:
            other = other | {"reference": one["reference"]}
        return UnionInput((branch(name, glob="/(?)(*)", **one), branch(name, glob="/(*)(?)", **other)))

    def grow(members: st.SearchStrategy[Input]) -> st.SearchStrategy[Input]:
        lists = st.lists(members, min_size=1, max_size=3).map(tuple)
        return st.one_of([st.builds(kind, lists) for kind in (CrossInput, UnionInput, JoinInput, GroupInput)])

    fields = st.fixed_dictionaries(options)
    input = draw(st.recursive(st.one_of(leaf, st.builds(shared, fields, fields)), grow, max_leaves=6))
    assume(find_repeated_name(input) is None)
    return input


CONTENTS = {"one": {"/a1": "1", "/b1": "2", "/b2": "2"}, "two": {"/a1": "3", "/b2": "4", "/c2": "1"}, "none": {}}


@given(nested_inputs())
def test_nested_inputs_give_the_datums_of_the_slow_model(input: Input) -> None:
    expected: dict[str, bytes] = {}
    for datum in slow_datums(input, CONTENTS):
        id, hash = slow_identity(datum, CONTENTS)
        expected.setdefault(id, hash)
    datums = datums_of(input, CONTENTS)
    event(f"{len(datums):.0e} datums of up to {max(datums.lengths(range(len(datums))), default=0)} files")
    assert sorted(datums.table["id"].to_pylist()) == sorted(expected)
    assert dict(zip(datums.table["id"].to_pylist(), datums.table["hash"].to_pylist(), strict=True)) == expected


@given(nested_inputs())
def test_files_of_a_datum_are_those_of_its_id(input: Input) -> None:
    datums = datums_of(input, CONTENTS)
    for id, files in zip(datums.table["id"].to_pylist(), datums.files_of(range(len(datums))), strict=True):
        assert digest("datum", [part.encode() for file in files for part in (file.input, file.repo, file.branch, file.path)]).hex() == id


# The worked example: keys 1, 2, 3, 3 on the left and 2, 3, 4 on the right.
SIDES = {"left": LEFT, "right": {"/2x": "", "/3x": "", "/4x": ""}, "third": {"/2": "", "/3": ""}}
KEYED = {"glob": "/(?)*", "join_on": "$1", "group_by": "$1"}


def keyed(name: str, **further: Any) -> PfsInput:
    return branch(name, **KEYED, **further)


@pytest.mark.parametrize(
    ("input", "expected"),
    [
        pytest.param(JoinInput((keyed("left"), keyed("right"))), "/2+/2x /3a+/3x /3b+/3x", id="join"),
        pytest.param(JoinInput((keyed("left", outer_join=True), keyed("right"))), "/1 /2+/2x /3a+/3x /3b+/3x", id="left outer"),
        pytest.param(JoinInput((keyed("left", outer_join=True), keyed("right", outer_join=True))), "/1 /2+/2x /3a+/3x /3b+/3x /4x", id="both outer"),
        pytest.param(
            JoinInput((keyed("left", outer_join=True), keyed("right"), keyed("third"))), "/1 /2+/2x+/2 /3a+/3x+/3 /3b+/3x+/3", id="three members, one outer"
        ),
        pytest.param(GroupInput((keyed("left"), keyed("right"))), "/1 /2+/2x /3a+/3b+/3x /4x", id="group"),
        pytest.param(GroupInput((JoinInput((keyed("left"), keyed("right"))),)), "/2+/2x /3a+/3b+/3x", id="group over a join"),
        pytest.param(JoinInput((GroupInput((keyed("left"),)), keyed("right"))), "/2+/2x /3a+/3x /3b+/3x", id="join over a group"),
        pytest.param(JoinInput((CrossInput((keyed("left"), keyed("third"))), keyed("right"))), "/2+/2x /2x+/2 /3a+/3x /3b+/3x /3x+/3", id="join of a cross"),
        pytest.param(UnionInput((GroupInput((keyed("left"),)), keyed("right"))), "/1 /2 /3a+/3b /2x /3x /4x", id="union of a group and a branch"),
        pytest.param(CrossInput((GroupInput((keyed("left"),)), branch("right", glob="/"))), "/1+/ /2+/ /3a+/3b+/", id="cross with a group"),
        pytest.param(CrossInput((GroupInput((keyed("left"),)), keyed("none"))), "", id="cross with an empty member"),
        pytest.param(JoinInput((keyed("left"), keyed("none"))), "", id="join with an empty member"),
        pytest.param(JoinInput((keyed("left", outer_join=True), keyed("none"))), "/1 /2 /3a /3b", id="outer join with an empty member"),
        pytest.param(GroupInput((keyed("none"), keyed("left"))), "/1 /2 /3a+/3b", id="group with an empty member"),
    ],
)
def test_keys_bring_files_together(input: Input, expected: str) -> None:
    contents: dict[str, Mapping[str, str]] = {**SIDES, "none": {}}
    files = {leaf_key(leaf): matches({"/": "all"} if leaf.glob == "/" else contents[leaf.repo]) for leaf in leaves(input)}
    datums = datum_table(input, files, "salt")
    assert ["+".join(file.path for file in found) for found in datums.files_of(range(len(datums)))] == expected.split()


def test_one_member_that_is_not_outer_is_left_out_of_an_incomplete_key() -> None:
    input = JoinInput((keyed("a", outer_join=True), keyed("b"), keyed("c")))
    assert paths(datums_of(input, {"a": {"/1": ""}, "b": {"/1": ""}, "c": {}})) == [["a:/1"]]


def test_group_has_a_file_once_that_two_globs_find() -> None:
    input = GroupInput((UnionInput((branch("x", repo="left", group_by="k"), branch("x", repo="left", glob="/3*", group_by="k"))),))
    files = {leaf_key(leaf): matches({path: text for path, text in LEFT.items() if leaf.glob == "/*" or path[1] == "3"}) for leaf in leaves(input)}
    assert paths(datum_table(input, files, "salt")) == [["x:/1", "x:/2", "x:/3a", "x:/3b"]]


def test_files_know_their_keys() -> None:
    input = JoinInput((branch("left", glob="/(?)(*)", join_on="$1", group_by="<$2>"), branch("right", glob="/(*)x", join_on="${1}")))
    left, right = datums_of(input, {"left": {"/3b": ""}, "right": {"/3x": ""}}).files(0)
    assert (left.join_on, left.group_by, right.join_on, right.group_by) == ("3", "<b>", "3", None)


def test_content_of_a_reference_is_not_in_the_hash_and_its_place_is_in_the_id() -> None:
    input = CrossInput((branch("data"), branch("model", reference=True)))
    first, second, moved = (datums_of(input, {"data": {"/a": "1"}, "model": model}).table for model in ({"/m": "old"}, {"/m": "new"}, {"/n": "old"}))
    assert first == second
    assert first["id"] != moved["id"]


def test_a_join_of_too_many_datums_is_refused_before_it_is_made() -> None:
    many = {f"/{number}": "" for number in range(6000)}
    sides = [branch(name, join_on="all") for name in "ab"]
    with pytest.raises(InvalidError, match=r"36,000,000 datums; at most 33,554,431 are possible.*\[datums-too-many\]"):
        datums_of(JoinInput(tuple(sides)), {"a": many, "b": many})


def test_a_cross_of_too_large_datums_is_refused_before_it_is_made() -> None:
    many = {f"/{number}": "" for number in range(20_000)}
    input = CrossInput((GroupInput((branch("a", group_by="all"),)), branch("b")))
    with pytest.raises(InvalidError, match=r"400,020,000 files together; at most 268,435,456 are possible.*\[datums-too-many\]"):
        datums_of(input, {"a": many, "b": many})
