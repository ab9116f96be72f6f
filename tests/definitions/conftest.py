"""The mark of tests that run the examples as a whole: `pytest -m "not slow"` leaves them out."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than 20 seconds")
