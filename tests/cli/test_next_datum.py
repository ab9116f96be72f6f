from pathlib import Path

import pytest

from tests.cli.pachctl import Pachctl


def test_next_datum_outside_of_a_batch_is_refused(pachctl: Pachctl) -> None:
    assert pachctl.fail("next", "datum") == "datum-batching-off"


def test_next_datum_of_a_worker_that_is_gone_says_so(pachctl: Pachctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACH_DATUM_SOCKET", str(tmp_path / "socket"))
    assert pachctl.fail("next", "datum") == "worker-gone"
