"""Where what is declared stands."""

import pytest

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.syncing.source import GitSource, parse_source


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://git.example.com/team/p.git@main:prod", GitSource("https://git.example.com/team/p.git", "main", "prod")),
        ("https://me@git.example.com/team/p@v1.2:a/b/", GitSource("https://me@git.example.com/team/p", "v1.2", "a/b")),
        ("ssh://git@git.example.com:22/team/p@release/1:.", GitSource("ssh://git@git.example.com:22/team/p", "release/1")),
        ("git@git.example.com:team/p.git@main:prod", GitSource("git@git.example.com:team/p.git", "main", "prod")),
        ("./p@main:prod", GitSource("/here/p", "main", "prod")),
        ("/srv/p@main", GitSource("/srv/p", "main")),
        (".@main:", GitSource("/here", "main")),
    ],
)
def test_source_is_repository_ref_and_folder(text: str, expected: GitSource) -> None:
    assert parse_source(text, base="/here") == expected
    assert parse_source(str(expected), base="/") == expected
    assert not str(expected).endswith(":")


@pytest.mark.parametrize(
    "text",
    [
        "https://git.example.com/team/p.git",
        "https://me@git.example.com/team/p",
        "git@git.example.com:team/p.git",
        "./p@:prod",
        "./p@main:../other",
        "./p@--upload-pack=x:prod",
        "--x=/y@main:prod",
        "main",
        "",
    ],
)
def test_what_names_no_ref_and_folder_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="write REPO_URL@REF:FOLDER") as refused:
        parse_source(text, base="/here")
    assert refused.value.code == "sync-source-invalid"


def test_password_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidError, match="password") as refused:
        parse_source("https://me:s3cr3t@git.example.com/team/p.git@main:prod", base="/here")
    assert refused.value.code == "sync-source-invalid" and "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (GitSource("https://git.example.com/team/pipelines.git", "main", "prod/eu"), "pipelines-prod-eu"),
        (GitSource("git@git.example.com:pipelines.git", "main"), "pipelines"),
        (GitSource("/srv/my pipelines/", "main", "a.b"), "my-pipelines-a-b"),
    ],
)
def test_sync_is_called_after_the_repository_and_the_folder(source: GitSource, expected: str) -> None:
    assert source.usual_name == expected
