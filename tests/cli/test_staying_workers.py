"""Workers that stay, behind commands that change what their pipelines want of them."""

from pathlib import Path

import pytest

from pachyderm_dagster.cli.staying_workers import tend


def test_record_that_is_away_behind_a_command_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environ = {
        "PACHYDERM_HOME": str(tmp_path),
        "PACHYDERM_EXECUTOR": "kubernetes",
        "PACHYDERM_STORAGE_URL": "s3://bucket",
        "PACHYDERM_METADATA_URL": "postgresql://nobody@127.0.0.1:1/none",
        "PACHYDERM_KUBERNETES_WORKER_IMAGE": "worker:1",
    }
    tend(environ)
    said = capsys.readouterr().err
    assert said.startswith("note: workers that stay between jobs could not be looked after now: ") and "[record-unreachable]" in said
