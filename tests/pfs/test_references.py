"""Which texts name commits, and which do not."""

import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.references import parse_reference, parse_repo


@pytest.mark.parametrize(
    ("text", "from_root", "back"),
    [("data@master", None, 0), ("data@master^", None, 1), ("data@master^^~2", None, 4), ("data@master.3", 3, 0), ("data@master.3^2", 3, 2)],
)
def test_ancestors_are_counted_from_either_end(text: str, from_root: int | None, back: int) -> None:
    found = parse_reference(text)
    assert (found.ref, found.from_root, found.back) == ("master", from_root, back)


@pytest.mark.parametrize("text", ["data@master^٣", "data@master.²", "data@master^" + "9" * 5000, "data@master.x", "data@", "data@^"])
def test_only_short_numbers_of_ascii_digits_count(text: str) -> None:
    with pytest.raises(InvalidError) as error:
        parse_reference(text)
    assert error.value.code == "reference-invalid"


def test_names_have_at_most_255_characters() -> None:
    assert parse_repo("r" * 255).name == "r" * 255
    for text in ("r" * 256, f"data@{'b' * 256}"):
        with pytest.raises(InvalidError) as error:
            parse_reference(text)
        assert error.value.code == "name-invalid"
