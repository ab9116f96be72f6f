"""Which paths a glob matches, what it captures, and how it is refused."""

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.glob_machine import Machine
from pachyderm_dagster.pfs.glob_matching import Matcher
from pachyderm_dagster.pfs.glob_syntax import Choice, Class, Group, Node, Pattern, Run, Single, Text, parse_pattern, walk
from pachyderm_dagster.pfs.globs import Glob

TREE = ["/", "/a.txt", "/d", "/d/b.txt", "/d/e", "/d/e/c.csv"]


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("/", ["/"]),
        ("//", ["/"]),
        ("/*", ["/a.txt", "/d"]),
        ("*", ["/a.txt", "/d"]),
        ("/*/", ["/a.txt", "/d"]),
        ("/*/*", ["/d/b.txt", "/d/e"]),
        ("/*/*/*", ["/d/e/c.csv"]),
        ("/**", TREE[1:]),
        ("**", TREE[1:]),
        ("/**.txt", ["/a.txt", "/d/b.txt"]),
        ("**.txt", ["/a.txt", "/d/b.txt"]),
        ("/d/**", ["/d/b.txt", "/d/e", "/d/e/c.csv"]),
        ("/d/(*).txt", ["/d/b.txt"]),
        ("/{a.txt,d}", ["/a.txt", "/d"]),
        ("/(a|d)*", ["/a.txt", "/d"]),
        ("/d", ["/d"]),
        ("/d/", ["/d"]),
        ("d/e", ["/d/e"]),
        ("/D", []),
        ("/?", ["/d"]),
        ("/?/?", ["/d/e"]),
        ("/?????", ["/a.txt"]),
        ("/d?e", []),
        ("/d*e", []),
        ("/[a-c].txt", ["/a.txt"]),
        ("/d[!x]e", []),
        ("/!(d)", ["/a.txt"]),
        ("/!(**)", []),
        ("/!(*.txt)", ["/d"]),
        ("/d/!(e)", ["/d/b.txt"]),
        ("/{**.csv,a*}", ["/a.txt", "/d/e/c.csv"]),
    ],
)
def test_a_glob_chooses_files_and_directories(pattern: str, matches: list[str]) -> None:
    glob = Glob.parse(pattern)
    assert [path for path, matched in zip(TREE, glob.match_paths(TREE).to_pylist(), strict=True) if matched] == matches


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        # runs and single characters
        ("ab*", ["ab", "abc"], ["a", "b", "ab/c", "xab"]),
        ("ab**", ["ab", "abc", "ab/c", "ab/c/d"], ["a/b"]),
        ("a***z", ["az", "abz", "a/b/z"], ["a/b"]),
        ("?*?", ["ab", "abc"], ["a", "a/b"]),
        ("*.min.*", ["x.min.js", ".min."], ["x.js", "a/x.min.js"]),
        ("**/x", ["a/x", "a/b/x"], ["x"]),
        ("größe?", ["größe1", "größeß"], ["größe", "größe12"]),
        # text that means something to a regular expression, or a group outside of one
        ("a.b", ["a.b"], ["axb"]),
        ("a$b|c,d)e}f]", ["a$b|c,d)e}f]"], ["a$b"]),
        ("a-b~c#d&e f", ["a-b~c#d&e f"], []),
        ("a!b@c+d", ["a!b@c+d"], ["ab"]),
        # escapes
        (r"\*\?\[\(\{\\", ["*?[({\\"], ["ab[({\\"]),
        (r"a\bc", ["abc"], [r"a\bc"]),
        (r"\(a\|b\)", ["(a|b)"], ["a", "b"]),
        # classes
        ("[abc]", ["a", "c"], ["d", "ab", ""]),
        ("[a-c][0-9]", ["a0", "c9"], ["a", "d0", "aa"]),
        ("[!abc]", ["d", "]"], ["a", "/"]),
        ("[^abc]", ["d", "^"], ["a"]),
        ("[a^]", ["a", "^"], ["b"]),
        ("[a-cx-z0]", ["b", "y", "0"], ["d", "-"]),
        ("[-a]", ["-", "a"], ["b"]),
        ("[a-]", ["-", "a"], ["b"]),
        (r"[\]\\\-a]", ["]", "\\", "-", "a"], ["b"]),
        ("[*?(]", ["*", "?", "("], ["a"]),
        ("[a/]", ["a"], ["/"]),
        ("[日-語]", ["日", "本", "語"], ["a"]),
        ("[[:alpha:]]", ["a", "Z"], ["5", "ä", "["]),
        ("[[:^alpha:]]", ["5", "ä"], ["a", "/"]),
        ("[^[:alpha:]]", ["5"], ["a", "/"]),
        ("[[:digit:]_-]", ["5", "_", "-"], ["a"]),
        ("[[:space:]]", [" "], ["a"]),
        ("[[:punct:]]", [".", "]", "~"], ["a", "/"]),
        # alternatives
        ("{abc,def}g", ["abcg", "defg"], ["abc", "g"]),
        ("{a,ab}{bc,f}", ["abc", "abbc", "af", "abf"], ["ab"]),
        ("{,*.}example", ["example", "www.example"], ["wwwexample"]),
        ("{a,{b,c*}}d", ["ad", "bd", "cxd"], ["d"]),
        ("{a|b,c}", ["a|b", "c"], ["a", "b"]),
        ("{a/b,c}/x", ["a/b/x", "c/x"], ["a/x"]),
        # groups
        ("(a|b)c", ["ac", "bc"], ["c", "abc"]),
        ("@(a|b)c", ["ac", "bc"], ["c", "abc"]),
        ("*(a|b)c", ["c", "ac", "abbac"], ["ab", "xc"]),
        ("+(a|b)c", ["ac", "abbac"], ["c"]),
        ("?(a|b)c", ["c", "ac"], ["abc", "aac"]),
        ("x**(ab)y", ["xaby", "x/aby", "xababy"], ["xy", "xabay"]),
        ("*?(a)b", ["b", "ab", "xab"], ["a"]),
        ("??(a)b", ["xb", "xab"], ["b"]),
        ("+()c", ["c"], ["ac"]),
        ("(a,b)", ["a,b"], ["a"]),
        ("*(*(f)*(o))", ["", "fffooofo", "oof"], ["fox"]),
        ("*(ab|a*(b))c", ["abc", "aabbc", "c"], ["bc"]),
        ("+(?(a)[0-9])", ["1", "a1a2"], ["a", "1a"]),
        ("(a/(b|c)|d)", ["a/b", "a/c", "d"], ["a"]),
        # negation: nothing that bounds it behind it
        ("a!(x)", ["a", "ab", "axx", "axy"], ["ax", "ba", "ab/c"]),
        ("!(*.js|*.json)", ["a.js.gz", "a.gz", "js"], ["a.js", "a.json", "a/b.js"]),
        ("*.!(js)", ["x.min.js", "x.css"], ["x.js", "xjs"]),
        ("!(!(foo))", ["foo"], ["bar", "foobar"]),
        ("!(a)?", ["ba", "ab", "aa"], ["a/b"]),
        ("!(a|)", ["b", "ab"], ["a", ""]),
        ("*(!(f))", ["ff", "oo"], ["f"]),
        ("@(!(z*)|*x)", ["foot", "zoox"], ["zoot"]),
        # negation: what follows bounds it, so that it refuses whatever begins with p
        ("!(foo)*", ["bar", "fob"], ["foo", "foobar"]),
        ("!(foo)b*", ["xb", "b"], ["foob", "foobb"]),
        ("!(a)/x", ["b/x"], ["a/x", "ab/x"]),
        ("*-!(integration)-test", ["a-unit-test"], ["a-integration-test", "a-integration"]),
        ("+(!(foo))x", ["barx", "x", "fox"], ["bar"]),
    ],
)
def test_a_pattern_holds_for_the_whole_path(pattern: str, yes: list[str], no: list[str]) -> None:
    glob = Glob.parse("/x" + pattern)
    paths = ["/x" + text for text in [*yes, *no]]
    assert glob.match_paths(paths).to_pylist() == [True] * len(yes) + [False] * len(no)


