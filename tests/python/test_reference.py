"""The reference of Python names everything that is public."""

import inspect
import re

import pytest

import pachyderm_dagster
from pachyderm_dagster.client.changes import FileChanges
from pachyderm_dagster.client.client import Client
from pachyderm_dagster.client.file_sets import FileSets
from pachyderm_dagster.client.transactions import ClientTransaction
from tests.docs.markdown import ROOT

PAGE = (ROOT / "docs" / "reference" / "python.md").read_text()


def test_connect_is_shown_as_it_is() -> None:
    assert '`connect(home=None, *, project="default", environ=None)`' in PAGE
    assert [*inspect.signature(pachyderm_dagster.connect).parameters] == ["home", "project", "environ"]


@pytest.mark.parametrize("owner", [Client, FileChanges, FileSets, ClientTransaction])
def test_every_method_is_shown(owner: type) -> None:
    shown = set(re.findall(r"`(\w+)\([^`]*\)`", PAGE))
    assert {name for name, method in vars(owner).items() if inspect.isfunction(method) and not name.startswith("_")} - shown == set()
