"""What every test starts from: settings of its own, and Hypothesis without a clock."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.cli.pachctl import Pachctl
from tests.records import SERVER, new_record_url

# An etcd for the homes of all tests, which otherwise are coordinated by their records.
COORDINATION = os.environ.get("TEST_COORDINATION_URL")
# A bucket for the objects of those homes, which otherwise are in their folders.
STORAGE = os.environ.get("TEST_HOME_STORAGE_URL")
STORAGE_SETTINGS = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}

SETTINGS_PREFIXES = ("PACHYDERM_", "DAGSTER_", "AWS_", "AZURE_", "AZURITE_", "GOOGLE_", "ETCDCTL_")

# No deadline: a busy machine is no bug. Where CI is set, the examples are the same in every run, so that a red run can be repeated.
hypothesis.settings.register_profile("person", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
hypothesis.settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "person"))


@pytest.fixture(autouse=True)
def environment_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """Keeps a test from the home and the settings of whoever runs it; returns the home that the test has instead.

    Where TEST_METADATA_URL names a server, the record of that home is on it; where TEST_COORDINATION_URL names an etcd, its processes agree through that;
    where TEST_HOME_STORAGE_URL names a bucket, its objects are there.
    """
    for name in os.environ:
        if name.startswith(SETTINGS_PREFIXES):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("pachyderm-home")
    monkeypatch.setenv("PACHYDERM_HOME", str(home))
    if COORDINATION is not None:
        # Homes that were copied have one id, and would hold the leases of one another.
        monkeypatch.setenv("PACHYDERM_COORDINATION_URL", f"{COORDINATION}/tests-{secrets.token_hex(4)}")
    if STORAGE is not None:
        for name, value in {**STORAGE_SETTINGS, "PACHYDERM_STORAGE_URL": f"{STORAGE}/{secrets.token_hex(8)}"}.items():
            monkeypatch.setenv(name, value)
    if SERVER is not None:
        monkeypatch.setenv("PACHYDERM_METADATA_URL", request.getfixturevalue("metadata_url"))
    return home


@pytest.fixture
def metadata_url(tmp_path: Path) -> Iterator[str]:
    """The URL of a record of the test's own, on each database that the suite runs on; opening it makes it."""
    with new_record_url(tmp_path) as url:
        yield url


@pytest.fixture
def pachctl(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Pachctl:
    """The command line, on a home of the test's own."""
    return Pachctl(capsysbinary, monkeypatch)