@pytest.mark.parametrize(
    ("pattern", "path", "captures"),
    [
        ("/d/(*).txt", "/d/b.txt", ("b",)),
        ("/(a|d)*", "/a.txt", ("a",)),
        ("/{a,b}/(*)", "/a/x", ("x",)),
        ("/t*(a|b)/x", "/t/x", ("",)),
        ("/t*(a|b)/x", "/taba/x", ("aba",)),
        ("/?(a|b)c", "/c", ("",)),
        ("/+([0-9])-(*).csv", "/12-may.csv", ("12", "may")),
        ("/(*(a)(b)|c)", "/aab", ("aab", "aa", "b")),
        ("/(*(a)(b)|c)", "/c", ("c", "", "")),
        ("/!(a).(*)", "/b.c", ("b", "c")),
        ("/!(b|?(c))d(*)", "/ade", None),
        ("/+(!(b)c)", "/acdc", ("acdc", "acd")),
        ("/(*)", "/a/b", None),
        ("/(**)", "/a/b", ("a/b",)),
        ("/", "/", ()),
    ],
)
def test_groups_capture_from_left_to_right(pattern: str, path: str, captures: tuple[str, ...] | None) -> None:
    glob = Glob.parse(pattern)
    assert glob.captures(path) == (None if captures is None else (path, *captures))
    if captures is not None:
        assert glob.group_count == len(captures)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("$1", "may"),
        ("${1}$2", "may2024"),
        ("$1-${2}", "may-2024"),
        ("$0", "/may-2024.csv"),
        ("$$1", "$1"),
        ("cost: $", "cost: $"),
        ("$x${}${1", "$x${}${1"),
        ("[$3]", "[]"),
        ("$10", ""),
        ("${1}0", "may0"),
    ],
)
def test_a_template_takes_captures(template: str, text: str) -> None:
    assert Glob.parse("/(*)-(*).csv").expand(template, "/may-2024.csv") == text


