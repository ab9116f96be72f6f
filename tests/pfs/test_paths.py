"""What a path may be, and how keys sort."""

from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.path_columns import clean_file_paths, keys_of, paths_of
from pachyderm_dagster.pfs.paths import clean_file_path, clean_path, directory_range, key_of, path_of

ELEMENTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/*?[]{}!()@+^"), min_size=1, max_size=4).filter(
    lambda e: e not in (".", "..")
)
PATHS = st.lists(ELEMENTS, min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/a", "/a"),
        ("a", "/a"),
        ("a/b", "/a/b"),
        ("/a/b/", "/a/b"),
        ("//a", "/a"),
        ("/", "/"),
        ("/a b/c~d", "/a b/c~d"),
        ("/.hidden", "/.hidden"),
        ("/...", "/..."),
        ("/größe/日本", "/größe/日本"),
        ("/cafe\u0301", "/caf\u00e9"),
        ("/" + "b" * 255, "/" + "b" * 255),
        ("/" + "e\u0301" * 127, "/" + "\u00e9" * 127),
        ("/abc" * 1024, "/abc" * 1024),
    ],
)
def test_a_path_is_cleaned(text: str, path: str) -> None:
    assert clean_path(text) == path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("/a//b", "empty element"),
        ("/a/./b", "'.'"),
        ("..", "'..'"),
        ("/a/../b", "'..'"),
        ("/a/..", "'..'"),
        ("/a*", "'*'"),
        ("/a[1]", "'['"),
        ("/a(1)", "'('"),
        ("/mail@host", "'@'"),
        ("/a\nb", "control character '\\n'"),
        ("/a\x00b", "control character '\\x00'"),
        ("/a\x7f", "control character '\\x7f'"),
        ("/a\x85", "control character '\\x85'"),
        ("/a\udcff", "not valid UTF-8"),
        ("/" + "ä" * 128, "an element of 256 bytes"),
        ("/a/" + "b" * 256 + "/c", "an element of 256 bytes"),
        ("/ab" * 1366, "has 4,098 bytes"),
    ],
)
def test_a_bad_path_is_refused_by_its_rule(text: str, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        clean_path(text)
    assert caught.value.code == "path-invalid"
    assert says in caught.value.message
    with pytest.raises(InvalidError) as caught_many:
        clean_file_paths(["/good", text, "/*"])
    assert caught_many.value.message == caught.value.message


def test_the_root_is_no_file() -> None:
    with pytest.raises(InvalidError, match="root directory"):
        clean_file_path("/")
    with pytest.raises(InvalidError, match="root directory"):
        clean_file_paths(["/a", "/"])


@given(st.lists(PATHS))
def test_many_paths_are_cleaned_like_one(texts: list[str]) -> None:
    assert clean_file_paths(texts).to_pylist() == [clean_file_path(text) for text in texts]


@given(PATHS)
def test_a_key_leads_back_to_its_path(text: str) -> None:
    path = clean_path(text)
    assert path_of(key_of(path)) == path
    column = pa.array([path])
    assert keys_of(column).to_pylist() == [key_of(path)]
    assert paths_of(keys_of(column)).to_pylist() == [path]


@given(st.lists(PATHS, min_size=1), PATHS)
def test_a_directory_is_the_range_of_what_is_below_it(texts: list[str], directory: str) -> None:
    paths = sorted({clean_path(text) for text in [*texts, directory + "/below"]})
    directory = clean_path(directory)
    start, stop = directory_range(directory)
    assert start is not None and stop is not None
    assert [p for p in paths if start <= key_of(p) < stop] == [p for p in paths if p.startswith(directory + "/")]


def test_a_directory_sorts_before_names_that_it_begins() -> None:
    paths = ["/a.txt", "/a/b", "/a b", "/a/b.c", "/a/b/c", "/a"]
    assert sorted(paths, key=key_of) == ["/a", "/a/b", "/a/b/c", "/a/b.c", "/a b", "/a.txt"]


def test_the_root_has_no_bounds() -> None:
    assert directory_range("/") == (None, None)


# Texts that are often refused, each for another rule, and often not normalised.
ODD_ELEMENTS = st.one_of(
    st.text(max_size=3),
    st.text("a/.\u0301\u0344*\x00\x85\udc80 ~", max_size=4),
    st.sampled_from([".", "..", "...", "", "a" * 255, "a" * 256, "\u00e9" * 127, "e\u0301" * 128, "\u0958" * 60]),
)
ODD_PATHS = st.one_of(st.lists(ODD_ELEMENTS, max_size=4), st.lists(st.just("a" * 250), min_size=15, max_size=17)).map("/".join)


def outcome(clean: Callable[[str], str], text: str) -> str:
    """The cleaned path, or why there is none."""
    try:
        return clean(text)
    except InvalidError as error:
        return f"refused: {error.message}"


@given(ODD_PATHS)
def test_a_path_is_refused_alone_as_among_many(text: str) -> None:
    assert outcome(lambda one: str(clean_file_paths(["/good", one])[1].as_py()), text) == outcome(clean_file_path, text)


@given(ODD_PATHS)
def test_a_cleaned_path_is_clean(text: str) -> None:
    path = outcome(clean_path, text)
    if not path.startswith("refused"):
        assert clean_path(path) == path


@given(st.one_of(st.from_regex(r"/?[a-c ./\\*é-]{1,8}", fullmatch=True), PATHS.map("/{}".format)))
def test_path_that_is_told_to_be_ordinary_at_one_look_breaks_no_rule(text: str) -> None:
    try:
        slow = clean_path(f"//{text}")  # with one slash too many it is not ordinary
    except InvalidError:
        slow = ""
    try:
        assert clean_path(text) == slow
    except InvalidError:
        assert slow == ""
