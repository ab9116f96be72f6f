"""A client on a home of the test's own, with a repo."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pachyderm_dagster import connect
from pachyderm_dagster.client.client import Client
from pachyderm_dagster.client.filesystem import PfsFileSystem


@pytest.fixture
def client(environment_of_its_own: Path) -> Iterator[Client]:
    with connect() as opened:
        opened.create_repo("images")
        yield opened


@pytest.fixture
def fs(client: Client) -> Iterator[PfsFileSystem]:
    """A file system of the same home; not one that fsspec keeps from an earlier test."""
    opened = PfsFileSystem(str(client.home), skip_instance_cache=True)
    yield opened
    opened.client.close()