def test_a_template_needs_a_path_that_matches() -> None:
    with pytest.raises(InvalidError) as caught:
        Glob.parse("/(*).csv").expand("$1", "/x.txt")
    assert caught.value.code == "glob-mismatch"


@pytest.mark.parametrize(
    ("pattern", "character", "says"),
    [
        ("/a[bc", 3, "no ']' closes"),
        ("/a[", 3, "no ']' closes"),
        ("/[]", 2, "empty"),
        ("/[!]", 2, "empty"),
        ("/[z-a]", 3, "exchange"),
        ("/[/]", 2, "no class matches a `/`"),
        ("/[[:letter:]]", 3, "'letter' is no class"),
        ("/[[:alpha", 3, "'alpha' is no class"),
        ("/(a|b", 2, "no ')' closes"),
        ("/x!(a", 3, "no ')' closes"),
        ("/(a|(b)", 2, "no ')' closes"),
        ("/{a,b", 2, "no '}' closes"),
        ("/{a,(b}", 5, "no ')' closes"),
        ("/a\\", 3, "backslash"),
        ("/[a\\", 4, "backslash"),
        ("a[", 3, "no ']' closes"),
        ("/" + "(" * 60, 52, "deeper than 50"),
        ("/a\udcff", 3, "UTF-8"),
    ],
)
def test_a_bad_glob_is_refused_with_its_place(pattern: str, character: int, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Glob.parse(pattern)
    assert caught.value.code == "glob-invalid"
    assert f"character {character}: " in caught.value.message
    assert says in caught.value.message


@pytest.mark.parametrize("pattern", ["", "/" + "?" * 65_536])
def test_an_empty_or_huge_glob_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Glob.parse(pattern)
    assert caught.value.code == "glob-invalid"
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("/*" * 5_000, "5,000 wildcards, classes and groups, more than 1,000"),
        ("/{" + ",".join(f"*a{number}" for number in range(5_000)) + "}", "5,001 wildcards"),
        ("/(*)" * 600, "1,200 wildcards"),
        ("/" + "!([ab])" * 600, "1,200 wildcards"),
        ("/a" * 2_049, "2,049 levels; no path has more than 2,048"),
    ],
)
def test_a_glob_that_would_take_long_is_refused_with_what_there_is_too_much_of(pattern: str, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Glob.parse(pattern)
    assert caught.value.code == "glob-invalid"
    assert says in caught.value.message


def test_names_may_be_alternatives_by_the_thousand() -> None:
    glob = Glob.parse("/{" + ",".join(f"a{number}" for number in range(5_000)) + "}")
    assert glob.match_paths(["/a0", "/a4999", "/a5000", "/a"]).to_pylist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [("/", "/"), ("/*", "/"), ("/ab*", "/ab"), ("/a/b", "/a/b"), ("/a/b/{c,d}", "/a/b/"), (r"/a\*b?", "/a*b"), ("**", "/"), ("/a!(b)", "/a")],
)
def test_a_scan_begins_at_the_literal_prefix(pattern: str, prefix: str) -> None:
    assert Glob.parse(pattern).literal_prefix == prefix


