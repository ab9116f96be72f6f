"""The lock is complete, and the same on every machine."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
IMAGES = ROOT / "deploy/images"
# Too large for every environment, and tests/services/run installs it apart; in the lock of an image.
NOT_LOCKED = {"spark", "server"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normal(requirement: str) -> str:
    """A requirement's package name, as package indexes compare names."""
    found = re.match(r"[\w.-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def locked(text: str = LOCK) -> dict[str, str]:
    """The entries of a lock by package name: version, condition and hashes."""
    entries = re.split(r"\n(?=\S)", text)
    return {normal(entry): entry for entry in entries}


def test_lock_holds_every_declared_dependency() -> None:
    declared = [*PROJECT["dependencies"], *(name for extra, names in PROJECT["optional-dependencies"].items() if extra not in NOT_LOCKED for name in names)]
    assert {normal(name) for name in declared} - locked().keys() == set()


def version(entry: str) -> str:
    return entry.split()[0].partition("==")[2]


@pytest.mark.parametrize("image", ["server", "worker", "build"])
def test_images_have_the_versions_of_the_lock_with_hashes(image: str) -> None:
    found = locked((IMAGES / f"{image}.lock").read_text())
    assert [name for name, entry in found.items() if "--hash=sha256:" not in entry] == []
    assert [name for name, entry in found.items() if name in locked() and version(entry) != version(locked()[name])] == []


def test_image_of_servers_has_what_they_need_and_that_of_workers_no_more_than_it_needs() -> None:
    server, worker = (locked((IMAGES / f"{image}.lock").read_text()) for image in ("server", "worker"))
    extras = PROJECT["optional-dependencies"]
    declared = {
        normal(name)
        for name in [*PROJECT["dependencies"], *(name for extra in ("etcd", "kubernetes", "postgresql", "s3", "metrics", "server") for name in extras[extra])]
    }
    assert declared - server.keys() == {"pachyderm-dagster"}
    assert not {"dagster", "sqlalchemy", "kubernetes", "alembic"} & worker.keys()


def test_every_entry_is_one_version_with_hashes() -> None:
    loose = [name for name, entry in locked().items() if not re.match(r"\S+==\S+", entry) or "--hash=sha256:" not in entry]
    assert loose == []


def test_lock_names_no_address_and_no_folder() -> None:
    assert [line for line in LOCK.splitlines() if "://" in line or "file:" in line or re.search(r"\s/\w", line)] == []
