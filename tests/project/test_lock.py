"""The lock is complete, and the same on every machine."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
# Too large for every environment; tests/services/run installs it apart.
NOT_LOCKED = {"spark"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normal(requirement: str) -> str:
    """A requirement's package name, as package indexes compare names."""
    found = re.match(r"[\w.-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def locked() -> dict[str, str]:
    """The lock's entries by package name: version, condition and hashes."""
    entries = re.split(r"\n(?=\S)", LOCK)
    return {normal(entry): entry for entry in entries}


def test_lock_holds_every_declared_dependency() -> None:
    declared = [*PROJECT["dependencies"], *(name for extra, names in PROJECT["optional-dependencies"].items() if extra not in NOT_LOCKED for name in names)]
    assert {normal(name) for name in declared} - locked().keys() == set()


def test_every_entry_is_one_version_with_hashes() -> None:
    loose = [name for name, entry in locked().items() if not re.match(r"\S+==\S+", entry) or "--hash=sha256:" not in entry]
    assert loose == []


def test_lock_names_no_address_and_no_folder() -> None:
    assert [line for line in LOCK.splitlines() if "://" in line or "file:" in line or re.search(r"\s/\w", line)] == []
