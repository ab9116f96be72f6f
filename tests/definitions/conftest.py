"""The command line, and the mark of tests that run the examples as a whole: `pytest -m "not slow"` leaves them out."""

import os
import sys
from pathlib import Path

import pytest

from tests.cli.pachctl import Pachctl


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than 20 seconds")


@pytest.fixture
def pachctl(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Pachctl:
    """The command line in this process; the programs of this environment are found by user code."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return Pachctl(capsysbinary, monkeypatch)
