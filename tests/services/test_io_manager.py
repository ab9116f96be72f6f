"""Assets of plain Python, with the record on PostgreSQL and the objects in S3, each step in a process of its own."""

import secrets
from pathlib import Path

import dagster as dg
import pytest

from pachyderm_dagster import connect
from pachyderm_dagster.integration.io_manager import PachydermIOManager
from tests.integration import io_code
from tests.integration.home import QUIET
from tests.records import SERVER
from tests.storage.conftest import S3_SETTINGS, S3_URL

pytestmark = pytest.mark.skipif(SERVER is None or S3_URL is None, reason="needs PostgreSQL and S3")


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    """Dagster beside a home whose data are in S3."""
    for name, value in {**S3_SETTINGS, "PACHYDERM_STORAGE_URL": f"{S3_URL}/{secrets.token_hex(8)}"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "dagster").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    return dg.DagsterInstance.get()


def test_steps_in_processes_hand_values_on(instance: dg.DagsterInstance) -> None:
    with instance, dg.execute_job(dg.reconstructable(io_code.processes), instance=instance, run_config=QUIET) as result:
        assert result.success
    with connect() as client:
        assert client.get_file("total@master:/data.json") == b"6"
        assert [len(client.list_commit(branch)) for branch in ("numbers@master", "total@master")] == [1, 1]


def test_folders_and_partitions_come_back(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    days = dg.StaticPartitionsDefinition(["mon", "tue"])

    @dg.asset(partitions_def=days)
    def photos(context: dg.AssetExecutionContext) -> Path:
        folder: Path = tmp_path / context.partition_key
        folder.mkdir()
        (folder / "a.bin").write_bytes(context.partition_key.encode() * 1_000_000)
        return folder

    @dg.asset
    def sizes(photos: dict[str, Path]) -> dict[str, int]:
        return {day: (folder / "a.bin").stat().st_size for day, folder in photos.items()}

    resources = {"io_manager": PachydermIOManager()}
    with instance:
        for day in days.get_partition_keys():
            assert dg.materialize([photos], partition_key=day, resources=resources, instance=instance, run_config=QUIET).success
        assert dg.materialize([photos, sizes], selection=[sizes], resources=resources, instance=instance, run_config=QUIET).success
    with connect() as client:
        assert client.get_file("sizes@master:/data.json") == b'{"mon": 3000000, "tue": 3000000}'
