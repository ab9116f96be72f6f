"""Stores that every storage test runs on: a folder, memory, S3 where TEST_STORAGE_S3_URL names a bucket to write to, Azure where an emulator runs."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.open_store import open_store
from tests.storage.azure import make_container

# Read here because tests run without the caller's settings.
S3_URL = os.environ.get("TEST_STORAGE_S3_URL")
S3_SETTINGS = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
# As http://127.0.0.1:10000: Azurite.
AZURE_ENDPOINT = os.environ.get("TEST_STORAGE_AZURE_ENDPOINT")
KINDS = ["folder", "memory", *(["s3"] if S3_URL else []), *(["azure"] if AZURE_ENDPOINT else [])]


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """A new, empty store of each kind."""
    match request.param:
        case "folder":
            yield open_store((tmp_path / "store").as_uri())
        case "memory":
            yield open_store("memory://")
        case "s3":
            for name, value in S3_SETTINGS.items():
                monkeypatch.setenv(name, value)
            s3 = open_store(f"{S3_URL}/{secrets.token_hex(8)}")
            yield s3
            for found in list(s3.list("")):
                s3.delete(found.key)
        case "azure":
            assert AZURE_ENDPOINT is not None
            container = f"test-{secrets.token_hex(8)}"
            make_container(AZURE_ENDPOINT, container)
            monkeypatch.setenv("AZURITE_BLOB_STORAGE_URL", AZURE_ENDPOINT)
            yield open_store(f"az://{container}/some/prefix?use_emulator=true")


@pytest.fixture
def folder_store(tmp_path: Path) -> ObjectStore:
    """A store in the folder `store` of the test's own."""
    return open_store((tmp_path / "store").as_uri())