def test_a_pattern_of_fixed_depth_has_levels() -> None:
    levels = Glob.parse("/data/*.csv/2024-{01,02}x/!(a)").levels
    assert levels is not None
    assert [(level.texts, level.prefix) for level in levels] == [(("data",), "data"), (None, ""), (("2024-01x", "2024-02x"), "2024-"), (None, "")]
    assert levels[1].match(pa.array(["a.csv", "csv"])).to_pylist() == [True, False]
    assert levels[2].match(pa.array(["2024-01x", "2024-03x"])).to_pylist() == [True, False]
    assert levels[3].match(pa.array(["a", "ab"])).to_pylist() == [False, True]


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("/dir{2,1}", ("dir1", "dir2")),
        ("/(a|b)@(c|{d,de})", ("ac", "ad", "ade", "bc", "bd", "bde")),
        ("/{,a}", ("", "a")),
        ("/x[0-9]", tuple(f"x{digit}" for digit in range(10))),
        ("/[0-9][0-9]", None),
        ("/[!a]", None),
        ("/{a,b*}", None),
        ("/?(a)", None),
        ("/!(a)", None),
    ],
)
def test_names_that_can_be_listed_are(pattern: str, texts: tuple[str, ...] | None) -> None:
    levels = Glob.parse(pattern).levels
    assert levels is not None
    assert levels[0].texts == texts


@pytest.mark.parametrize("pattern", ["/**", "/a**b", "/{a/b,c}", "/(a/b)", "/!(a/b)", "/@(x|**)"])
def test_a_pattern_of_changing_depth_has_no_levels(pattern: str) -> None:
    assert Glob.parse(pattern).levels is None


def test_the_root_has_no_levels_to_look_at() -> None:
    assert Glob.parse("/").levels == ()


def test_repeated_negations_do_not_hang() -> None:
    assert Glob.parse("/+(!(x)|*(y))z").match_paths(["/" + "a" * 60, "/" + "a" * 60 + "z"]).to_pylist() == [False, True]


@pytest.mark.parametrize(
    "pattern",
    ["/(a*)*b", "/*(*(*(a)))b", "/+(+(a*))b", "/" + "*a" * 40 + "b", "/" + "{*,a}" * 12 + "b", "/" + "?(a)" * 60 + "b"],
)
@pytest.mark.parametrize("negation", ["", "!(x)"])
def test_hostile_patterns_do_not_hang(pattern: str, negation: str) -> None:
    glob = Glob.parse(pattern.replace("/", "/" + negation, 1))
    paths = ["/" + "a" * 60, "/" + "a" * 60 + "c"]
    assert glob.match_paths(paths).to_pylist() == [False, False]
    assert [glob.captures(path) for path in paths] == [None, None]


# A second matcher, slow and by the book, on the parsed pattern: every end of a match that starts at a position.
def ends(nodes: Pattern, text: str, start: int) -> Iterator[int]:
    if not nodes:
        yield start
        return
    for middle in node_ends(nodes[0], text, start):
        yield from ends(nodes[1:], text, middle)


def node_ends(node: Node, text: str, start: int) -> Iterator[int]:  # noqa: C901 - one case a node
    match node:
        case Text(literal):
            if text[start : start + len(literal)] == literal:
                yield start + len(literal)
        case Single():
            if text[start : start + 1] not in ("", "/"):
                yield start + 1
        case Class(ranges, negated):
            character = text[start : start + 1]
            if character not in ("", "/") and any(low <= ord(character) <= high for low, high in ranges) is not negated:
                yield start + 1
        case Run(deep):
            for end in range(start, len(text) + 1):
                if deep or "/" not in text[start:end]:
                    yield end
        case Choice(branches):
            for branch in branches:
                yield from ends(branch, text, start)
        case Group("!", _, branches, widened):
            refused = {end for branch in branches for end in ends(branch, text, start)}
            if not (refused if widened else len(text) in refused):
                yield from node_ends(Run(deep=False), text, start)
        case Group(quantifier, _, branches):
            if quantifier in "*?":
                yield start
            for branch in branches:
                for end in ends(branch, text, start):
                    yield end
                    if quantifier in "*+" and end > start:
                        yield from node_ends(Group("*", 0, branches), text, end)


# The same for what groups capture: every way to match, with the texts of the groups by their numbers.
Captured = Mapping[int, str]


def ways(nodes: Pattern, text: str, start: int) -> Iterator[tuple[int, Captured]]:
    if not nodes:
        yield start, {}
        return
    for middle, first in node_ways(nodes[0], text, start):
        for end, rest in ways(nodes[1:], text, middle):
            yield end, {**first, **rest}


