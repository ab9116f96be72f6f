"""What `pfs://` URLs name."""

import pytest

from pachyderm_dagster.client.locations import Location, parse_location
from pachyderm_dagster.errors import InvalidError


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("", Location(None)),
        ("/", Location(None)),
        ("lab", Location("lab")),
        ("images@master", Location("home", "home/images@master", "/", "images@master")),
        ("images@master/a/b.csv", Location("home", "home/images@master", "/a/b.csv", "images@master")),
        ("lab/images@master^2/a", Location("lab", "lab/images@master^2", "/a", "lab/images@master^2")),
        ("home/images@master/a", Location("home", "home/images@master", "/a", "home/images@master")),
        ("images@master/lab/images@master", Location("home", "home/images@master", "/lab/images@master", "images@master")),
        ("lab/images@master/x@y", Location("lab", "lab/images@master", "/x@y", "lab/images@master")),
    ],
)
def test_first_element_with_an_at_sign_is_the_version(text: str, location: Location) -> None:
    assert parse_location(text, project="home") == location


@pytest.mark.parametrize("text", ["images/a.csv", "lab/images/a@b", "images@/a", "images@a b/c", "@master/a"])
def test_what_names_no_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        parse_location(text, project="home")