def node_ways(node: Node, text: str, start: int) -> Iterator[tuple[int, Captured]]:
    match node:
        case Choice(branches):
            for branch in branches:
                yield from ways(branch, text, start)
        case Group("!", number):
            for end in node_ends(node, text, start):
                yield end, {number: text[start:end]}
        case Group("@" | "?" as quantifier, number, branches):
            for branch in branches:
                for end, inner in ways(branch, text, start):
                    yield end, {**inner, number: text[start:end]}
            if quantifier == "?":
                yield start, {number: ""}
        case Group(number=number):
            # What groups within a repeated one captured is that of its last round, on which matchers differ when a round is empty.
            for end in node_ends(node, text, start):
                yield end, {number: text[start:end]}
        case _:
            for end in node_ends(node, text, start):
                yield end, {}


PATTERNS = st.recursive(
    st.sampled_from(["a", "b", "/", ".", "*", "**", "?", "[a.]", "[!a]", "[[:alpha:]]", "\\*"]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: "{" + ",".join(parts) + "}"),
        st.tuples(st.sampled_from(["", "@", "*", "+", "?", "!"]), st.lists(inner, min_size=1, max_size=2)).map(
            lambda group: f"{group[0]}({'|'.join(group[1])})"
        ),
    ),
    max_leaves=6,
)
TEXTS = st.text("ab/.*", max_size=5)


@settings(max_examples=300, deadline=None)
@given(PATTERNS, st.lists(TEXTS, min_size=1, max_size=5))
def test_a_glob_agrees_with_a_slow_matcher(pattern: str, texts: list[str]) -> None:
    nodes = parse_pattern("/x" + pattern + "[!/]")
    paths = ["/x" + text + "b" for text in texts]
    expected = [len(path) in ends(nodes, path, 0) for path in paths]
    assert Glob.parse("/x" + pattern + "[!/]").match_paths(paths).to_pylist() == expected


@settings(max_examples=200, deadline=None)
@given(PATTERNS, st.lists(TEXTS, min_size=1, max_size=5))
def test_levels_agree_with_the_whole_pattern(pattern: str, texts: list[str]) -> None:
    glob = Glob.parse("/x" + pattern + "y")
    if glob.levels is None:
        return
    paths = ["/x" + text + "y" for text in texts]
    by_level = [
        len(names := path.split("/")[1:]) == len(glob.levels)
        and all(level.match(pa.array([name]))[0].as_py() for level, name in zip(glob.levels, names, strict=True))
        for path in paths
    ]
    assert glob.match_paths(paths).to_pylist() == by_level


@settings(max_examples=300, deadline=None)
@given(PATTERNS, TEXTS)
def test_groups_capture_what_the_only_way_to_match_says(pattern: str, text: str) -> None:
    nodes, path = parse_pattern("/x" + pattern + "b"), "/x" + text + "b"
    found = {tuple(sorted(captured.items())) for end, captured in ways(nodes, path, 0) if end == len(path)}
    captures = Glob.parse("/x" + pattern + "b").captures(path)
    assert (captures is not None) is bool(found)
    if captures is not None and len(found) == 1:
        ((*only,),) = found
        assert {number: captures[number] for number, _ in only} == dict(only)


@settings(max_examples=300, deadline=None)
@given(PATTERNS, TEXTS)
def test_the_machine_captures_what_re2_does(pattern: str, text: str) -> None:
    matcher = Matcher.of(parse_pattern("/x" + pattern))
    if matcher.looks_ahead:
        return
    path = "/x" + text
    captured = Machine((matcher.nodes,), sum(isinstance(node, Group) for node in walk(matcher.nodes))).captures(path)
    assert (None if captured is None else (path, *captured)) == matcher.captures(path)


@pytest.mark.parametrize("pattern", ["/(?)(*)", "/!(x*)", "/+(a|b)*", "/(a)(b)?(c)", "/*"])
def test_a_column_of_paths_is_expanded_as_each_of_them(pattern: str) -> None:
    glob = Glob.parse(pattern)
    paths = [path for path in ("/ab", "/abc", "/b", "/ba", "/aab", "/x1") if glob.captures(path) is not None]
    for template in ("$1", "<$0-${1}$2>", "$$1", "", "text"):
        column = glob.expand_all(template, pa.chunked_array([paths[:1], paths[1:]], pa.string()))
        assert column.to_pylist() == [glob.expand(template, path) for path in paths]


def test_an_empty_column_of_paths_is_expanded_to_an_empty_one() -> None:
    assert Glob.parse("/!(x)").expand_all("$1", pa.chunked_array([], pa.string())).to_pylist() == []
